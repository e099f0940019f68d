"""Hasher files: one safetensors file, its description in the metadata, never any pickle."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from geohash_rs.errors import HasherError, HasherNotFoundError
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import Backbone, load_backbone
from geohash_rs.hashing.network.heads import make_head
from geohash_rs.hashing.network.lite0 import LITE0, LITE0_WEIGHTS
from geohash_rs.hashing.network.scaling import Scaling

__all__ = [
    "describe_hasher",
    "hasher_from_bytes",
    "hasher_to_bytes",
    "list_hashers",
    "load_hasher",
    "shipped_hashers",
]

KEY = "geohash_rs"
MOST_HEADER = 100_000_000  # bytes; as safetensors itself has it
FORMAT = 1


def load_hasher(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> Hasher:
    """Load a hasher from a file, or one that comes with this package.

    Args:
        name_or_path: Path of a hasher file, or a name that `shipped_hashers` lists.
        device: Where the networks shall run.

    Returns:
        The hasher.

    Raises:
        HasherNotFoundError: If there is neither such a file nor such a name.
        HasherError: If the file is not a hasher's, or its weights are not what they were.
    """
    path = Path(name_or_path)
    shipped = shipped_hashers()
    if not path.is_file() and str(name_or_path) in shipped:
        path = shipped[str(name_or_path)]
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        names = ", ".join(shipped) or "none"
        msg = (
            f"no file and no shipped hasher is called {str(name_or_path)!r}; shipped: {names}. "
            'A training-free hasher such as "general-64" is fitted on the tiles of an archive: '
            'Archive.create(path, hasher="general-64").'
        )
        raise HasherNotFoundError(msg) from error
    try:
        return hasher_from_bytes(data, device=device)
    except HasherError as error:
        msg = f"{path}: {error}"
        raise HasherError(msg) from error


def describe_hasher(path: Path) -> dict[str, Any]:
    """Read what a hasher file says of itself, from its header alone.

    Args:
        path: The file.

    Returns:
        The settings, as `Hasher.description` gives them.

    Raises:
        HasherError: If it is not a hasher file, or of a newer format.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = min(int.from_bytes(start, "little"), MOST_HEADER)
        description: dict[str, Any] = read_metadata(start + file.read(length))["description"]
    return description


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
        For each its name, bits, what it is for, file (None where it is fitted) and description.
    """
    rows: list[dict[str, Any]] = []
    for name, path in shipped_hashers().items():
        about = read_metadata(path.read_bytes())["description"]
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


def hasher_to_bytes(hasher: Hasher, *, embed_backbone: bool | None = None) -> bytes:
    """Write a hasher as the bytes of a file.

    Args:
        hasher: What to write.
        embed_backbone: Whether the backbone's weights go in. By default they do, unless they are
            those of the package that is installed with this one.

    Returns:
        A safetensors file whose metadata holds the description as JSON.
    """
    if embed_backbone is None:
        embed_backbone = hasher.backbone.weights != LITE0_WEIGHTS
    tensors = {
        name: _halved(tensor.contiguous())
        for name, tensor in hasher.tensors().items()
        if embed_backbone or not name.startswith("backbone.")
    }
    content = {
        "format": FORMAT,
        "fingerprint": hasher.fingerprint,
        "embedded": embed_backbone,
        "description": hasher.description,
    }
    return save(tensors, metadata={KEY: json.dumps(content, sort_keys=True)})


def hasher_from_bytes(data: bytes, *, device: str | torch.device = "cpu") -> Hasher:
    """Read a hasher from the bytes of its file.

    Args:
        data: What `hasher_to_bytes` wrote.
        device: Where the networks shall run.

    Returns:
        The hasher.

    Raises:
        HasherError: If the bytes are not a hasher's, or its weights are not what they were.
    """
    content = read_metadata(data)
    try:
        tensors = load(data)
        hasher = _rebuild(content, tensors, device=device)
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        msg = f"the hasher file is damaged ({type(error).__name__}: {error}); get it again."
        raise HasherError(msg) from error
    if hasher.fingerprint != content["fingerprint"]:
        msg = (
            f"the weights of hasher {hasher.name} have fingerprint {hasher.fingerprint[:12]}, but "
            f"{content['fingerprint'][:12]} was saved; the file was changed, or the installed "
            f"{LITE0_WEIGHTS} is another version."
        )
        raise HasherError(msg)
    return hasher


def read_metadata(data: bytes) -> dict[str, Any]:
    """Read what a hasher file says of itself, without its weights.

    Args:
        data: The file, or at least its header.

    Returns:
        ``format``, ``fingerprint``, ``embedded`` and ``description``.

    Raises:
        HasherError: If it is not a hasher file, or of a newer format.
    """
    # https://github.com/huggingface/safetensors#format: 8 bytes of length, then a JSON header
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        content: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError) as error:
        msg = "not a hasher: no safetensors file with a geohash_rs description inside."
        raise HasherError(msg) from error
    if content.get("format") != FORMAT:
        msg = f"hasher format {content.get('format')} is not {FORMAT}; update geohash-rs."
        raise HasherError(msg)
    return content


def _rebuild(
    content: Mapping[str, Any], tensors: Mapping[str, Tensor], *, device: str | torch.device
) -> Hasher:
    about = content["description"]
    backbone = _rebuild_backbone(about, tensors, embedded=content["embedded"])
    settings = dict(about["head"])
    head = make_head(settings.pop("kind"), settings)
    head.load_state_dict(_part("head.", tensors))
    return Hasher(
        backbone,
        head,
        scaling=Scaling.from_dict(about["scaling"]),
        bands=about["bands"],
        tile_size=about["tile_size"],
        input_size=about["input_size"],
        resolution=about["resolution"],
        views=about["views"],
        name=about["name"],
        notes=about["notes"],
        device=device,
    )


def _rebuild_backbone(
    about: Mapping[str, Any], tensors: Mapping[str, Tensor], *, embedded: bool
) -> Backbone:
    source = about["backbone"]
    in_chans, stages = len(about["bands"]), source["stages"]
    if not embedded:
        if (source["model"], source["weights"]) != (LITE0, LITE0_WEIGHTS):
            msg = f"the file lacks the weights of {source['model']}; save with embed_backbone=True."
            raise HasherError(msg)
        return load_backbone(LITE0, in_chans=in_chans, stages=stages)
    backbone = Backbone(source["model"], in_chans=in_chans, stages=stages)
    backbone.network.load_state_dict(_part("backbone.", tensors))
    backbone.weights = source["weights"]
    return backbone


def _part(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _halved(tensor: Tensor) -> Tensor:
    """Store weights in half the space where that loses nothing, as after `Head.round_weights`."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor
