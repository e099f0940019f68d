"""Read STAC files patiently, and walk through catalogues of which a part cannot be read."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pystac
from pystac.stac_io import DefaultStacIO
from pystac.utils import make_absolute_href

from geohash_rs.errors import one_line
from geohash_rs.scenes.remote import ask

__all__ = ["STAC_ERRORS", "PatientStacIO", "walk_items"]

STAC_ERRORS = (OSError, ValueError, KeyError, TypeError, pystac.STACError, pystac.STACTypeError)


class PatientStacIO(DefaultStacIO):
    """Reads from the web with a time limit, and again after a failure; pystac's waits for ever."""

    def read_text_from_href(self, href: str) -> str:
        """Read a text file.

        Args:
            href: Path or URL.

        Returns:
            Its content.

        Raises:
            OSError: If it cannot be read; one on the web, not at three attempts.
        """
        if href.startswith(("http://", "https://")):
            return ask("GET", href).content.decode("utf-8")
        text: str = super().read_text_from_href(href)
        return text


def walk_items(source: object, *, broken: list[tuple[str, str]]) -> Iterator[pystac.Item]:
    """Walk through all items of a source.

    Args:
        source: Path or URL of an item collection, item or catalogue, read by what
            `pystac.StacIO.set_default` was given, if anything; or a pystac object of these kinds,
            which reads as it was set up to; or several of all these.
        broken: Gets the path or URL, and the reason, of each item or catalogue within a catalogue
            that cannot be read.

    Yields:
        The items.

    Raises:
        OSError: If a source cannot be read.
        ValueError: If it is no STAC, as the next two and pystac's own errors.
        KeyError: Likewise.
        TypeError: Likewise.
    """
    io: pystac.StacIO | None = None
    if isinstance(source, str | Path):
        io = pystac.StacIO.default()
        if type(io) is DefaultStacIO:  # nobody has set another, for signed URLs or a proxy, say
            io = PatientStacIO()
        source = _read(io, make_absolute_href(str(source)))
    if isinstance(source, pystac.Item):
        yield source
    elif isinstance(source, pystac.Catalog):
        yield from _walk(source, io, broken)
    elif isinstance(source, Iterable):
        for part in source:
            yield from walk_items(part, broken=broken)
    else:
        msg = f"{type(source).__name__} is no item, item collection or catalogue"
        raise TypeError(msg)


def _read(io: pystac.StacIO, href: str) -> pystac.STACObject | pystac.ItemCollection:
    data: Any = io.read_json(href)
    if not isinstance(data, dict):
        msg = f"a {type(data).__name__} is no STAC object"
        raise TypeError(msg)
    if data.get("type") == "FeatureCollection":
        return pystac.ItemCollection.from_dict(data)
    return io.stac_object_from_dict(data, href=href, preserve_dict=False)


def _walk(
    catalogue: pystac.Catalog, io: pystac.StacIO | None, broken: list[tuple[str, str]]
) -> Iterator[pystac.Item]:
    links = [*catalogue.get_links("item"), *catalogue.get_links("child")]
    for link in links:
        try:
            target = _follow(link, io, catalogue)
        except STAC_ERRORS as error:
            href = str(link.get_absolute_href() or link.href)
            broken.append((href, f"{href} cannot be read: {one_line(error.__cause__ or error)}"))
            continue
        if isinstance(target, pystac.Item):
            yield target
        elif isinstance(target, pystac.Catalog):
            yield from _walk(target, io, broken)


def _follow(link: pystac.Link, io: pystac.StacIO | None, catalogue: pystac.Catalog) -> object:
    if io is None or link.is_resolved():
        return link.resolve_stac_object(root=catalogue.get_root()).target
    return _read(io, str(link.get_absolute_href()))
