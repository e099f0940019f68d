"""Check codes that the page sends back, and word what is said of a patch."""

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import HasherMismatchError, QueryError
from geohash_rs.serve.messages import MOST_CODES, PatchExample, SearchRequest
from geohash_rs.store.snapshot import Snapshot

__all__ = ["check_count", "check_fresh", "codes_of", "on_page"]

# They begin what to do with an option.
WORDS_OF_OPTIONS = ("; pass ", "; choose another window", ": window=(", ", or with a part, such as")


def codes_of(archive: Snapshot, request: SearchRequest | PatchExample) -> npt.NDArray[np.uint8]:
    """Parse the hexadecimal codes of a patch.

    Args:
        archive: The archive.
        request: A request with codes.

    Returns:
        Packed codes, shape (codes, bits / 8).

    Raises:
        HasherMismatchError: If they were made by another hasher.
        QueryError: If their length differs from the archive's.
    """
    check_fresh(archive, request.hasher)
    num_bits = archive.num_bits or 0
    for text in request.codes:
        if len(text) * 4 != num_bits:
            msg = f"a code has {len(text) * 4} bits, but the archive's have {num_bits}."
            raise QueryError(msg)
    return np.array([list(bytes.fromhex(text)) for text in request.codes], dtype=np.uint8)


def check_count(request: SearchRequest) -> None:
    """Check that the examples of a search are few enough to be compared with each other.

    Args:
        request: The search; a tile and the point have one code each, a patch one for each tile.

    Raises:
        QueryError: If they have more than `MOST_CODES` codes.
    """
    patches = [*request.patches, *request.negative_patches]
    count = len(request.tiles) + len(request.negatives) + len(request.codes)
    count += sum(len(patch.codes) for patch in patches) + (request.point is not None)
    if count > MOST_CODES:
        msg = (
            f"the examples of this search have {count:,} codes, one for each tile of a patch, but "
            f"a search takes at most {MOST_CODES:,}; use fewer or smaller patches."
        )
        raise QueryError(msg)


def check_fresh(archive: Snapshot, hasher: str | None) -> None:
    """Check that codes from the page were made by the archive's hasher.

    Args:
        archive: The archive.
        hasher: The fingerprint of what made them, or None if the page does not know.

    Raises:
        HasherMismatchError: If another hasher made them, or they were made before the archive was
            refitted and nothing says by which.
    """
    known, former = archive.hasher_fingerprint, archive.manifest.former
    if hasher != known if hasher is not None else former:
        msg = (
            "the patch was hashed before this archive was refitted with another hasher, so its "
            "codes no longer fit. Drop the patch again."
        )
        raise HasherMismatchError(msg)


def on_page(message: str, copy: str, name: str) -> str:
    """Name a patch as the user does, and leave out the options that the page does not have.

    Args:
        message: A message or note about the patch.
        copy: File name of the server's copy.
        name: The user's name of it.

    Returns:
        The message for the page.
    """
    text = message.replace(copy, name)
    for words in WORDS_OF_OPTIONS:
        text = text.partition(words)[0]
    return text.removesuffix(".") + "."
