"""An archive that indexes imagery and answers queries by patch."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import check_num_bits
from geohash_rs.concepts.teaching import Teaching
from geohash_rs.errors import HasherError, HasherMismatchError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.manifest import KeepVectors
from geohash_rs.store.disk.records import SceneRecord

if TYPE_CHECKING:  # what reads and hashes imagery is slow to import, so methods import it
    import geopandas as gpd
    from torch.utils.data import Dataset

    from geohash_rs.embeddings.options import TableOptions, Tables
    from geohash_rs.hashing.embedding import Embedding
    from geohash_rs.hashing.hasher import Hasher
    from geohash_rs.hashing.pixel_embedding import PixelEmbedding
    from geohash_rs.indexing.add import Imagery
    from geohash_rs.indexing.gone import PruneReport
    from geohash_rs.indexing.moved import Problems, RelocateReport
    from geohash_rs.indexing.refit import Announce
    from geohash_rs.indexing.refit_report import RefitReport
    from geohash_rs.indexing.report import AddReport
    from geohash_rs.scenes.dataset import Scenes
    from geohash_rs.scenes.grid import Edges

__all__ = ["Archive"]


class Archive(CodeStore, Teaching):
    """Codes and tiles on disk, with the hasher that makes them.

    >>> archive = Archive.create("archive", hasher="general-64")  # doctest: +SKIP
    >>> archive.add(Scenes("scenes/"), tile_size=64)  # doctest: +SKIP
    >>> archive.query("patch.tif", k=20).to_file("matches.geojson")  # doctest: +SKIP
    """

    _hasher: "Hasher | None" = None

    def _repr_html_(self) -> str:
        from geohash_rs.export.notebook import archive_html

        return archive_html(self)

    @classmethod
    def create(  # type: ignore[override]  # takes hashers where the base takes bytes of them
        cls,
        path: str | Path,
        *,
        hasher: "Hasher | str | Path | None" = None,
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
        from geohash_rs.hashing.fit.asked import (
            DEFAULT_HASHER,
            chosen_backbone,
            name_with_backbone,
        )

        if (choice := chosen_backbone(backbone, weights, stages)) is not None:
            hasher = name_with_backbone(hasher, choice)
        if hasher is None and num_bits is not None:
            bits = check_num_bits(num_bits)
            return super().create(path, num_bits=bits, keep_vectors=keep_vectors)
        chosen = DEFAULT_HASHER if hasher is None else hasher
        from geohash_rs.hashing.fit.by_name import Unfitted
        from geohash_rs.hashing.hasher import Hasher
        from geohash_rs.hashing.shipped import load_hasher

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

    def hasher(self, *, device: str = "cpu") -> "Hasher":
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

    def _stored_hasher(self, file: Path, *, device: str) -> "Hasher":
        """Load the archive's hasher.

        Raises:
            HasherMismatchError: If its file holds another one.
        """
        from geohash_rs.hashing.shipped import load_hasher

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
        dataset: "Scenes | Dataset[Any] | Tables",
        *,
        sampler: Iterable[Any] | None = None,
        tile_size: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        edges: "Edges" = "shift",
        max_nodata: float = 0.5,
        resolution: float | None = None,
        embedding: "PixelEmbedding | str | None" = None,
        batch_size: int | None = None,
        workers: int = 0,
        device: str = "cpu",
        checksum: bool = False,
        strict: bool = False,
        replace: bool = True,
        progress: bool | Literal["always"] = False,
        **table: "Unpack[TableOptions]",
    ) -> "AddReport":
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
            replace: Whether tiles of scenes that the archive has with another tile size or stride
                are replaced; otherwise such scenes are an error. Scenes whose files have changed
                are always replaced.
            progress: Show a progress bar if this is a terminal, or ("always") also to a program
                that reads the error output.
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
            TilesReplacedError: Without ``replace``, if tiles of scenes would be replaced.
        """
        from geohash_rs.embeddings.published import add_published
        from geohash_rs.indexing.imagery import imagery_of_dataset, imagery_of_scenes
        from geohash_rs.indexing.report import check_codes_differ
        from geohash_rs.indexing.settings import IndexSettings
        from geohash_rs.scenes.dataset import Scenes

        settings = IndexSettings(
            batch_size=batch_size,
            workers=workers,
            device=device,
            checksum=checksum,
            strict=strict,
            replace=replace,
            progress=progress,
        )

        def known() -> "Hasher | None":
            return None if self.pending_hasher else self.hasher(device=device)

        first_id = self.manifest.next_id
        published = add_published(
            self,
            dataset,
            table,
            settings,
            known,
            tile_size=tile_size,
            max_nodata=max_nodata,
            imagery={
                "sampler": sampler,
                "stride": stride,
                "resolution": resolution,
                "embedding": embedding,
            },
        )
        if published is not None:
            check_codes_differ(self, published, first_id=first_id)
            return published
        images: Any = dataset

        def imagery(hasher: "Hasher | None") -> "Imagery[Any]":
            if isinstance(images, Scenes) and sampler is None:
                return imagery_of_scenes(
                    self,
                    images,
                    hasher,
                    settings,
                    embedding=embedding,
                    tile_size=tile_size,
                    stride=stride,
                    edges=edges,
                    max_nodata=max_nodata,
                    resolution=resolution,
                )
            return imagery_of_dataset(
                self,
                images,
                hasher,
                settings,
                sampler=sampler,
                embedding=embedding,
                tile_size=tile_size,
                max_nodata=max_nodata,
            )

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
        tiles: "gpd.GeoDataFrame",
        *,
        embedding: "Embedding | None" = None,
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
        from geohash_rs.embeddings.known import records_of, remember
        from geohash_rs.embeddings.vectors import (
            add_vectors,
            check_addable,
            check_embedding,
            fit_on_vectors,
        )
        from geohash_rs.hashing.embedding import Embedding
        from geohash_rs.hashing.feature_arrays import as_features

        given = as_features(vectors)
        found = embedding or Embedding("", given.shape[1])
        if self.pending_hasher:
            self.refresh()
        check_addable(self, given, tiles)
        hasher = fit_on_vectors(self, given, found) if self.pending_hasher else self.hasher()
        check_embedding(hasher, found, what="the vectors", records=records_of(self))
        ids = add_vectors(self, hasher, given, tiles, scenes=scenes, replace_scenes=replace_scenes)
        remember(self, found)
        return ids

    def refit(
        self,
        hasher: "Hasher | str | Path | None" = None,
        *,
        backbone: str | None = None,
        weights: Any = None,  # noqa: ANN401  (TorchGeo's enum is not imported here)
        stages: Sequence[str] = (),
        batch_size: int | None = None,
        workers: int = 0,
        device: str = "cpu",
        progress: bool = False,
        remote_scenes: bool = False,
        announce: "Announce | None" = None,
    ) -> "RefitReport":
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

        An archive that keeps feature vectors needs no pixels: it hashes the vectors, and how pixel
        values are scaled stays. A name, such as "itq-64", is another head on the same features.
        To fit a general hasher it reads a few hundred tiles of each sensor; if no scene of a
        sensor can be read, a warning says so, and the head is fitted to the vectors alone. A
        hasher or a backbone that computes other features is refused.

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
        from geohash_rs.hashing.fit.asked import (
            chosen_backbone,
            method_and_bits,
            name_with_backbone,
        )
        from geohash_rs.hashing.hasher import Hasher
        from geohash_rs.indexing.refit import refit_archive
        from geohash_rs.indexing.settings import IndexSettings

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
            own = method_and_bits(None if known is None else known.name)
            chosen = name_with_backbone(chosen or own, choice)
        return refit_archive(self, known, chosen, settings, announce=announce)

    def relocate(
        self,
        old: str | Path,
        new: str | Path,
        *,
        problems: "Problems" = "refuse",
        dry_run: bool = False,
    ) -> "RelocateReport":
        """Find scenes under another path from now on, since their files were moved.

        Tile ids, codes, labels, dates and footprints stay; all names change in one commit. Files
        are compared with what was recorded when they were indexed: their grid, size and time, and
        their checksum if there is one. Addresses are not asked for.

        >>> archive.relocate("/mnt/disk1/scenes", "/data/scenes")  # doctest: +SKIP

        Args:
            old: Folder, file or start of an address under which scenes were indexed.
            new: Where they are now.
            problems: What to do if a file is missing there or is another one: "refuse" changes
                nothing, "leave" relocates only the other scenes, "relocate" relocates all, so that
                `add` hashes those again that are other files.
            dry_run: Report what would be done, and change nothing.

        Returns:
            What was done.

        Raises:
            ArchiveLockedError: If another process is writing.
            ArchiveReadOnlyError: If the archive was opened for reading.
            QueryError: If `problems` is unknown.
            SceneError: If no scene lies under the old path, a file is missing or another and
                problems are refused, or the archive already has a scene of a new name.
        """
        from geohash_rs.indexing.moved import relocate_scenes

        if not dry_run:
            self._writer()  # refuses an archive that was opened for reading
        self.refresh()
        return relocate_scenes(self, str(old), str(new), problems=problems, dry_run=dry_run)

    def prune(self, *, gone: Sequence[str | Path] = (), dry_run: bool = False) -> "PruneReport":
        """Remove the tiles of scenes whose files no longer exist.

        If every scene of a folder is missing, its disk may merely not be there, so these scenes
        stay until the folder is named. So do scenes that were renamed or moved to a folder below
        theirs; `add` gives them their new path, and those moved elsewhere if it is called first.
        Scenes that are not on this machine are not looked for.

        >>> archive.prune(dry_run=True).gone  # doctest: +SKIP

        Args:
            gone: Folders of which you know that all scenes in them, at any depth, were deleted.
            dry_run: Report what would be removed, and change nothing.

        Returns:
            What was removed, and what was not.

        Raises:
            ArchiveLockedError: If another process is writing.
            ArchiveReadOnlyError: If the archive was opened for reading.
            QueryError: If `gone` is a single path.
        """
        from geohash_rs.indexing.gone import find_gone, prune_scenes

        if not dry_run:
            self._writer()  # refuses an archive that was opened for reading
        self.refresh()
        report = find_gone(self, folders=gone)
        if not dry_run:
            prune_scenes(self, report)
        return report

    def _checked(self, imagery: "Imagery[Any]", hasher: "Hasher | None") -> "AddReport":
        """Add imagery, and warn if most of its tiles share one code."""
        from geohash_rs.indexing.add import add_imagery
        from geohash_rs.indexing.report import check_codes_differ, check_fit

        first_id = self.manifest.next_id
        report = add_imagery(self, imagery, hasher)
        check_codes_differ(self, report, first_id=first_id)
        if report.num_tiles:
            report.unfit += check_fit(self, first_id=first_id)
        return report


def _check_reads_pixels(archive: Archive, hasher: "Hasher") -> None:
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


def _check_same_bits(asked: int | None, made: int) -> None:
    if asked is not None and asked != made:
        msg = f"num_bits is {asked} but the hasher makes {made} bits; leave out num_bits."
        raise HasherError(msg)
