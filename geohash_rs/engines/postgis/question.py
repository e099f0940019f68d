"""Turn what a search asks for into an SQL expression of the distance, every value a parameter."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from psycopg import sql

from geohash_rs.engines.postgis.rows import bit_text
from geohash_rs.store.search.asked import Asked
from geohash_rs.store.search.weights import BitWeights

__all__ = ["Question", "questions_of"]

# qualified and cast to their exact types, as explained at `archive.SEARCH`
DISTANCE = "pg_catalog.bit_count(code # %(query)s::bit({num_bits}))"
PART = """{factor}::bigint * pg_catalog.bit_count(
    (code # %(query)s::bit({num_bits})) & {mask}::bit({num_bits}))"""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One query.

    Attributes:
        distance: The distance, or the cost, of a tile.
        values: The parameters of the expression by name.
    """

    distance: sql.Composable
    values: dict[str, str]


def questions_of(asked: Asked) -> Iterator[Question]:
    """Write the expressions of queries.

    With weights, the cost is the sum over binary digits j of 2^j times the number of differing
    bits whose weight has this digit.

    Args:
        asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.

    Yields:
        A question for each query.
    """
    if isinstance(asked, BitWeights):
        yield _weighed(asked)
        return
    distance = sql.SQL(DISTANCE).format(num_bits=sql.Literal(8 * asked.shape[1]))
    for text in bit_text(asked):
        yield Question(distance=distance, values={"query": text.tobytes().decode()})


def _weighed(weights: BitWeights) -> Question:
    values = {"query": bit_text(weights.code[None]).tobytes().decode()}
    parts: list[sql.Composable] = [sql.SQL("0::bigint")]
    for digit in range(int(weights.weights.max()).bit_length()):
        name = f"mask_{digit}"
        chosen = (weights.weights >> digit & 1).astype(np.uint8)
        values[name] = (chosen + np.uint8(ord("0"))).tobytes().decode()
        parts.append(
            sql.SQL(PART).format(
                factor=sql.Literal(1 << digit),
                num_bits=sql.Literal(weights.num_bits),
                mask=sql.Placeholder(name),
            )
        )
    return Question(distance=sql.SQL("({})").format(sql.SQL(" + ").join(parts)), values=values)
