"""Read STAC files with retries, and walk through catalogues even if parts cannot be read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pystac
from pystac.stac_io import DefaultStacIO
from pystac.utils import make_absolute_href

from geohash_rs.errors import one_line
from geohash_rs.scenes.remote import MOST_ANSWER, ask

__all__ = ["STAC_ERRORS", "Broken", "PatientStacIO", "walk_items"]

STAC_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,  # a list or null in place of an object
    RecursionError,
    pystac.STACError,
    pystac.STACTypeError,
)
MAX_DEPTH = 64  # catalogues within catalogues
MOST_PARTS = 1_000_000  # objects and lists in a file; an item has about 100
MAX_BARREN = 1000  # consecutive catalogues without an item

Broken = list[tuple[str, str]]


class PatientStacIO(DefaultStacIO):
    """Read from the web with a time limit and retries; pystac's own reader waits for ever."""

    def read_text_from_href(self, href: str) -> str:
        """Read a text file.

        Args:
            href: Path or URL.

        Returns:
            Its content, without a byte order mark.

        Raises:
            OSError: If it cannot be read, on the web after three attempts.
            ValueError: If it is not a file, or would fill the memory.
        """
        if href.startswith(("http://", "https://")):
            text = ask("GET", href).content.decode("utf-8-sig")
        else:
            path = Path(href.removeprefix("file://"))
            if path.exists() and not path.is_file():  # reading a pipe may never end
                msg = f"{href} is a pipe, a device or a folder, not a file"
                raise ValueError(msg)
            if path.is_file() and path.stat().st_size > MOST_ANSWER:
                msg = f"{href} has more than {MOST_ANSWER:,} bytes; split it"
                raise ValueError(msg)
            text = super().read_text_from_href(href).removeprefix("\ufeff")
        if text.count("{") + text.count("[") > MOST_PARTS:
            msg = f"{href} holds more than {MOST_PARTS:,} objects and lists; split it"
            raise ValueError(msg)
        return text


def walk_items(source: object, *, broken: Broken) -> Iterator[pystac.Item]:
    """Walk through all items of a source.

    Args:
        source: Path or URL of an item collection, item or catalogue, read by the default set with
            `pystac.StacIO.set_default`, if any; or a pystac object of these kinds, which keeps its
            own reader; or several of these.
        broken: Collects path or URL and reason of each item or catalogue in the source that cannot
            be read.

    Yields:
        The items.

    Raises:
        OSError: If a source cannot be read.
        ValueError: If it is not STAC. The next two and pystac's own errors mean the same.
        LookupError: Likewise.
        TypeError: Likewise.
    """
    io: pystac.StacIO | None = None
    href = ""
    if isinstance(source, str | Path):
        io = pystac.StacIO.default()
        if type(io) is DefaultStacIO:  # no other default, such as for signed URLs
            io = PatientStacIO()
        href = make_absolute_href(str(source))
        source = _read(io, href)
    if isinstance(source, pystac.Item):
        yield source
    elif isinstance(source, pystac.Catalog):
        yield from _Walk(io=io, broken=broken).items(source, href)
    elif isinstance(source, dict):
        yield from _features(source, href, broken)
    elif isinstance(source, Iterable):
        for part in source:
            try:
                yield from walk_items(part, broken=broken)
            except STAC_ERRORS as error:
                broken.append((str(part), f"{part} cannot be read: {one_line(error)}"))
    else:
        msg = f"{type(source).__name__} is not an item, item collection or catalogue"
        raise TypeError(msg)


def _read(io: pystac.StacIO, href: str) -> pystac.STACObject | dict[str, Any]:
    """Read an item or catalogue, or the JSON of an item collection.

    Raises:
        TypeError: If it is none of these.
    """
    data: Any = io.read_json(href)
    if not isinstance(data, dict):
        msg = f"a {type(data).__name__} is not a STAC object"
        raise TypeError(msg)
    if data.get("type") == "FeatureCollection":
        return data
    return io.stac_object_from_dict(data, href=href, preserve_dict=False)


def _features(data: dict[str, Any], href: str, broken: Broken) -> Iterator[pystac.Item]:
    """Read the items of a collection one by one, so that a bad one does not stop the others."""
    for number, feature in enumerate(data.get("features") or []):
        name = feature.get("id", number) if isinstance(feature, dict) else number
        try:
            item = pystac.Item.from_dict(feature)
        except STAC_ERRORS as error:
            reason = f"item {name} is not a valid STAC item ({one_line(error)}); correct it."
            broken.append((f"{href}#{name}", reason))
        else:
            yield item
    links = data.get("links") or []
    if any(isinstance(link, dict) and link.get("rel") == "next" for link in links):
        reason = f"{href} is only one page of the items (it links to a 'next' one); save all pages"
        broken.append((href, reason))


@dataclass(kw_only=True)
class _Walk:
    """A walk through a catalogue that ends even if links form a circle or never end."""

    io: pystac.StacIO | None
    broken: Broken
    _known: set[object] = field(default_factory=set)
    _barren: int = 0

    def items(
        self, catalogue: pystac.Catalog, href: str, above: tuple[object, ...] = ()
    ) -> Iterator[pystac.Item]:
        """Walk through a catalogue and all catalogues in it."""
        place = href or catalogue.get_self_href() or id(catalogue)
        above = (*above, place)
        self._known.add(place)
        self._barren += 1
        for link in [*catalogue.get_links("item"), *catalogue.get_links("child")]:
            where = link.get_absolute_href() or (id(link.target) if link.is_resolved() else None)
            name = str(link.get_absolute_href() or link.href)
            if where in above:
                self.broken.append((name, f"{name} links back to a catalogue that contains it"))
                continue
            if where in self._known or self._is_endless(name, len(above)):
                continue
            self._known.add(where)
            try:
                target = self._follow(link, catalogue)
            except STAC_ERRORS as error:
                reason = f"{name} cannot be read: {one_line(error.__cause__ or error)}"
                self.broken.append((name, reason))
                continue
            if isinstance(target, pystac.Catalog):
                yield from self.items(target, name, above)
                continue
            found = _features(target, name, self.broken) if isinstance(target, dict) else [target]
            for item in found:
                self._barren = 0
                yield item

    def _is_endless(self, name: str, depth: int) -> bool:
        """Return whether the walk should stop here; the first time, note why."""
        if depth > MAX_DEPTH:
            reason = f"{name} is nested in more than {MAX_DEPTH} catalogues; start there to read it"
            self.broken.append((name, reason))
            return True
        if self._barren == MAX_BARREN:
            reason = f"{name} and later links are not read: {MAX_BARREN} catalogues had no item"
            self.broken.append((name, reason))
        self._barren += self._barren >= MAX_BARREN
        return self._barren > MAX_BARREN

    def _follow(self, link: pystac.Link, catalogue: pystac.Catalog) -> Any:  # noqa: ANN401
        if self.io is None or link.is_resolved():
            return link.resolve_stac_object(root=catalogue.get_root()).target
        return _read(self.io, str(link.get_absolute_href()))
