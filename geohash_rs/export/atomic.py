"""Put a file in its place whole, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geohash_rs.errors import ExportError, GeoHashRSError

__all__ = ["replacing"]


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Hand out a path to write to, and put the file in the target's place once it is complete.

    Args:
        target: File to write or to replace; its folder must exist.

    Yields:
        A path of the same name in a folder of its own beside the target. It is taken away with
        everything in it if the block does not end well.

    Raises:
        ExportError: If the target is a folder, or the file cannot be written.
        GeoHashRSError: As the block raised it.
    """
    folder = target.parent
    if target.is_dir():
        msg = f"{target} is a folder; give the name of a file in it, such as {target / 'out'}."
        raise ExportError(msg)
    if not folder.is_dir():
        msg = f"the folder {folder} does not exist, so {target.name} cannot be written; create it."
        raise ExportError(msg)
    unfinished: Path | None = None
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=folder))
        yield unfinished / target.name
        with (unfinished / target.name).open("rb") as file:
            os.fsync(file.fileno())
        (unfinished / target.name).replace(target)
    except GeoHashRSError:
        raise
    except (OSError, RuntimeError) as error:
        msg = (
            f"cannot write {target}: {_reason(error)}; nothing was changed. "
            "Free space on the disk or choose a place that you may write to."
        )
        raise ExportError(msg) from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")
