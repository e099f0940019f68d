"""Teach an archive what is meant, by marks."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Unpack

from geohash_rs.retrieval.image_queries import ImageQueries
from geohash_rs.store.search.where import WhereOptions
from geohash_rs.store.searchable import where_in

if TYPE_CHECKING:  # of no use to a query by example, so methods import it
    from geohash_rs.concepts.concept import Concept
    from geohash_rs.concepts.marking import Shown

__all__ = ["Teaching"]


class Teaching(ImageQueries, Protocol):
    """Concepts for a searchable archive; inherit it after the archive."""

    def learn(
        self,
        *,
        right: "Shown",
        wrong: "Shown" = None,
        name: str = "concept",
        layer: str | None = None,
        device: str = "cpu",
        **where: Unpack[WhereOptions],
    ) -> "Concept":
        """Learn what is meant from marks.

        >>> concept = archive.learn(right=["pits.gpkg", 12], wrong=[(8.25, 47.5)])  # doctest: +SKIP
        >>> concept.map(min_score=0.8).to_file("pits.gpkg")  # doctest: +SKIP

        Args:
            right: What is wanted: ids of tiles, paths of patches, (longitude, latitude), shapely
                geometries in longitude and latitude, tables of geometries, or paths of vector
                layers; one or several, mixed. A point marks the tile whose centre is nearest. A
                polygon marks all tiles of which it covers half, or, if there is none, the tile
                around its middle.
            wrong: What is not wanted, in the same forms.
            name: What the concept is called, at most 100 characters.
            layer: Layer of vector files that have several.
            device: Device that hashes patches.
            **where: Limits on the tiles that polygons mark, as in `query`, such as a time.

        Returns:
            The concept.

        Raises:
            ConceptError: If nothing is right, a tile is both right and wrong, something marks no
                tile, or the name is not valid.
            GeoHashRSError: As `query` raises for patches, points and tiles.
        """
        from geohash_rs.concepts.concept import Concept
        from geohash_rs.concepts.concept_file import check_name
        from geohash_rs.concepts.marking import new_marks

        called = check_name(name)
        marks, hasher = new_marks(
            self,
            right=right,
            wrong=wrong,
            layer=layer,
            where=where_in(self, **where),
            device=device,
        )
        return Concept.of_marks(self, marks, name=called, hasher=hasher)

    def concept(self, path: str | Path) -> "Concept":
        """Read a concept that was saved, perhaps one of another archive with the same hasher.

        Args:
            path: The file.

        Returns:
            The concept for this archive.

        Raises:
            ConceptError: If the file is not a concept, or is damaged.
            HasherMismatchError: If another hasher made this archive's codes.
        """
        from geohash_rs.concepts.concept import Concept

        return Concept.open(path, self)
