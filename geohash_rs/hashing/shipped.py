"""Hashers by name: files that come with this package, and methods to fit."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from geohash_rs.errors import HasherError, HasherNotFoundError
from geohash_rs.hashing.description import describe_hasher
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.limits import check_file_size

__all__ = ["list_hashers", "load_hasher", "shipped_hashers"]


def load_hasher(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> Hasher:
    """Load a hasher from a file, or one that comes with this package.

    Args:
        name_or_path: Path of a hasher file, or a name that `shipped_hashers` lists.
        device: Device that runs the networks.

    Returns:
        The hasher.

    Raises:
        HasherNotFoundError: If there is neither such a file nor such a name.
        HasherError: If the file is not a hasher file, or the weights have changed since.
    """
    path = Path(name_or_path)
    shipped = shipped_hashers()
    if not path.is_file() and str(name_or_path) in shipped:
        path = shipped[str(name_or_path)]
    if not path.is_file():  # a pipe would be waited for
        names = ", ".join(shipped) or "none"
        msg = (
            f"no file and no shipped hasher is called {str(name_or_path)!r}; shipped: {names}. "
            'A training-free hasher such as "general-64" is fitted on the tiles of an archive: '
            'Archive.create(path, hasher="general-64").'
        )
        raise HasherNotFoundError(msg)
    check_file_size(path.stat().st_size)
    data = path.read_bytes()
    try:
        return Hasher.from_bytes(data, device=device)
    except HasherError as error:
        msg = f"{path}: {error}"
        raise HasherError(msg) from error


def shipped_hashers() -> dict[str, Path]:
    """List the hashers that come with this package.

    Returns:
        Paths of their files by name, in order of name.
    """
    folder = Path(str(files("geohash_rs.hashing") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def list_hashers() -> list[dict[str, Any]]:
    """Describe every hasher that can be used by name.

    Returns:
        For each its name, bits, purpose, file (None if it is to be fitted) and description.
    """
    rows: list[dict[str, Any]] = []
    for name, path in shipped_hashers().items():
        about = describe_hasher(path)
        rows.append(
            {
                "name": name,
                "num_bits": about["num_bits"],
                "about": about["notes"].get("about", f"a {about['head']['kind']} head"),
                "file": str(path),
                "description": about,
            }
        )
    fitted = {
        "general": "whitening by views and a learned rotation, the default",
        "itq": "learned rotation (ITQ)",
        "lsh": "random hyperplanes",
    }
    for method, words in fitted.items():
        text = f"training-free: {words}; fitted on the first scenes; any multiple of 8 bits"
        rows.append({"name": f"{method}-64", "num_bits": 64, "about": text, "file": None})
    return rows
