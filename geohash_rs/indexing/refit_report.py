"""What a refit is going to do, and what it did."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["RefitPlan", "RefitReport"]


@dataclass(frozen=True, kw_only=True)
class RefitPlan:
    """What a refit is going to do; as text, one or two sentences.

    >>> counts = {"num_tiles": 900, "num_done": 200, "num_scenes": 7, "num_bits": 64}
    >>> sizes = {"num_bytes": 13_000_000, "num_free": 8_000_000_000}
    >>> names = {"archive": Path("archive"), "hasher": "general-64", "source": "their pixels"}
    >>> print(RefitPlan(fits=False, **counts, **sizes, **names))
    900 tiles of 7 scenes of archive will be hashed from their pixels by general-64 (64 bits); 200 \
of them are done already. This needs 13 MB on the disk, which has 8,000 MB free.

    Attributes:
        archive: The archive's folder.
        hasher: Name of the hasher.
        num_bits: Bits per code.
        num_tiles: Tiles to hash, including those that an interrupted run has done.
        num_done: Tiles that an interrupted run has done.
        num_scenes: Scenes that they come from.
        source: What they are hashed from.
        fits: Whether the hasher is fitted first.
        num_bytes: What is going to be written, bytes.
        num_free: What the disk has free, bytes.
    """

    archive: Path
    hasher: str
    num_bits: int
    num_tiles: int
    num_done: int
    num_scenes: int
    source: str
    fits: bool
    num_bytes: int
    num_free: int

    def __str__(self) -> str:
        """Describe it."""
        fitted = ", fitted on a sample of them" if self.fits else ""
        done = f"; {self.num_done} of them are done already" if self.num_done else ""
        return (
            f"{self.num_tiles} tiles of {self.num_scenes} scenes of {self.archive} will be hashed "
            f"from {self.source} by {self.hasher} ({self.num_bits} bits){fitted}{done}. This "
            f"needs {_megabytes(self.num_bytes)} on the disk, which has "
            f"{_megabytes(self.num_free)} free."
        )


@dataclass(frozen=True, kw_only=True)
class RefitReport:
    """What a refit did.

    Attributes:
        num_tiles: Tiles with new codes.
        num_scenes: Scenes that they come from.
        num_hashed: Tiles hashed by this run; an interrupted one did the others.
        num_codes: Distinct codes of the tiles, or of a million of them if there are more.
        num_bits: Bits per code.
        hasher: Name of the new hasher.
        fingerprint: Its fingerprint.
        former: Fingerprint of the former hasher, or None if the codes were made elsewhere.
        fitted_on: What the new hasher was fitted on, if its file says so.
    """

    num_tiles: int
    num_scenes: int
    num_hashed: int
    num_codes: int
    num_bits: int
    hasher: str
    fingerprint: str
    former: str | None
    fitted_on: str | None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
