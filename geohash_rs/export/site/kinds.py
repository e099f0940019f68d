"""The scene, label and tile size of every tile as small numbers, by which a page filters tiles."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.store.segment.sizes import size_of_windows

__all__ = ["KINDS", "MOST_CHOICES", "Kinds"]

KINDS = ("scene", "label", "tile_size")
MOST_CHOICES = 1000  # of a list on the page; with more scenes or labels there is no such filter
NUMBER = np.dtype("<u2")


@dataclass
class Kinds:
    """What distinguishes tiles, numbered from 1 in order of appearance; 0 is none.

    Attributes:
        files: Open file of each kind, such as `scene.bin`, one number a tile.
        choices: Number of each scene, label and size, px.
        bare: Kinds that a tile lacks.
    """

    files: dict[str, BinaryIO]
    choices: dict[str, dict[str | int, int]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    bare: set[str] = field(default_factory=set)

    def add(self, piece: pa.Table) -> None:
        """Write the numbers of some tiles.

        Args:
            piece: Tiles with the columns `KINDS`, width and height.
        """
        sizes = size_of_windows(
            piece.column("width"), piece.column("height"), given=piece.column("tile_size")
        )
        columns = {"scene": piece.column("scene"), "label": piece.column("label")}
        for kind, column in (*columns.items(), ("tile_size", sizes)):
            if len(self.choices[kind]) <= MOST_CHOICES:
                self.files[kind].write(self._numbers(kind, column).astype(NUMBER).tobytes())

    def _numbers(self, kind: str, column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        packed = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        known = self.choices[kind]
        numbers = [0]
        for value in packed.dictionary.to_pylist():
            if value is not None and len(known) <= MOST_CHOICES:
                known.setdefault(value, len(known) + 1)
            numbers.append(known.get(value, 0))
        places = packed.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        found: npt.NDArray[np.int64] = np.array(numbers)[places + 1]
        if (found == 0).any():
            self.bare.add(kind)
        return found

    def finish(self, folder: Path) -> dict[str, list[Any]]:
        """Close the files, and remove those by which nothing can be filtered.

        Args:
            folder: Where they are.

        Returns:
            The choices of each kind that distinguishes tiles, in the order of their numbers.
        """
        kept = {}
        for kind, known in self.choices.items():
            self.files[kind].close()
            if len(known) <= MOST_CHOICES and len(known) + (kind in self.bare) > 1 and known:
                kept[kind] = list(known)
            else:
                (folder / f"{kind}.bin").unlink()
        return kept
