"""An archive that is fed with imagery and asked with patches."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from torch.utils.data import Dataset

from geohash_rs.archive import CodeArchive, SceneRecord
from geohash_rs.archive.filters import RegionLike, TimeLike
from geohash_rs.codes import check_num_bits
from geohash_rs.errors import HasherError, HasherMismatchError, QueryError
from geohash_rs.hashing import Hasher, load_hasher, parse_training_free
from geohash_rs.indexing import AddReport, GridSettings, add_dataset, add_scenes
from geohash_rs.matches import Matches
from geohash_rs.patches import read_patch
from geohash_rs.retrieval import (
    Query,
    query_of_patch,
    query_of_point,
    query_of_tile,
    resolutions,
    retrieve,
)
from geohash_rs.scene_file import scene_key
from geohash_rs.scenes import Scenes
from geohash_rs.tile_grid import Edges

__all__ = ["Archive", "open_or_create"]

DEFAULT_HASHER = "itq-64"
DEFAULT_TILE_SIZE = 64


class Archive(CodeArchive):
    """Codes and tiles on disk, with the hasher that makes them.

    >>> archive = Archive.create("archive", hasher="itq-64")  # doctest: +SKIP
    >>> archive.add(Scenes("scenes/"), tile_size=64)  # doctest: +SKIP
    >>> archive.query("patch.tif", k=20).to_file("matches.geojson")  # doctest: +SKIP
    """

    _hasher: Hasher | None = None

    @classmethod
    def create(  # type: ignore[override]  # takes hashers where the base takes bytes of them
        cls,
        path: str | Path,
        *,
        hasher: Hasher | str | Path | None = None,
        num_bits: int | None = None,
    ) -> Self:
        """Make a new archive.

        Args:
            path: Folder to make; it must not exist, or be empty.
            hasher: A hasher, the name of a shipped one, the path of a file, or ``itq-BITS`` or
                ``lsh-BITS`` for a training-free one that is fitted on the first imagery added.
                None means codes made elsewhere if ``num_bits`` is given, else ``itq-64``.
            num_bits: Bits of a code, for codes made elsewhere.

        Returns:
            The archive, empty.

        Raises:
            ArchiveExistsError: If something else is there.
            ArchiveReadOnlyError: If the folder cannot be written.
            HasherError: If both a hasher and a differing number of bits are given.
            HasherNotFoundError: If there is no such hasher.
            CodeLengthError: If codes of so many bits cannot be packed.
        """
        if hasher is None and num_bits is not None:
            return super().create(path, num_bits=check_num_bits(num_bits))
        chosen = DEFAULT_HASHER if hasher is None else hasher
        if isinstance(chosen, str) and chosen.startswith(("itq-", "lsh-")):
            _, bits = parse_training_free(chosen)
            _check_same_bits(num_bits, bits)
            return super().create(path, pending_hasher=chosen)
        made = chosen if isinstance(chosen, Hasher) else load_hasher(chosen)
        _check_same_bits(num_bits, made.num_bits)
        archive = super().create(path, num_bits=made.num_bits)
        archive.set_hasher(made.to_bytes(), fingerprint=made.fingerprint, num_bits=made.num_bits)
        archive._hasher = made
        return archive

    def hasher(self, *, device: str = "cpu") -> Hasher:
        """Give the hasher that this archive's codes are made with.

        Args:
            device: Where it runs.

        Returns:
            The hasher.

        Raises:
            HasherError: If the archive has none (yet).
        """
        if self._hasher is None or str(self._hasher.device) != device:
            if self.hasher_file is None:
                pending = self.pending_hasher
                msg = (
                    f"{self.path} has no hasher yet: {pending} is fitted on the first imagery that "
                    "is added; add some first."
                    if pending
                    else f"{self.path} holds codes made elsewhere and no hasher; search it with "
                    "archive.search(codes), by tile id or by point."
                )
                raise HasherError(msg)
            self._hasher = load_hasher(self.hasher_file, device=device)
        return self._hasher

    def add(
        self,
        dataset: Scenes | Dataset[Any],
        *,
        sampler: Iterable[Any] | None = None,
        tile_size: int | None = None,
        stride: int | None = None,
        edges: Edges = "shift",
        max_nodata: float = 0.5,
        resolution: float | None = None,
        batch_size: int = 64,
        workers: int = 0,
        device: str = "cpu",
        strict: bool = False,
        progress: bool = False,
    ) -> AddReport:
        """Hash imagery and add its tiles.

        Scenes that the archive has already, from the same file with the same grid, are left as
        they are; where file or grid have changed, their tiles are replaced.

        Args:
            dataset: `Scenes`, whose tiles are cut on each scene's own grid; or any TorchGeo
                dataset: a geo dataset with ``sampler``, or a non-geo dataset whose files are
                georeferenced.
            sampler: Sampler of TorchGeo, for datasets other than Scenes.
            tile_size: Columns and rows of a tile, px; that of the hasher if None.
            stride: Step between tiles, px; the tile size if None.
            edges: ``shift`` moves the last tile of a row or column back inside, ``pad`` lets it
                overhang, ``drop`` leaves it out.
            max_nodata: Tiles with a larger share of invalid pixels are left out.
            resolution: Ground size of a pixel, m, that tiles of all scenes are resampled to; None
                keeps every scene's own pixels.
            batch_size: Tiles a pass of the network.
            workers: Processes that read; 0 reads in a thread.
            device: Where the network runs, such as ``cpu`` or ``cuda``.
            strict: Stop at the first scene that cannot be added instead of naming it in the report.
            progress: Show a bar if this is a terminal.

        Returns:
            What was added, left out and skipped.

        Raises:
            BandMismatchError: If the bands do not fit the hasher.
            HasherError: If the archive holds codes made elsewhere.
            SceneError: If nothing can be placed; with ``strict``, if a scene cannot be added.
            TileSizeError: If the grid's settings are out of range, or no scene is as large as a
                tile.
        """
        hasher = None if self.pending_hasher else self.hasher(device=device)
        if hasher is None and tile_size is None and isinstance(dataset, Scenes):
            tile_size = DEFAULT_TILE_SIZE
        if isinstance(dataset, Scenes) and sampler is None:
            size = tile_size if tile_size is not None else hasher.tile_size if hasher else 0
            grid = GridSettings(
                tile_size=size,
                stride=size if stride is None else stride,
                edges=edges,
                max_nodata=max_nodata,
                resolution=resolution,
            )
            return add_scenes(
                self,
                dataset,
                hasher=hasher,
                device=device,
                grid=grid,
                batch_size=batch_size,
                workers=workers,
                strict=strict,
                progress=progress,
            )
        return add_dataset(
            self,
            dataset,
            hasher=hasher,
            device=device,
            sampler=sampler,
            tile_size=tile_size,
            max_nodata=max_nodata,
            batch_size=batch_size,
            workers=workers,
            strict=strict,
            progress=progress,
        )

    def query(
        self,
        patch: str | Path | None = None,
        *,
        k: int | None = 20,
        point: Sequence[float] | None = None,
        tile: int | None = None,
        window: Sequence[int] | None = None,
        bands: Sequence[int | str] | None = None,
        max_distance: int | None = None,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        within: bool = False,
        scenes: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        exclude_overlap: bool = False,
        crs: object = None,
        device: str = "cpu",
    ) -> Matches:
        """Find the tiles that look like a GeoTIFF patch, like a place, or like one tile.

        Args:
            patch: Path or URI of a georeferenced raster. Any CRS, resolution and size: it is
                brought onto the hasher's grid, and one larger than a tile is searched by its
                tiles.
            k: Matches asked for; None gives all within ``max_distance``.
            point: Longitude and latitude; the archive's tile there is searched with.
            tile: Id of the archive's tile to search with.
            window: Column, row, width and height of the part of the patch to use, px.
            bands: One-based indexes or names of the patch's bands; those that the archive's scenes
                were read with if None.
            max_distance: Largest Hamming distance, bits, inclusive.
            region: Only tiles that meet this: a shapely geometry in lon/lat, or (minlon, minlat,
                maxlon, maxlat); minlon > maxlon crosses the dateline.
            time: Only tiles of this range, (first, last), inclusive; None leaves an end open.
            within: Only tiles that lie in the region altogether.
            scenes: Only tiles of these scenes.
            labels: Only tiles with these labels.
            exclude_overlap: Leave out tiles that overlap the patch or tile searched with.
            crs: CRS of the result; EPSG:4326 if None.
            device: Where the network runs.

        Returns:
            Matches, nearest first, ties by lowest tile id.

        Raises:
            QueryError: If not exactly one of patch, point and tile is given, or k, max_distance
                or crs make no sense.
            PatchError: If the patch cannot be read.
            SceneError: If the patch cannot be placed.
            BandMismatchError: If its bands do not fit the hasher.
            RegionError: If the region is empty, invalid or out of range.
            TimeRangeError: If the time range cannot be read or is turned round.
            TileNotFoundError: If there is no such tile.
        """
        given = [value is not None for value in (patch, point, tile)]
        if sum(given) != 1:
            msg = f"{sum(given)} of patch, point and tile are given; search with exactly one."
            raise QueryError(msg)
        if patch is not None:
            query = self._patch_query(patch, window=window, bands=bands, device=device)
        elif point is not None:
            query = query_of_point(self, point)
        else:
            query = query_of_tile(self, int(tile or 0))
        return retrieve(
            self,
            query,
            k=k,
            max_distance=max_distance,
            region=region,
            time=time,
            within=within,
            scenes=scenes,
            labels=labels,
            exclude_overlap=exclude_overlap,
            crs=crs,
        )

    def _patch_query(
        self,
        path: str | Path,
        *,
        window: Sequence[int] | None,
        bands: Sequence[int | str] | None,
        device: str,
    ) -> Query:
        hasher = self.hasher(device=device)
        records = self.scenes()
        sizes = {int(r.settings["tile_size"]) for r in records if "tile_size" in r.settings}
        chosen = bands if bands is not None else _bands_of_scenes(records, scene_key(path))
        patch = read_patch(
            path,
            names=hasher.bands,
            tile_size=sizes.pop() if len(sizes) == 1 else hasher.tile_size,
            window=window,
            bands=chosen,
            resolutions=resolutions(records),
        )
        return query_of_patch(hasher, patch)


def _bands_of_scenes(records: Sequence[SceneRecord], key: str) -> list[int | str] | None:
    """Choose the bands of a patch: those of the same scene, or those that all scenes agree on."""
    choices = {record.scene: record.settings.get("bands") for record in records}
    if key in choices:
        return choices[key]
    distinct = {tuple(bands or ()) for bands in choices.values()}
    return list(distinct.pop()) or None if len(distinct) == 1 else None


def open_or_create(path: str | Path, *, hasher: Hasher | str | Path | None = None) -> Archive:
    """Open an archive for adding, or make it if nothing is there.

    Args:
        path: The folder.
        hasher: As in `Archive.create`; None keeps that of an archive that is there.

    Returns:
        The archive.

    Raises:
        HasherMismatchError: If the archive was made by another hasher than the one asked for.
    """
    folder = Path(path)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return Archive.create(folder, hasher=hasher)
    archive = Archive.open(folder)
    if hasher is None or hasher == archive.pending_hasher:
        return archive
    name = "" if isinstance(hasher, Hasher) else str(hasher)
    asked = hasher if isinstance(hasher, Hasher) else None
    if name.startswith(("itq-", "lsh-")):
        if archive.hasher_file is not None and archive.hasher().name == name:
            return archive  # it was fitted by that name
    elif not isinstance(hasher, Hasher):
        asked = load_hasher(hasher)
    if asked is None or asked.fingerprint != archive.hasher_fingerprint:
        known = archive.pending_hasher or archive.hasher().name
        msg = (
            f"{folder} was made with the hasher {known} but {asked.name if asked else name} is "
            "asked for; leave --hasher out, or make another archive."
        )
        raise HasherMismatchError(msg)
    return archive


def _check_same_bits(asked: int | None, made: int) -> None:
    if asked is not None and asked != made:
        msg = f"num_bits is {asked} but the hasher makes {made} bits; leave num_bits out."
        raise HasherError(msg)
