"""Write an archive as a folder for any static host: a page and data that it reads in ranges."""

import base64
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.errors import ExportError
from geohash_rs.export.code_order import curve_ranks, in_curve_order, in_pieces
from geohash_rs.export.folders import replacing_folder
from geohash_rs.export.formats import check_place, reporting
from geohash_rs.export.row_pictures import read_pictures, warn_of
from geohash_rs.export.site.blocks import ROWS, SHOWN, block_details, moments_of
from geohash_rs.export.site.kinds import KINDS, Kinds
from geohash_rs.export.site.tree import FAN, Tree
from geohash_rs.pictures.world import FILE as WORLD
from geohash_rs.store.code_table import METADATA, CodeTable, byte_rows
from geohash_rs.store.segment.shapes import stored_bounds

if TYPE_CHECKING:
    from geohash_rs.pictures.permission import Permission

__all__ = ["SMALL", "check_site_output", "is_site_path", "site_size", "write_site"]

FORMAT, VERSION = "geohash_rs site", 1
ABOUT = "site.js"  # in the folder `data`
SHARED = ("coordinates.js", "world.js")  # modules of the server's page that this page needs, too
PIECE = 1 << 16  # tiles that are written at once
STEP = 256  # every so many tile ids, one is kept in a list, and of that list likewise
SMALL = 24 << 20  # bytes of data up to which they are also written as scripts
PICTURE = 128  # px
EXACT = 2**53  # JavaScript's numbers are exact below
# Estimates per tile, bytes: details of 64 neighbours, and a picture.
DETAILS, WEBP = 40, 4000
PAGE = 220_000  # bytes of the page itself, with coastlines


def is_site_path(path: str | os.PathLike[str]) -> bool:
    """Return whether a path to write names a static folder rather than a file.

    Args:
        path: As a user wrote it.

    Returns:
        Whether it ends in a slash, or has no ending.

    >>> is_site_path("site/"), is_site_path("site"), is_site_path("tiles.gpkg")
    (True, True, False)
    """
    text = os.fspath(path)
    return text.endswith(("/", os.sep)) or not Path(text).suffix


def check_site_output(path: str | os.PathLike[str]) -> None:
    """Check a folder that is to be written, to fail before any work is done.

    Args:
        path: The folder.

    Raises:
        ExportError: If it lies in an archive or in a folder that does not exist, is a file, or is a
            folder with content that is not an export of this kind.
    """
    target = Path(path)
    check_place(target)
    if target.is_file():
        msg = f"{target} is a file; choose another name for the folder."
        raise ExportError(msg)
    if target.is_dir() and any(target.iterdir()) and not _is_site(target):
        msg = (
            f"{target} is a folder with other files, so it is not replaced; choose another name, "
            "such as a new folder in it."
        )
        raise ExportError(msg)


def site_size(num_tiles: int, num_bits: int, *, pictures: bool) -> int:
    """Estimate the size of a folder.

    Args:
        num_tiles: Tiles.
        num_bits: Bits of a code.
        pictures: Whether it holds pictures.

    Returns:
        Bytes.
    """
    each = num_bits // 8 + 24 + DETAILS + (WEBP if pictures else 0)
    data = num_tiles * each
    return PAGE + (data if data > SMALL else round(data * 7 / 3))


def write_site(
    table: CodeTable,
    path: str | os.PathLike[str],
    *,
    name: str,
    pictures: bool = False,
    permission: "Permission | None" = None,
) -> int:
    """Write tiles, codes and a page that searches them to a folder for any static host.

    The page finds the same tiles as the archive: the nearest by Hamming distance, ties by tile id,
    within a region and a time range, and reordered by good and bad examples. It reads the data by
    HTTP ranges. Up to `SMALL` bytes of data are written a second time as scripts, so that the page
    also works when it is opened from a disk; of more, it asks for the folder. Footprints are stored
    as the archive's own numbers.

    Args:
        table: All columns of an archive, as from `archive.to_table()`; filters may be set.
        path: Folder to write; a former export there is replaced.
        name: Title of the page.
        pictures: Whether to copy a picture of each tile, up to 128 px, from its scene.
        permission: What pictures may be read from; None allows plain raster files of this machine.

    Returns:
        The number of tiles.

    Raises:
        ExportError: As `check_site_output`, and if there is no tile, columns are missing, an id is
            2**53 or more, or the disk is full.
        ArchiveCorruptError: If a file of the archive is damaged.
        EngineError: If a database cannot answer.
    """
    target = Path(os.path.realpath(path))
    check_site_output(target)
    missing = {*SHOWN, "code", "geometry"}.difference(table.schema.names)
    if missing:
        msg = f"the table lacks the columns {sorted(missing)}; pass archive.to_table()."
        raise ExportError(msg)
    with reporting(target), replacing_folder(target) as draft:
        ranks = curve_ranks(table)
        if not len(ranks):
            msg = "there are no tiles to write; add imagery to the archive first."
            raise ExportError(msg)
        scratch = draft.with_name("order")
        scratch.mkdir()
        data = draft / "data"
        data.mkdir(parents=True)
        tables = in_curve_order(table, ranks, scratch)
        with ExitStack() as stack:
            rows = _Rows.open(data, stack, pictures=pictures, permission=permission)
            for piece in in_pieces(tables, PIECE):
                rows.add(piece)
        about = rows.finish()
        about |= {"name": name, **json.loads(table.schema.metadata[METADATA])}
        _describe(data, about)
        _copy_page(draft)
    return len(ranks)


@dataclass(kw_only=True)
class _Rows:
    """The files that hold the tiles, row after row, while they are written."""

    folder: Path
    files: dict[str, BinaryIO]
    kinds: Kinds
    permission: "Permission | None"
    tree: Tree = field(default_factory=Tree)
    ids: list[npt.NDArray[np.int64]] = field(default_factory=list)
    places: list[int] = field(default_factory=lambda: [0])
    picture_end: int = 0
    lacking: list[str] = field(default_factory=list)  # why pictures are missing
    bounds: npt.NDArray[np.float64] | None = None
    timed: bool = False
    ended: bool = False

    @classmethod
    def open(
        cls, folder: Path, stack: ExitStack, *, pictures: bool, permission: "Permission | None"
    ) -> "_Rows":
        names = ["codes", "details", "starts", "ends", *KINDS] + ["pictures"] * pictures
        opened: dict[str, BinaryIO] = {
            name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in names
        }
        kinds = Kinds(files={kind: opened[kind] for kind in KINDS})
        return cls(folder=folder, files=opened, kinds=kinds, permission=permission)

    def add(self, piece: pa.Table) -> None:
        """Write some tiles."""
        bounds = stored_bounds(piece.column("geometry"))
        starts = moments_of(piece.column("datetime"))
        given = moments_of(piece.column("datetime_end"))
        unknown = np.iinfo(np.int64).min
        ends = np.where(given == unknown, starts, given)
        self.timed |= bool((starts != unknown).any())
        self.ended |= bool((ends != starts).any())
        self.tree.add(bounds, starts, ends)
        self._extend(bounds[~np.isnan(bounds[:, 0])])
        self.kinds.add(piece)
        self.ids.append(piece.column("tile_id").to_numpy())
        self.files["codes"].write(byte_rows(piece.column("code")).tobytes())
        self.files["starts"].write(starts.astype("<i8").tobytes())
        self.files["ends"].write(ends.astype("<i8").tobytes())
        for block in block_details(piece, self._pictures(piece)):
            self.files["details"].write(block)
            self.places.append(self.places[-1] + len(block))

    def _extend(self, bounds: npt.NDArray[np.float64]) -> None:
        if len(bounds):
            known = bounds if self.bounds is None else np.vstack([bounds, self.bounds])
            self.bounds = np.hstack([known[:, :2].min(axis=0), known[:, 2:].max(axis=0)])[None]

    def _pictures(self, piece: pa.Table) -> list[Sequence[int] | None] | None:
        """Write the pictures of some tiles, and return their places."""
        if "pictures" not in self.files:
            return None
        windows = piece.select(["scene", "col", "row", "width", "height"]).to_pylist()
        places: list[Sequence[int] | None] = []
        pictures = read_pictures(windows, size=PICTURE, permission=self.permission)
        self.lacking += [reason for reason in pictures.reasons if reason]
        for webp in pictures.webp:
            places.append(None if webp is None else (self.picture_end, len(webp)))
            self.picture_end += self.files["pictures"].write(webp or b"")
        return places

    def finish(self) -> dict[str, Any]:
        """Write what is known when all tiles are, and describe it.

        Raises:
            ExportError: If an id is too large for JavaScript.
        """
        warn_of(self.lacking)  # once, with their number
        ids = np.concatenate(self.ids)
        if ids.max() >= EXACT:
            msg = f"tile id {ids.max()} is not below 2**53, which is as far as browsers count."
            raise ExportError(msg)
        kind = "<u4" if ids.max() < 2**32 else "<f8"
        order = np.argsort(ids, kind="stable")
        ascending = bool((np.diff(ids) > 0).all())
        self._write("ids", ids.astype(kind))
        if not ascending:
            self._write("sorted", ids[order].astype(kind))
            self._write("rows", order.astype("<u4"))
        steps = ids[order][::STEP].astype("<f8")
        self._write("steps", steps)
        self._write("places", np.array(self.places, "<f8"))
        for name, kept in (("starts", self.timed), ("ends", self.timed and self.ended)):
            if not kept:
                (self.folder / f"{name}.bin").unlink()
        levels = self.tree.write(self.folder, timed=self.timed)
        return {
            "tiles": len(ids),
            "rows": ROWS,
            "fan": FAN,
            "step": STEP,
            "levels": levels,
            "timed": self.timed,
            "ended": self.timed and self.ended,
            "ascending": ascending,
            "kinds": self.kinds.finish(self.folder),
            "id_bytes": np.dtype(kind).itemsize,
            "first_ids": steps[::STEP].tolist(),
            "bounds": None if self.bounds is None else self.bounds[0].tolist(),
            "pictures": "pictures" in self.files,
        }

    def _write(self, name: str, array: npt.NDArray[Any]) -> None:
        (self.folder / f"{name}.bin").write_bytes(array.tobytes())


def _describe(data: Path, about: dict[str, Any]) -> None:
    """Write the description, and small data as scripts."""
    sizes = {path.name: path.stat().st_size for path in sorted(data.glob("*.bin"))}
    scripts = sum(sizes.values()) <= SMALL
    described = {
        "format": FORMAT,
        "version": VERSION,
        "key": secrets.token_hex(6),  # in addresses, so that files of a former export are not mixed
        **about,
        "sizes": sizes,
        "scripts": scripts,
    }
    (data / ABOUT).write_text(f"const ABOUT = {_script(described)};\n", encoding="ascii")
    for name in sizes if scripts else ():
        text = base64.b64encode((data / name).read_bytes()).decode("ascii")
        (data / f"{name}.js").write_text(f'siteData("{name}", "{text}");\n', encoding="ascii")


def _script(value: dict[str, Any]) -> str:
    """Write JSON that is also JavaScript, and ASCII."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _copy_page(folder: Path) -> None:
    """Write the page next to its data, and coastlines and borders as a script."""
    lines = base64.b64encode(WORLD.read_bytes()).decode("ascii")
    (folder / "data" / "world.js").write_text(f'siteData("world", "{lines}");\n', encoding="ascii")
    with as_file(files("geohash_rs.export.site") / "page") as page:
        for path in _pages(page):
            shutil.copyfile(path, folder / path.name)
    with as_file(files("geohash_rs") / "serve" / "static") as page:
        for name in SHARED:
            script = _classic_script((page / name).read_text(encoding="utf-8"))
            (folder / name).write_text(script, encoding="utf-8", newline="\n")


def _classic_script(module: str) -> str:
    """Wrap a JavaScript module without imports: from a disk, browsers load no modules."""
    declared = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", flags=re.MULTILINE)
    names = ", ".join(declared.findall(module))
    inner = declared.sub("", module)
    return f'const {{ {names} }} = (() => {{\n"use strict";\n{inner}return {{ {names} }};\n}})();\n'


def _pages(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix in (".html", ".css", ".js"))


def _is_site(folder: Path) -> bool:
    """Return whether a folder holds a former export."""
    try:
        with (folder / "data" / ABOUT).open(encoding="ascii") as file:
            start = file.read(200)
    except (OSError, UnicodeDecodeError):
        return False
    return re.match(rf'const ABOUT = {{"format": "{FORMAT}"', start) is not None
