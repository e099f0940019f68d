"""Ask an opened archive: search by code, rows and codes by tile id."""

from collections.abc import Collection, Iterator, Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.codes import check_codes
from geohash_rs.errors import QueryError
from geohash_rs.store.opened import OpenedArchive
from geohash_rs.store.search.filters import RegionLike, TimeLike
from geohash_rs.store.search.nearest import SearchResult, check_limits, search_segments
from geohash_rs.store.search.selection import overlapping_rows
from geohash_rs.store.search.where import Where
from geohash_rs.store.segment.boxes import boxes_in_view
from geohash_rs.store.segment.layout import BLOCK
from geohash_rs.store.segment.tiles import empty_tiles, tiles_to_frame

__all__ = ["Codes", "Ids", "ReadableArchive"]

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64] | Sequence[int]


class ReadableArchive(OpenedArchive):
    """An opened archive that can be asked; searching from several threads is safe."""

    def search(
        self,
        codes: Codes,
        *,
        k: int | None = 20,
        max_distance: int | None = None,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        within: bool = False,
        exclude_region: RegionLike | None = None,
        exclude_ids: Ids | None = None,
        num_threads: int | None = None,
    ) -> SearchResult:
        """Find the tiles whose codes differ least from the query codes; exact, with every filter.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            k: Matches for each query; fewer come back only if fewer exist. None for all within
                `max_distance`.
            max_distance: The largest Hamming distance that counts, inclusive.
            region: Only tiles whose footprint meets this shapely geometry in longitude and
                latitude, or box (minlon, minlat, maxlon, maxlat); minlon > maxlon crosses the
                antimeridian.
            time: Only tiles taken within (start, end), both included; None leaves an end open.
                Tiles without a time do not count.
            scenes: Only tiles of these scenes.
            labels: Only tiles with these labels.
            within: Whether footprints must lie inside of the region rather than meet it.
            exclude_region: No tiles that share ground with this region; to touch is allowed.
            exclude_ids: No tiles with these ids.
            num_threads: Threads; None for one for each processor where it pays.

        Returns:
            Ids and distances, nearest first, ties by lowest tile id; -1 past a query's last match.
            As many columns as the query with the most matches has.

        Raises:
            CodeLengthError: If the codes have another number of bits than the archive.
            QueryError: If k, `max_distance` or `num_threads` has no meaning, or scenes or
                labels are one text.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be read or is turned round.
            ArchiveCorruptError: If a file is missing or cut short.
        """
        check_limits(k, max_distance)
        if num_threads is not None and num_threads < 1:
            msg = f"num_threads is {num_threads}, but it must be at least 1; None chooses."
            raise QueryError(msg)
        queries = self._check_codes(codes, what="query codes")
        snapshot = self._snapshot
        where = Where.parse(
            region=region,
            within=within,
            time=time,
            scenes=scenes,
            labels=labels,
            exclude_region=exclude_region,
            exclude_ids=exclude_ids,
        )
        dropped: dict[str, npt.NDArray[np.int64]] = {}
        if where.exclude_region is not None:
            dropped = overlapping_rows(snapshot.segments, where.exclude_region)
        if where.exclude_ids is not None:
            for segment, _, rows in snapshot.locate(where.exclude_ids, missing_ok=True):
                old = dropped.get(segment.entry.name, np.empty(0, np.int64))
                dropped[segment.entry.name] = np.concatenate([old, rows])
        return search_segments(
            snapshot.segments,
            queries,
            k=k,
            max_distance=max_distance,
            where=where,
            dropped=dropped,
            num_threads=num_threads,
        )

    def tiles(self, ids: Ids) -> gpd.GeoDataFrame:
        """Give tiles as rows; only the parts of the tables that hold them are read.

        Args:
            ids: Tile ids, shape (n,).

        Returns:
            n rows in the order of the ids: tile_id, scene, col, row, width, height, datetime,
            [datetime_end], [label], geometry, in EPSG:4326.

        Raises:
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
        """
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        tables, places = [], []
        for segment, where, rows in self._snapshot.locate(wanted):
            tables.append(segment.tile_rows(rows))
            places.append(where)
        if not tables:
            return empty_tiles()
        table = pa.concat_tables(tables, promote_options="default")
        return tiles_to_frame(table.take(pa.array(np.argsort(np.concatenate(places)))))

    def boxes(
        self, view: Sequence[float] = (-180.0, -90.0, 180.0, 90.0)
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Give ids and boxes of the tiles in a view, a segment at a time, to draw many of them.

        No footprint is read: boxes come from the mapped index and are larger than the footprints
        by up to 1/65535 of the extent of their block of rows. Tiles without a place have none.

        Args:
            view: (minlon, minlat, maxlon, maxlat) in degrees, minlon <= maxlon; both may lie
                beyond 180, as on a map that was turned round the globe.

        Yields:
            Tile ids, int64, shape (m,), and (xmin, ymin, xmax, ymax) in degrees, float64, shape
            (m, 4), xmax above 180 where a tile crosses the antimeridian.

        Raises:
            ArchiveCorruptError: If a file is missing or cut short.
        """
        snapshot = self._snapshot  # kept, so that its files are
        for segment in snapshot.segments:
            rows, boxes = boxes_in_view(segment, view)
            yield segment.ids_of(rows), boxes

    def codes(self, ids: Ids) -> Codes:
        """Give the codes of tiles.

        Args:
            ids: Tile ids, shape (n,).

        Returns:
            Packed codes, uint8, shape (n, bits / 8).

        Raises:
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
        """
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        codes = np.empty((len(wanted), (self.num_bits or 0) // 8), np.uint8)
        for segment, where, rows in self._snapshot.locate(wanted):
            codes[where] = segment.codes[rows]
        return codes

    def iter_tiles(self, *, batch_size: int = 65_536) -> Iterator[gpd.GeoDataFrame]:
        """Give every tile, a batch at a time, so that memory stays bounded.

        Args:
            batch_size: Rows read at a time, at least; removed ones are left out of the batch.

        Yields:
            Tiles with the columns of `tiles`.

        Raises:
            ArchiveCorruptError: If a file is damaged.
        """
        step = max(1, batch_size // BLOCK)
        snapshot = self._snapshot  # kept, so that its files are
        for segment in snapshot.segments:
            removed = segment.removed_rows()
            for block in range(0, segment.num_blocks, step):
                last = min(block + step, segment.num_blocks)
                live = ~removed[block * BLOCK : last * BLOCK]
                if live.any():
                    yield tiles_to_frame(segment.read_blocks(block, last).filter(pa.array(live)))

    def _check_codes(self, codes: Codes, *, what: str = "codes") -> Codes:
        if self.num_bits is None:
            msg = (
                f"{self.path} has no hasher yet ({self.pending_hasher} is to be fitted when scenes "
                "are added), so it takes no codes; call set_hasher first."
            )
            raise QueryError(msg)
        return check_codes(codes, num_bits=self.num_bits, what=what)
