"""An archive that indexes imagery and answers queries by patch."""

import contextlib
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import geopandas as gpd
import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from geohash_rs.codes import check_num_bits
from geohash_rs.embeddings.inputs import add_tables, are_tables
from geohash_rs.embeddings.options import TableOptions, Tables, refuse_options, table_settings
from geohash_rs.embeddings.stores import StoreSettings, add_stores, are_stores
from geohash_rs.embeddings.vectors import add_vectors, check_embedding, fit_on_vectors
from geohash_rs.errors import (
    ArchiveExistsError,
    ArchiveNotFoundError,
    GeoHashRSError,
    HasherError,
    HasherMismatchError,
    TileSizeError,
    VectorError,
)
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.fit.backbone_choice import AT, BackboneChoice
from geohash_rs.hashing.fit.by_name import Unfitted, with_backbone
from geohash_rs.hashing.hasher import Hasher, as_features
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.hashing.shipped import load_hasher
from geohash_rs.indexing.add import Imagery, add_imagery, pending_hasher
from geohash_rs.indexing.dataset_imagery import DatasetImagery
from geohash_rs.indexing.embedded import embedding_of_dataset, embedding_of_scenes, prepared_scenes
from geohash_rs.indexing.refit import Announce, refit_archive
from geohash_rs.indexing.refit_report import RefitReport
from geohash_rs.indexing.report import AddReport, check_codes_differ, check_fit
from geohash_rs.indexing.samples import Samples
from geohash_rs.indexing.scene_imagery import SceneImagery
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.indexing.writer import when_free
from geohash_rs.retrieval.image_queries import ImageQueries
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.grid import Edges
from geohash_rs.scenes.grids import TileGrids
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.creation import is_unused
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.locks import no_readers, write_lock
from geohash_rs.store.disk.manifest import KeepVectors
from geohash_rs.store.disk.manifest_file import MANIFEST, read_manifest
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["Archive", "check_asked", "chosen_backbone", "open_or_create", "remove_unused"]

DEFAULT_HASHER = "general-64"


class Archive(CodeStore, ImageQueries):
    """Codes and tiles on disk, with the hasher that makes them.

    >>> archive = Archive.create("archive", hasher="general-64")  # doctest: +SKIP
    >>> archive.add(Scenes("scenes/"), tile_size=64)  # doctest: +SKIP
    >>> archive.query("patch.tif", k=20).to_file("matches.geojson")  # doctest: +SKIP
    """

    _hasher: Hasher | None = None

    def _repr_html_(self) -> str:
        from geohash_rs.export.notebook import archive_html

        return archive_html(self)

    @classmethod
    def create(  # type: ignore[override]  # takes hashers where the base takes bytes of them
        cls,
        path: str | Path,
        *,
        hasher: Hasher | str | Path | None = None,
        num_bits: int | None = None,
        backbone: str | None = None,
        weights: Any = None,  # noqa: ANN401  (TorchGeo's enum is not imported here)
        stages: Sequence[str] = (),
        keep_vectors: KeepVectors = "none",
    ) -> Self:
        """Make a new archive.

        >>> Archive.create(
        ...     "archive", hasher="general-64", backbone="ResNet50_Weights.SENTINEL2_ALL_MOCO"
        ... )  # doctest: +SKIP

        Args:
            path: A folder that does not exist yet, or holds nothing but the remains of an
                interrupted creation.
            hasher: A hasher, the name of a shipped one, the path of a file, or ``general-BITS``,
                ``itq-BITS`` or ``lsh-BITS`` for one to be fitted on the first imagery added; the
                shipped ``general-rgb-128``, given by name, is fitted in the same way. None means
                codes made elsewhere if ``num_bits`` is given, otherwise ``general-64``.
            num_bits: Bits per code, for codes made elsewhere.
            backbone: Network of a hasher that is to be fitted: the name of a timm model or of
                TorchGeo weights. Default: that of the weights, otherwise
                ``tf_efficientnet_lite0``.
            weights: Its weights: the path of a state dict, or TorchGeo weights. Default: those that
                timm or TorchGeo download. A file must stay there until imagery is added; then the
                archive's hasher holds the weights.
            stages: Layers whose mean output is added to the features, as for `load_backbone`.
            keep_vectors: Whether to keep the feature vector of every tile next to its code:
                "float16" (two bytes a number), "int8" (one byte) or "none". With vectors, tiles
                can be hashed again without their pixels.

        Returns:
            The empty archive.

        Raises:
            ArchiveExistsError: If the path exists and is not empty.
            ArchiveReadOnlyError: If the folder cannot be written.
            HasherError: If `num_bits` differs from the hasher's, or the backbone, its weights or
                stages do not exist, or the hasher does not take another backbone.
            HasherNotFoundError: If the hasher is not found.
            CodeLengthError: If codes of `num_bits` bits cannot be packed.
            QueryError: If `keep_vectors` is unknown.
        """
        if (choice := chosen_backbone(backbone, weights, stages)) is not None:
            hasher = _named(hasher, choice)
        if hasher is None and num_bits is not None:
            bits = check_num_bits(num_bits)
            return super().create(path, num_bits=bits, keep_vectors=keep_vectors)
        chosen = DEFAULT_HASHER if hasher is None else hasher
        if (unfitted := Unfitted.find(chosen)) is not None:
            _check_same_bits(num_bits, unfitted.num_bits)
            pending = unfitted.pending
            return super().create(path, pending_hasher=pending, keep_vectors=keep_vectors)
        made = chosen if isinstance(chosen, Hasher) else load_hasher(chosen)
        _check_same_bits(num_bits, made.num_bits)
        file = HasherFile(
            data=made.to_bytes(), fingerprint=made.fingerprint, num_bits=made.num_bits
        )
        archive = super().create(path, hasher=file, keep_vectors=keep_vectors)
        archive._hasher = made
        return archive

    def hasher(self, *, device: str = "cpu") -> Hasher:
        """Return the hasher that makes this archive's codes.

        Args:
            device: The device it runs on.

        Returns:
            The hasher.

        Raises:
            HasherError: If the archive has none (yet).
            HasherMismatchError: If its file does not hold the hasher that made the codes.
        """
        known = self._hasher
        if known is not None and known.fingerprint != self.hasher_fingerprint:
            known = None  # the archive was made again with another hasher, then refreshed
        if known is None or str(known.device) != device:
            if self.hasher_file is None:
                pending = self.pending_hasher
                msg = (
                    f"{self.path} has no hasher yet: {pending} will be fitted on the first imagery "
                    "added; add some first."
                    if pending
                    else f"{self.path} holds codes made elsewhere and no hasher; search it with "
                    "archive.search(codes), by tile id or by point."
                )
                raise HasherError(msg)
            known = self._stored_hasher(self.hasher_file, device=device)
            self._hasher = known
        return known

    def _stored_hasher(self, file: Path, *, device: str) -> Hasher:
        """Load the archive's hasher.

        Raises:
            HasherMismatchError: If its file holds another one.
        """
        found = load_hasher(file, device=device)
        if found.fingerprint != self.hasher_fingerprint:
            msg = (
                f"{file} holds the hasher {found.fingerprint[:16]}, but the codes of {self.path} "
                f"were made by {str(self.hasher_fingerprint)[:16]}; restore the file from a copy."
            )
            raise HasherMismatchError(msg)
        return found

    def add(
        self,
        dataset: Scenes | Dataset[Any] | Tables,
        *,
        sampler: Iterable[Any] | None = None,
        tile_size: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        edges: Edges = "shift",
        max_nodata: float = 0.5,
        resolution: float | None = None,
        embedding: PixelEmbedding | str | None = None,
        batch_size: int | None = None,
        workers: int = 0,
        device: str = "cpu",
        checksum: bool = False,
        strict: bool = False,
        progress: bool = False,
        **table: Unpack[TableOptions],
    ) -> AddReport:
        """Hash imagery, or vectors that somebody else computed, and add the tiles.

        A scene that is already in the archive, from the same file and on the same grid, is
        skipped; if its file or grid changed, its tiles are replaced. So are tables of vectors.

        >>> archive.add("clay/", footprint_m=2560)  # doctest: +SKIP

        Args:
            dataset: `Scenes`, whose tiles are cut on each scene's own grid; or any TorchGeo
                dataset: a geo dataset with ``sampler``, or a non-geo dataset whose files are
                georeferenced. Or tables of vectors: Parquet files and folders of them, a
                GeoDataFrame, Arrow data or a relation of DuckDB, ``(vectors, GeoDataFrame)``, or
                one of TorchGeo's datasets of embeddings. Or the path of a Zarr store of vectors,
                whose tiles are of 16 px unless ``tile_size`` says otherwise.
            sampler: TorchGeo sampler, for datasets other than Scenes.
            tile_size: Columns and rows of a tile, px; or several sizes, in each of which scenes are
                cut. A scene too small for some of them has tiles of the others, which a note of
                the report says. None uses the hasher's, or the several sizes of the archive's
                scenes if all have the same.
            stride: Step between tiles, px; with several sizes, one for all or one for each. None
                uses the tile size.
            edges: ``shift`` moves the last tile of a row or column back inside, ``pad`` lets it
                overhang, ``drop`` leaves it out.
            max_nodata: Largest allowed share of invalid pixels in a tile.
            resolution: Ground size of a pixel, m, to which all scenes are resampled. None uses the
                hasher's, or each scene's own if the hasher has none.
            embedding: What the bands of the rasters are, if they are a published embedding rather
                than a picture: "alphaearth", "tessera:VERSION", "presto", "copernicus-embed" or
                "raw", as for `PixelEmbedding.of`; no network is run then. None uses that of the
                archive, or recognises a product by its band and file names.
            batch_size: Most tiles to read at once; fewer if they are large. Default: 512 of scenes,
                64 of other datasets.
            workers: Processes that read; 0 reads in a thread.
            device: Device that runs the network, such as ``cpu`` or ``cuda``.
            checksum: Whether to compare files by checksum rather than by size and time, and to
                store checksums for later runs.
            strict: Stop at the first scene that cannot be added instead of reporting it.
            progress: Show a progress bar if this is a terminal.
            **table: Options for tables of vectors, such as ``vector_column``; listed in the guide
                to published embeddings.

        Returns:
            What was added, left out and skipped.

        Raises:
            BandMismatchError: If the bands do not match the hasher's.
            HasherError: If the archive holds codes made elsewhere, or the embedding is unknown.
            HasherMismatchError: If the archive's file does not hold the hasher of its codes, or the
                rasters are of another embedding.
            SceneError: If nothing can be placed; with ``strict``, if a scene cannot be added.
            TileSizeError: If the grid's settings are out of range, every scene is smaller than a
                tile, a size is named twice, or several are named for a dataset
                with a sampler.
        """
        settings = IndexSettings(
            batch_size=batch_size,
            workers=workers,
            device=device,
            checksum=checksum,
            strict=strict,
            progress=progress,
        )

        def known() -> Hasher | None:
            return None if self.pending_hasher else self.hasher(device=device)

        cut: dict[str, Any] = {"sampler": sampler, "stride": stride, "resolution": resolution}
        cut["embedding"] = embedding
        first_id = self.manifest.next_id
        if are_stores(dataset):
            side = _only(tile_size)
            chosen = StoreSettings.of(table, tile_size=side, max_nodata=max_nodata, also=cut)
            report = add_stores(self, dataset, chosen, settings, known)
            check_codes_differ(self, report, first_id=first_id)
            return report
        if are_tables(dataset):
            options = table_settings(table, also=cut | {"tile_size": tile_size})
            report = add_tables(self, dataset, options, settings, known)
            check_codes_differ(self, report, first_id=first_id)
            return report
        refuse_options(table)
        images: Any = dataset

        def imagery(hasher: Hasher | None) -> Imagery[Any]:
            if not isinstance(images, Scenes) or sampler is not None:
                pixels = embedding_of_dataset(embedding, hasher, images)
                samples = Samples(
                    dataset=images, sampler=sampler, max_nodata=max_nodata, embedding=pixels
                )
                size = _only(tile_size)
                return DatasetImagery(self, samples, settings, tile_size=size, embedding=pixels)
            pixels = embedding_of_scenes(embedding, hasher, images)
            grids = TileGrids.for_hasher(
                hasher or pixels,
                tile_size=tile_size,
                stride=stride,
                edges=edges,
                max_nodata=max_nodata,
                resolution=resolution,
                known=[record.settings for record in self.scenes()],
            )
            if pixels is not None:
                scenes = prepared_scenes(images, pixels)
                return SceneImagery(self, scenes, grids, settings, embedding=pixels)
            bands = (hasher or pending_hasher(self)).bands
            scenes = images if bands is None else images.on_grid_of(bands)
            return SceneImagery(self, scenes, grids, settings)

        if self.pending_hasher:
            try:
                return self._checked(imagery(None), None)
            except HasherMismatchError:
                self.refresh()
                if self.pending_hasher:  # otherwise another process has fitted it meanwhile
                    raise
        hasher = self.hasher(device=device)
        _check_reads_pixels(self, hasher)
        return self._checked(imagery(hasher), hasher)

    def add_embeddings(
        self,
        vectors: npt.ArrayLike,
        tiles: gpd.GeoDataFrame,
        *,
        embedding: Embedding | None = None,
        scenes: Sequence[SceneRecord] = (),
        replace_scenes: Collection[str] = (),
    ) -> npt.NDArray[np.int64]:
        """Hash vectors that somebody else computed, and add them with their tiles, in one commit.

        The first vectors decide what the archive holds: a hasher that is to be fitted, such as
        "general-256", is fitted on them. Later ones must be of the same embedding.

        >>> archive.add_embeddings(vectors, tiles)  # doctest: +SKIP

        Args:
            vectors: Vectors, float, shape (n, dimensions).
            tiles: n rows, as in `add_codes`.
            embedding: Model, version and variant of the vectors. None does not say, so that only
                their length is compared with that of the archive's vectors.
            scenes: Records of the files that hold the vectors.
            replace_scenes: Scenes whose current tiles are removed in the same commit.

        Returns:
            Ids of the tiles, int64, shape (n,), in the order given.

        Raises:
            HasherError: If the archive's hasher reads pixels, or there are too few vectors to fit
                one on.
            HasherMismatchError: If the archive's vectors come from another embedding.
            TileTableError: If vectors and tiles differ in number, or a column is wrong.
            VectorError: If vectors are not floats of one length, or one is zero, NaN or infinite.
        """
        self._writer()  # refuses an archive that was opened for reading
        given = as_features(vectors)
        found = embedding or Embedding("", given.shape[1])
        if self.pending_hasher:
            self.refresh()
        hasher = fit_on_vectors(self, given, found) if self.pending_hasher else self.hasher()
        check_embedding(hasher, found, what="the vectors")
        return add_vectors(self, hasher, given, tiles, scenes=scenes, replace_scenes=replace_scenes)

    def refit(
        self,
        hasher: Hasher | str | Path | None = None,
        *,
        backbone: str | None = None,
        weights: Any = None,  # noqa: ANN401  (TorchGeo's enum is not imported here)
        stages: Sequence[str] = (),
        batch_size: int | None = None,
        workers: int = 0,
        device: str = "cpu",
        progress: bool = False,
        remote_scenes: bool = False,
        announce: Announce | None = None,
    ) -> RefitReport:
        """Fit a hasher on all that the archive holds, and hash every tile again.

        A hasher that is fitted when an archive is made knows only the first scenes. Tile ids,
        footprints, dates and labels stay; codes and hasher change in one commit at the end, so
        that whoever has the archive open keeps the former state until a refresh. An interrupted
        run resumes where it was. Links with a patch, published copies, and codes that come with
        their hasher's fingerprint no longer fit and are refused.

        Scenes are read from the files that were indexed, and how pixel values are scaled is chosen
        again from a sample of them, unless the hasher is given. If only a STAC item says what the
        bands of a scene show, their scale, or which files make one scene, call `Scenes.from_stac`
        with the item in this process first.

        An archive that keeps feature vectors needs no pixels, except those of a few hundred tiles
        of each sensor to fit a general hasher: it hashes the vectors, and how pixel values are
        scaled stays. Only a hasher that computes the same features is accepted.

        >>> archive = Archive.open("archive")  # doctest: +SKIP
        >>> archive.refit()  # doctest: +SKIP
        >>> archive.refit("general-128")  # doctest: +SKIP

        Args:
            hasher: A hasher or the path of a hasher file, which is used as it is; or the name of
                one as for `Archive.create`, perhaps with another number of bits, which is fitted
                on a sample of all scenes, with the backbone that was chosen for the archive. None
                fits the archive's own hasher again.
            backbone: Another network for the hasher to fit, as in `Archive.create`.
            weights: Its weights, as in `Archive.create`.
            stages: Its layers, as in `Archive.create`.
            batch_size: Most tiles to read at once; fewer if they are large. Default: 512 of scenes,
                64 of other datasets.
            workers: Processes that read; 0 reads in a thread.
            device: Device that runs the network, such as ``cpu`` or ``cuda``.
            progress: Show a progress bar if this is a terminal.
            remote_scenes: Read scenes from wherever the archive says, such as URLs, not only from
                plain raster files of this machine; only if you trust whoever made it.
            announce: Called with what is going to be done, once it is known to be possible.

        Returns:
            What was done.

        Raises:
            ArchiveLockedError: If another process is refitting the archive, or keeps writing to it.
            ArchiveReadOnlyError: If the archive was opened for reading.
            ArchiveWriteError: If the disk has too little room; nothing is changed.
            HasherError: If the archive has no hasher yet, its hasher was trained and no other is
                given, there are too few tiles to fit one on, or the backbone does not exist.
            HasherMismatchError: If another process refits the archive meanwhile.
            HasherNotFoundError: If the hasher is not found.
            SceneError: If tiles cannot be read again, since scenes are missing, have changed, or
                were read by a TorchGeo dataset; it names them, and nothing is changed.
            VectorError: If the archive keeps feature vectors that the hasher does not compute.
        """
        self._writer()  # refuses an archive that was opened for reading
        self.refresh()
        known = (
            None
            if self.hasher_file is None and not self.pending_hasher
            else self.hasher(device=device)
        )
        settings = IndexSettings(
            batch_size=batch_size,
            workers=workers,
            device=device,
            progress=progress,
            remote_scenes=remote_scenes,
        )
        chosen = hasher if isinstance(hasher, Hasher) or hasher is None else str(hasher)
        if (choice := chosen_backbone(backbone, weights, stages)) is not None:
            chosen = _named(chosen or _method_and_bits(self), choice)
        return refit_archive(self, known, chosen, settings, announce=announce)

    def _checked(self, imagery: Imagery[Any], hasher: Hasher | None) -> AddReport:
        """Add imagery, and warn if most of its tiles share one code."""
        first_id = self.manifest.next_id
        report = add_imagery(self, imagery, hasher)
        check_codes_differ(self, report, first_id=first_id)
        if report.num_tiles:
            report.unfit += check_fit(self, first_id=first_id)
        return report


def open_or_create(
    path: str | Path,
    *,
    hasher: Hasher | str | Path | None = None,
    backbone: BackboneChoice | None = None,
    keep_vectors: KeepVectors | None = None,
) -> Archive:
    """Open an archive for adding, or create it if it does not exist.

    Args:
        path: The folder.
        hasher: As in `Archive.create`; None keeps the hasher of an existing archive.
        backbone: The backbone of a hasher that is to be fitted; None keeps that of an existing
            archive.
        keep_vectors: As in `Archive.create`; None accepts what an existing archive does.

    Returns:
        The archive.

    Raises:
        VectorError: If the existing archive keeps vectors in another way.
        HasherError: If the hasher does not take another backbone.
        HasherMismatchError: If the existing archive was made with another hasher.
        ArchiveNotFoundError: If the folder holds something else.
    """
    folder = Path(path)
    while True:
        if is_unused(folder):
            made = hasher if backbone is None else _named(hasher, backbone)
            created = _create(folder, made, keep_vectors=keep_vectors or "none")
            if created is not None:
                return created
        try:
            archive = Archive.open(folder)
            break
        except ArchiveNotFoundError:
            if not is_unused(folder):  # otherwise its maker has removed it at this moment
                raise
    check_asked(archive, hasher=hasher, backbone=backbone, keep_vectors=keep_vectors)
    return archive


def chosen_backbone(
    backbone: str | None,
    weights: Any,  # noqa: ANN401  (TorchGeo's enum is not imported here)
    stages: Sequence[str],
) -> BackboneChoice | None:
    """Check the backbone that a user asks for.

    Args:
        backbone: As in `Archive.create`.
        weights: As in `Archive.create`.
        stages: As in `Archive.create`.

    Returns:
        The backbone; None if none was asked for.

    Raises:
        HasherError: As `BackboneChoice.choose`.
    """
    if backbone is None and weights is None and not stages:
        return None
    return BackboneChoice.choose(backbone, weights=weights, stages=stages)


def _named(hasher: Hasher | str | Path | None, backbone: BackboneChoice) -> str:
    """Name a hasher to be fitted with a backbone; None has the default number of bits.

    Raises:
        HasherError: If the hasher is one that has been fitted.
    """
    if isinstance(hasher, Hasher):
        msg = f"the hasher {hasher.name} has a backbone; leave out backbone, weights and stages."
        raise HasherError(msg)
    return with_backbone(DEFAULT_HASHER if hasher is None else str(hasher), backbone)


def _method_and_bits(archive: Archive) -> str | None:
    """Return such as "general-64" from the name of an archive's hasher; None if it says neither."""
    known = archive.pending_hasher
    if known is None and archive.hasher_file is not None:
        known = archive.hasher().name
    plain = (known or "").partition(AT)[0]
    return plain if Unfitted.find(plain) is not None else None


def check_asked(
    archive: Archive,
    *,
    hasher: Hasher | str | Path | None,
    backbone: BackboneChoice | None,
    keep_vectors: KeepVectors | None,
) -> None:
    """Check that an existing archive is as asked.

    Args:
        archive: The archive.
        hasher: As in `open_or_create`.
        backbone: As in `open_or_create`.
        keep_vectors: As in `open_or_create`.

    Raises:
        HasherError: If the hasher does not take another backbone.
        HasherMismatchError: If the archive was made with another hasher.
        VectorError: If it keeps vectors in another way.
    """
    if keep_vectors not in (None, archive.keep_vectors):
        msg = (
            f'{archive.path} was made with keep_vectors="{archive.keep_vectors}", not '
            f'keep_vectors="{keep_vectors}"; leave that out, or make another archive.'
        )
        raise VectorError(msg)
    if backbone is not None:
        hasher = _named(hasher or _method_and_bits(archive), backbone)
    if hasher is not None and hasher != archive.pending_hasher:
        _check_same_hasher(archive, hasher)


def _check_same_hasher(archive: Archive, hasher: Hasher | str | Path) -> None:
    """Check that an archive was made with a hasher.

    Raises:
        HasherMismatchError: If it was made with another one.
    """
    name = "" if isinstance(hasher, Hasher) else str(hasher)
    asked = hasher if isinstance(hasher, Hasher) else None
    if (unfitted := Unfitted.find(hasher)) is not None:
        name = unfitted.name
        if unfitted.pending == archive.pending_hasher:
            return
        if archive.hasher_file is not None and archive.hasher().name == name:
            return  # it was fitted under that name
    elif not isinstance(hasher, Hasher):
        asked = load_hasher(hasher)
    if asked is None or asked.fingerprint != archive.hasher_fingerprint:
        raise HasherMismatchError(_not_the_same(archive, asked, name))


def _create(
    folder: Path, hasher: Hasher | str | Path | None, *, keep_vectors: KeepVectors
) -> Archive | None:
    """Create an archive; return None if another process creates it at this moment.

    Raises:
        ArchiveExistsError: If the folder holds something else.
    """
    try:
        return when_free(lambda: Archive.create(folder, hasher=hasher, keep_vectors=keep_vectors))
    except ArchiveExistsError:
        if not (folder / MANIFEST).exists():
            raise
        return None


def remove_unused(archive: Archive, *, made: Sequence[Path]) -> None:
    """Remove a newly made archive that stayed empty, so that its hasher does not bind a retry.

    It is kept if anything was added to it, or if another process has it open, which may be about to
    add its first tiles.

    Args:
        archive: The archive; this function closes it.
        made: Folders that did not exist before, innermost first; they are removed if empty.
    """
    archive.close()
    with (
        contextlib.suppress(GeoHashRSError, OSError),
        write_lock(archive.path),
        no_readers(archive.path) as alone,
    ):
        now, mine = read_manifest(archive.path), archive.manifest
        touched = (now.generation, now.commit) != (mine.generation, mine.commit)
        if touched or now.segments or now.scene_logs or not alone:
            return
        (archive.path / MANIFEST).unlink()  # first, so that the lock's next holder finds no archive
        for path in archive.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    with contextlib.suppress(OSError):
        for folder in made:
            folder.rmdir()


def _not_the_same(archive: Archive, asked: Hasher | None, name: str) -> str:
    """Return the message for an archive whose hasher is not the one that was asked for."""
    known = archive.pending_hasher or archive.hasher().name
    mine = _with_fingerprint(known, archive.hasher_fingerprint)
    theirs = _with_fingerprint(asked.name, asked.fingerprint) if asked else name
    if asked and asked.fingerprint in {one.fingerprint for one in archive.manifest.former}:
        return (
            f"{archive.path} was made with the hasher {theirs} before it was refitted to {mine}; "
            "leave out --hasher and --backbone."
        )
    return (
        f"{archive.path} was made with the hasher {mine}, not {theirs}; leave out --hasher "
        "and --backbone, make another archive, or change the hasher of this one with 'geohash-rs "
        "refit'."
    )


def _with_fingerprint(name: str, fingerprint: str | None) -> str:
    """Add the fingerprint's start, which distinguishes versions of a hasher with one name."""
    return f"{name} ({fingerprint[:8]})" if fingerprint else name


def _check_reads_pixels(archive: Archive, hasher: Hasher) -> None:
    """Check that imagery can be added to an archive.

    Raises:
        HasherError: If its hasher takes only vectors that were computed elsewhere.
    """
    if not hasher.reads_pixels:
        msg = (
            f"{archive.path} holds vectors of {hasher.embedding}, and no network makes such "
            "vectors of imagery here; add imagery to another archive."
        )
        raise HasherError(msg)


def _only(tile_size: int | Sequence[int] | None) -> int | None:
    """Return the tile size for a dataset whose tiles its sampler cuts.

    Raises:
        TileSizeError: If there are several.
    """
    if isinstance(tile_size, Sequence) and len(tile_size) == 1:
        return tile_size[0]
    if isinstance(tile_size, Sequence):
        msg = (
            f"tile_size is {tile_size!r}, but the tiles of this dataset are those of its sampler; "
            "pass one size, or the files as Scenes(...)."
        )
        raise TileSizeError(msg)
    return tile_size


def _check_same_bits(asked: int | None, made: int) -> None:
    if asked is not None and asked != made:
        msg = f"num_bits is {asked} but the hasher makes {made} bits; leave out num_bits."
        raise HasherError(msg)
