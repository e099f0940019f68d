"""What exported codes say about themselves, as the standards for embeddings ask for it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from geohash_rs.store.code_table import METADATA, CodeTable
from geohash_rs.store.segment.shapes import stored_bounds

__all__ = ["HASHER", "CodeFacts"]

HASHER = "urn:geohash-rs:hasher:"  # and a fingerprint
MOST_SCENES = 100  # that are listed; the column `scene` has all


@dataclass(kw_only=True)
class CodeFacts:
    """What is known of a table of codes; `watch` fills it while the tiles go by.

    Attributes:
        num_bits: Bits of a code.
        fingerprint: Identifies the hasher, or None if it is unknown.
        model: Name or address of the model whose vectors were hashed, or "".
        num_tiles: Tiles seen.
        bounds: (xmin, ymin, xmax, ymax) of all footprints, degrees; None without one.
        times: First and last time, UTC; None without one.
        sizes: Sides of tiles, px, and how many tiles have each.
        scenes: The first scenes, at most 100.
    """

    num_bits: int
    fingerprint: str | None
    model: str
    num_tiles: int = 0
    bounds: npt.NDArray[np.float64] | None = None
    times: tuple[datetime, datetime] | None = None
    sizes: dict[int, int] = field(default_factory=dict)
    scenes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, table: CodeTable, *, model: str) -> "CodeFacts":
        """Start with what the schema says."""
        about = json.loads(table.schema.metadata[METADATA])
        return cls(num_bits=about["num_bits"], fingerprint=about["hasher"], model=model)

    @property
    def model_uri(self) -> str:
        """URN of the hasher: what says, as a model does, which codes can be compared."""
        return f"{HASHER}{quote(self.fingerprint or 'unknown', safe='')}"

    @property
    def features(self) -> dict[str, str]:
        """Under the key that is written, the model whose vectors were hashed, if it is known."""
        return {"geohash_rs:features": self.model} if self.model else {}

    @property
    def source_uris(self) -> list[str]:
        """Addresses of the scenes; a URN where it is neither address nor absolute path."""
        return [_uri(scene) for scene in self.scenes]

    @property
    def chip_size(self) -> int | None:
        """The most frequent side of a tile, px; None if no tile says its size."""
        return max(self.sizes, key=lambda size: (self.sizes[size], size)) if self.sizes else None

    @property
    def quantization(self) -> dict[str, str]:
        """How numbers became bits."""
        return {"method": "binary", "original_dtype": "float32", "quantized_dtype": "uint8"}

    def watch(self, tables: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, Any]]:
        """Pass tables on with the boxes of their footprints, and take note of what they hold.

        Args:
            tables: Tables of `CodeTable`.

        Yields:
            Each table, and boxes in degrees, float64, shape (n, 4), NaN without a footprint; one
            across the antimeridian reaches from -180 to 180.
        """
        for table in tables:
            boxes = stored_bounds(table.column("geometry"))
            boxes[boxes[:, 2] > 180, 0::2] = -180.0, 180.0
            self._note(table, boxes)
            yield table, boxes

    def _note(self, table: pa.Table, boxes: npt.NDArray[np.float64]) -> None:
        self.num_tiles += len(table)
        placed = boxes[~np.isnan(boxes[:, 0])]
        if len(placed):
            around = np.hstack([placed[:, :2].min(axis=0), placed[:, 2:].max(axis=0)])
            if self.bounds is not None:
                around[:2] = np.minimum(around[:2], self.bounds[:2])
                around[2:] = np.maximum(around[2:], self.bounds[2:])
            self.bounds = around
        begun = table.column("datetime")
        first = pc.min(begun).as_py()
        last = pc.max(pc.coalesce(table.column("datetime_end"), begun)).as_py()
        if first is not None:
            known = self.times or (first, last)
            self.times = (min(known[0], first), max(known[1], last))
        for size in pc.value_counts(table.column("tile_size")).to_pylist():
            if size["values"] is not None:
                self.sizes[size["values"]] = self.sizes.get(size["values"], 0) + size["counts"]
        if len(self.scenes) < MOST_SCENES:
            new = set(pc.unique(table.column("scene")).to_pylist()).difference(self.scenes)
            self.scenes += sorted(new)[: MOST_SCENES - len(self.scenes)]


def _uri(scene: str) -> str:
    if "://" in scene:
        return scene
    if Path(scene).is_absolute():
        return Path(scene).as_uri()
    return f"urn:geohash-rs:scene:{quote(scene, safe='')}"
