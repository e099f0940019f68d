"""Search any archive that has a hasher by imagery: with a patch, a place or a tile."""

import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from geohash_rs.errors import GeoHashRSWarning, QueryError
from geohash_rs.retrieval.matches import Matches
from geohash_rs.retrieval.precision import (
    add_precision,
    check_one_example,
    fitting,
    nearest_allowed,
)
from geohash_rs.retrieval.query import (
    Query,
    check_hasher,
    join_queries,
    query_of_point,
    query_of_tile,
    query_of_vectors,
)
from geohash_rs.retrieval.search import Ranking, retrieve
from geohash_rs.retrieval.unmet import explain_unmet
from geohash_rs.scenes.values import check_value_range
from geohash_rs.store.search.filters import RegionLike, SizeLike, TimeLike
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.searchable import Searchable, where_in

if TYPE_CHECKING:
    import geopandas as gpd

    from geohash_rs.hashing.extractor import Extractor
    from geohash_rs.hashing.hasher import Hasher
    from geohash_rs.retrieval.many import ManyLike
    from geohash_rs.retrieval.vectors import VectorLike
    from geohash_rs.trust.calibration import Calibration

__all__ = ["ImageQueries"]


class ImageQueries(Searchable, Protocol):
    """Queries by imagery for a searchable archive with a hasher; inherit it after the archive.

    Attributes:
        calibration: How often matches are right, by distance; None until `calibrate` has found out
            or a loaded one is assigned. The archive itself does not keep it.
    """

    calibration: "Calibration | None" = None

    def hasher(self, *, device: str = "cpu") -> "Hasher":
        """Return the hasher that makes the codes."""

    def query(
        self,
        patch: str | Path | Sequence[str | Path] | None = None,
        *,
        k: int | None = 20,
        point: Sequence[float] | None = None,
        tile: int | Sequence[int] | None = None,
        vector: "VectorLike | None" = None,
        negatives: Sequence[int | str | Path] | None = None,
        window: Sequence[int] | None = None,
        bands: Sequence[int | str] | None = None,
        value_range: tuple[float, float] | None = None,
        max_distance: int | None = None,
        precision: float | None = None,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        within: bool = False,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        tile_size: SizeLike | None = None,
        exclude_overlap: bool = False,
        ranking: Ranking = "hamming",
        distinct: bool = False,
        crs: object = None,
        extractor: "Extractor | None" = None,
        device: str = "cpu",
    ) -> Matches:
        """Find the tiles that look like GeoTIFF patches, like a place, or like other tiles.

        Patches, tiles, vectors and a point can be combined: all are examples of what to find, and
        each tile is compared with the nearest example. ``negatives`` are examples of what not to
        find. With them, the tiles nearest to the other examples are ordered by
        `geohash_rs.retrieval.ranking.feedback_scores`, which become the column similarity.

        Args:
            patch: Path or URI of a georeferenced raster, or several. CRS, resolution and size may
                differ from the archive's scenes: each tile of the patch is resampled to the
                hasher's grid. If the archive has several tile sizes, the patch is cut into tiles
                of the size nearest to its shorter side, among those of ``tile_size`` if given.
            k: Number of matches; None returns all within ``max_distance`` or ``precision``.
            point: Longitude and latitude of the archive's tile to search with: of the tiles there
                that pass ``time``, ``scenes``, ``labels`` and ``tile_size``, the smallest, then the
                latest, then the one with the nearest centre.
            tile: Id of the archive's tile to search with, or several.
            vector: Feature vector to search with, float, shape (length,), or several, shape (n,
                length); or the path of a ``.npy`` file of them; or a row of a Parquet file, such as
                "clay.parquet:17". They must come from the network or
                the embedding that the archive's features come from.
            negatives: Ids of tiles and paths of patches to avoid. These tiles are left out of the
                matches.
            window: Column, row, width and height of the part of a single patch to use, px.
            bands: One-based indexes or names of the patch's bands. None chooses the bands that show
                the same as those of the archive's scenes, otherwise those in the same order.
            value_range: The patches' values, with scale and offset applied, that correspond to the
                lowest and highest that the hasher was made for. None compares their own values
                with these; a patch of another kind is stretched by its own range, with a warning.
            max_distance: Largest Hamming distance, bits, inclusive.
            precision: Only tiles within the distance up to which this share of tiles, above 0 and
                below 1, can be promised to be right, as `calibrate` explains. It needs a
                calibration and one example of one tile. The promise is about all of them, which
                k=None returns: the nearest k, those within a smaller max_distance and distinct ones
                are a part, of which nothing is promised. Limits by region, time and scene are
                allowed if the places are like those labelled; by labels or tile_size, they are not.
            region: Only tiles that intersect this: a shapely geometry in lon/lat, or (minlon,
                minlat, maxlon, maxlat); minlon > maxlon crosses the dateline.
            time: Only tiles from this range, (first, last), inclusive; None leaves an end open.
            within: Only tiles that lie entirely in the region.
            scenes: Only tiles of these scenes.
            labels: Only tiles with these labels.
            tile_size: Only tiles of this size or these sizes, px; None finds tiles of all sizes.
            exclude_overlap: Leave out tiles that overlap an example.
            ranking: "hamming" orders by distance. "asymmetric" reorders the tiles nearest to a
                patch, and computes similarity, with more weight on the bits that the hasher is
                sure of. "vectors" reorders the 1,000 tiles nearest by code, or ten for each match
                if that is more, by the cosine of the feature vectors that the archive keeps, which
                becomes the column similarity.
            distinct: Leave out tiles that overlap a better match.
            crs: CRS of the result; None means EPSG:4326.
            extractor: The network that made the vectors of an archive of embeddings; patches can be
                searched with only if it is given.
            device: Device that runs the network.

        Returns:
            Matches, nearest first, ties by lowest tile id; with another ranking, by descending
            similarity, ties by distance, then tile id. With a calibration, the column precision
            is the highest one promised for a set of nearest tiles that holds this one; NaN if none
            is, if there are several examples, or with labels or tile_size.

        Raises:
            CalibrationError: If a precision is asked for without a calibration, is out of range, or
                cannot be promised with the labels there are.
            QueryError: If there is nothing to search for, an example is both positive and negative,
                or window, k, max_distance, tile_size, ranking or crs is not valid.
            PatchError: If the patch cannot be read.
            SceneError: If the patch cannot be placed.
            BandMismatchError: If its bands do not fit the hasher.
            HasherMismatchError: If the archive is refitted at this moment; repeat the call. Or if
                the file of a vector names a model that is not the archive's, or the calibration is
                of another hasher.
            ValueMismatchError: If the range of values is empty.
            RegionError: If the region is empty, invalid or out of range.
            TimeRangeError: If the time range cannot be read or ends before it starts.
            TileNotFoundError: If there is no such tile.
            VectorError: If a vector has another length, or is zero, NaN or infinite; or the archive
                keeps no vectors to order by.
        """
        if precision is not None:
            max_distance = nearest_allowed(
                self.calibration,
                precision,
                max_distance=max_distance,
                in_order=ranking == "hamming" and not _several(negatives),
                place=self.path,
                other_kinds=labels is not None or tile_size is not None,
            )
        limits = Limits(k=k, max_distance=max_distance)
        where = where_in(
            self,
            region=region,
            within=within,
            time=time,
            scenes=scenes,
            labels=labels,
            tile_size=tile_size,
        )
        settings: dict[str, Any] = {
            "bands": bands,
            "value_range": check_value_range(value_range),
            "stretch": True,
            "device": device,
            "tile_sizes": where.tile_sizes,
            "extractor": extractor,
        }
        ordered: dict[str, Any] = {"with_vectors": ranking == "vectors"}
        # hash before entering the state, in which other threads may have to wait
        right = [
            _query_of_patch(self, path, window=window, **settings, **ordered)
            for path in _patches(patch, window)
        ]
        if vector is not None:
            right.append(_query_of_vector(self, vector, device=device))
        wrong = [
            _query_of_patch(self, item, **settings) if _is_path(item) else item
            for item in _several(negatives)
        ]
        with self.one_state() as archive:
            check_hasher(archive, [*right, *(item for item in wrong if isinstance(item, Query))])
            right += [query_of_tile(archive, tile_id, **ordered) for tile_id in _several(tile)]
            if point is not None:
                right.append(query_of_point(archive, point, where=where, **ordered))
            wrong = [i if isinstance(i, Query) else query_of_tile(archive, i) for i in wrong]
            query = join_queries(right, wrong)
            if precision is not None:
                check_one_example(query)
            calibration = fitting(self.calibration, archive, needed=precision is not None)
            matches = retrieve(
                archive,
                query,
                limits=limits,
                where=where,
                exclude_overlap=exclude_overlap,
                ranking=ranking,
                distinct=distinct,
                crs=crs,
            )
            unmet = explain_unmet(archive, where, scenes=matches["scene"], found=len(matches))
            if unmet:
                warnings.warn(unmet, GeoHashRSWarning, stacklevel=2)
            add_precision(
                matches, calibration, query, where, asked=precision, max_distance=max_distance
            )
            return matches

    def query_each(
        self,
        queries: "ManyLike",
        *,
        layer: str | None = None,
        id_column: str | None = None,
        union: bool = False,
        k: int | None = 20,
        bands: Sequence[int | str] | None = None,
        value_range: tuple[float, float] | None = None,
        max_distance: int | None = None,
        precision: float | None = None,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        within: bool = False,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        tile_size: SizeLike | None = None,
        exclude_overlap: bool = False,
        ranking: Ranking = "hamming",
        distinct: bool = False,
        crs: object = None,
        extractor: "Extractor | None" = None,
        device: str = "cpu",
    ) -> Matches:
        """Answer many queries: each point or polygon of a layer, or each patch of a folder.

        A point stands for the tile that `query` takes there. A polygon stands for the tiles that
        are seen in it: those whose centre lies in it and for which a point at their centre stands;
        or, if there is none, the tile at a point in the part that tiles cover. They are all
        examples of its query.

        A row or patch that cannot be used is left out; a warning counts those, and gives the first
        reasons. So is a row without a tile that passes ``time``, ``scenes``, ``labels`` and
        ``tile_size``.

        Args:
            queries: A vector file in any CRS, a table of geometries, a folder of GeoTIFFs, or the
                paths of several.
            layer: Layer of a file that has several.
            id_column: Column with the ids of the rows; None numbers them from 1. Patches have the
                names of their files.
            union: Whether all are examples of one query, with one ranking.
            k: Matches of each query, as in `query`.
            bands: As in `query`, for all patches.
            value_range: As in `query`, for all patches.
            max_distance: As in `query`.
            precision: As in `query`; queries of several tiles are left out.
            region: As in `query`; it says where matches may lie, not the tiles searched with.
            time: As in `query`.
            within: As in `query`.
            scenes: As in `query`.
            labels: As in `query`.
            tile_size: As in `query`.
            exclude_overlap: As in `query`, for each query its own tiles.
            ranking: As in `query`.
            distinct: Leave out tiles that overlap a better match of the same query.
            crs: As in `query`.
            extractor: As in `query`.
            device: As in `query`.

        Returns:
            The matches of `query` for each row, one query after another in the order of the layer,
            with the row's id in the first column, ``query``; ranks start at 1 for each. With
            ``union``, the id is that of the nearest example, of several the first.

        Raises:
            QueryError: As `query`; or if the id column does not exist or holds an id twice, or
                there are more than five million matches.
            RegionError: If the layer cannot be read, or as `query`.
            UnansweredError: If there is no row or patch, or none that can be used.
            GeoHashRSError: As `query` raises for the other arguments.
        """
        from geohash_rs.retrieval.many import read_many  # noqa: PLC0415 - with all that follows
        from geohash_rs.retrieval.many_answers import answer_many  # noqa: PLC0415 - as above

        many = read_many(queries, layer=layer, id_column=id_column)
        if precision is not None:
            max_distance = nearest_allowed(
                self.calibration,
                precision,
                max_distance=max_distance,
                in_order=ranking == "hamming",
                place=self.path,
                other_kinds=labels is not None or tile_size is not None,
            )
        where = where_in(
            self,
            region=region,
            within=within,
            time=time,
            scenes=scenes,
            labels=labels,
            tile_size=tile_size,
        )
        matches = answer_many(
            self,
            many,
            union=union,
            calibration=self.calibration,
            precision=precision,
            reading={
                "bands": bands,
                "value_range": check_value_range(value_range),
                "stretch": True,
                "device": device,
                "tile_sizes": where.tile_sizes,
                "extractor": extractor,
            },
            options={
                "limits": Limits(k=k, max_distance=max_distance),
                "where": where,
                "exclude_overlap": exclude_overlap,
                "ranking": ranking,
                "distinct": distinct,
                "crs": crs,
            },
        )
        matches.archive_folder = self.path if isinstance(self.path, Path) else None
        return matches

    def calibrate(
        self,
        labels: "gpd.GeoDataFrame | str | Path",
        *,
        column: str,
        layer: str | None = None,
        min_share: float = 0.5,
        block_km: float | None = None,
        delta: float = 0.1,
    ) -> "Calibration":
        """Find out with labels how often the matches of a query are right, by distance.

        Each labelled tile is a query for the labelled tiles of other blocks of ground, and a tile
        is right if it has the query's class. Afterwards `query` takes ``precision`` and returns the
        column precision. What is promised holds for places like those that were labelled, in the
        same mixture, pooled over all queries, and fails in at most a share ``delta`` of
        calibrations. The archive is not changed; `Calibration.save` keeps the result.

        Args:
            labels: Polygons or points with classes, a file or a table. Ground without a label does
                not count, so label places as they come, not only those that are sought.
            column: Column with the class.
            layer: Layer of a file that has several.
            min_share: Smallest share of a tile that a class must cover.
            block_km: Side of a block of ground, km, whose tiles count as one place; None uses ten
                times the side of a tile, but at least 1 km.
            delta: Failure rate, from 0.001 to below 0.5.

        Returns:
            The calibration, which `calibration` then refers to.

        Raises:
            LabelError: If the labels cannot be read, cover no tile, or contradict each other.
            CalibrationError: If there is one class only, or too few blocks.
            QueryError: If the archive is empty.
        """
        from geohash_rs.trust.calibration import calibrate_queries

        with self.one_state() as archive:
            self.calibration = calibrate_queries(
                archive,
                labels,
                column=column,
                layer=layer,
                min_share=min_share,
                block_km=block_km,
                delta=delta,
            )
        return self.calibration


def _query_of_patch(archive: ImageQueries, path: str | Path, **options: Any) -> Query:  # noqa: ANN401 - passed on
    """Hash a patch; only then are the network and what reads rasters imported."""
    from geohash_rs.retrieval.patch_query import hash_patch  # noqa: PLC0415 - slow to import

    return hash_patch(archive, path, **options)


def _query_of_vector(archive: ImageQueries, vector: "VectorLike", *, device: str) -> Query:
    """Hash feature vectors, and check whose they are if their file says so."""
    from geohash_rs.embeddings.known import known_embedding  # noqa: PLC0415 - slow to import
    from geohash_rs.retrieval.vectors import read_vectors  # noqa: PLC0415 - as above

    found, source, embedding = read_vectors(vector)
    hasher = archive.hasher(device=device)
    if embedding is not None and hasher.embedding is not None:
        known = known_embedding(hasher.embedding, archive.scenes())
        known.check_fits(embedding, what=f"the vectors of {source.rpartition(':')[0]}")
    return query_of_vectors(hasher, found, source=source)


def _patches(given: Any, window: Sequence[int] | None) -> list[Any]:  # noqa: ANN401 - as below
    """List the patches.

    Raises:
        QueryError: If there is a window, but not exactly one patch.
    """
    patches = _several(given)
    if window is not None and len(patches) != 1:
        msg = f"a window needs one patch, but there are {len(patches)}; pass one, or no window."
        raise QueryError(msg)
    return patches


def _several(given: Any) -> list[Any]:  # noqa: ANN401 - one thing, several or None
    if given is None:
        return []
    return [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)


def _is_path(given: object) -> bool:
    return isinstance(given, str | Path)
