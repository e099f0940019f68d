"""Read small JSON files that a person keeps outside the archive, and that a stranger may write."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from geohash_rs.errors import ArchiveCorruptError, GeoHashRSError, one_line
from geohash_rs.store.disk.plain import read_plain

__all__ = ["JsonFile"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class JsonFile:
    """A kind of file: one JSON object with the members "format" and "version".

    Attributes:
        what: What such a file is, such as "concept".
        version: The version that is read.
        most_bytes: Bytes of the largest file that is read.
        error: The error that tells of a bad file.
        make: How to make a good one, in words that end a sentence.
        again: What to do about a damaged one, as a sentence.
    """

    what: str
    version: int
    most_bytes: int
    error: type[GeoHashRSError]
    make: str
    again: str

    @property
    def head(self) -> dict[str, Any]:
        """The first members of such a file."""
        return {"format": f"geohash_rs {self.what}", "version": self.version}

    def read(self, path: str | Path, build: Callable[[dict[str, Any]], T]) -> T:
        """Read a file.

        Args:
            path: The file.
            build: Makes something of its content, and raises KeyError, TypeError, ValueError,
                OverflowError, AttributeError or a GeoHashRSError if that is wrong.

        Returns:
            What was built.

        Raises:
            GeoHashRSError: `error`, if the file cannot be read, is another kind, or is damaged.
        """
        try:
            content = read_plain(Path(path), most=self.most_bytes + 1)
        except (OSError, ArchiveCorruptError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            msg = f"{path} cannot be read: {reason.rstrip('.')}; {self.make}."
            raise self.error(msg) from error
        return self.parse(content, build, name=str(path))

    def parse(self, content: bytes, build: Callable[[dict[str, Any]], T], *, name: str) -> T:
        """Check the content of a file.

        Args:
            content: The bytes.
            build: As in `read`.
            name: Name of the file for messages.

        Returns:
            What was built.

        Raises:
            GeoHashRSError: `error`, if it is another kind, or is damaged.
        """
        if len(content) > self.most_bytes:
            size = f"{self.most_bytes >> 20} MB"
            raise self.error(f"{name} is larger than {size}, so it is not a {self.what}.")
        try:
            body = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            msg = f"{name} is not a {self.what}, or was cut short: {one_line(error)}."
            raise self.error(msg) from error
        if not isinstance(body, dict) or body.get("format") != self.head["format"]:
            raise self.error(f"{name} is not a {self.what}; {self.make}.")
        if body.get("version") != self.version:
            msg = (
                f"{name} has version {str(body.get('version'))[:20]}, but this program reads "
                f"{self.version}; install a newer geohash_rs."
            )
            raise self.error(msg)
        try:
            return build(body)
        except (
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
            AttributeError,
            GeoHashRSError,
        ) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
            msg = f"{name} is damaged: {what.rstrip('.')}. {self.again}"
            raise self.error(msg) from error
