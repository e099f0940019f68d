"""What a hasher file may ask for, checked before anything is made of it.

A hasher may come from a stranger. Its file describes networks, and a few bytes can describe one
that fills the memory.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from geohash_rs.errors import HasherError
from geohash_rs.hashing.network.views import VIEWS
from geohash_rs.store.segment.layout import MOST_NUMBERS

__all__ = [
    "MODEL",
    "MOST_FILE",
    "PRECISIONS",
    "Allowance",
    "allowance_of",
    "check_description",
    "check_file_size",
]

MOST_FILE = 2 * 2**30  # bytes
MOST_TILE = 2**27  # bytes of one tile in float32, 16 of which are in the network at once
MOST_BANDS = 1000
MOST_STAGES = 16
MOST_SIDE = 65_536  # px
MOST_INPUT = 1024  # px; a network on 3,000 takes 2.4 GB for one tile
LARGER = 2  # memory that a network may take, in sizes of its weights in the file
SLACK = 2**26  # bytes of the memory that a network may take otherwise
PRECISIONS = ("int8", "fp32")
MODEL = re.compile(r"\w{1,100}(\.\w{1,100})?")  # of timm: no address of a hub, no path


def check_file_size(size: int) -> None:
    """Check the size of a hasher file before it is read.

    Args:
        size: Bytes.

    Raises:
        HasherError: If it is larger than `MOST_FILE`.
    """
    if size > MOST_FILE:
        msg = (
            f"the hasher file has {size:,} bytes, but at most {MOST_FILE:,} are read; "
            "use a smaller backbone."
        )
        raise HasherError(msg)


def check_description(about: Any) -> None:  # noqa: ANN401 - any JSON
    """Check types and sizes in a hasher's description.

    Args:
        about: The description, as in `Hasher.description`.

    Raises:
        HasherError: If a field is missing or has another type, or more is asked for than allowed.
    """
    kinds: dict[str, type] = {
        "name": str,
        "views": list,
        "bands": list,
        "notes": dict,
        "head": dict,
    }
    by_network = "embedding" not in (about if isinstance(about, dict) else {})
    sources = {"backbone": dict, "scaling": dict} if by_network else {"embedding": dict}
    _fields(about, kinds | sources)
    bands, views = about["bands"], about["views"]
    _texts(bands, "bands", most=MOST_BANDS if by_network else MOST_NUMBERS)
    _texts(views, "views", most=len(VIEWS))
    if unknown := set(views) - set(VIEWS):
        msg = f"the hasher has views {sorted(unknown)}; those known are {', '.join(VIEWS)}."
        raise HasherError(msg)
    sides = [
        _whole(about, name, most=most)
        for name, most in (("tile_size", MOST_SIDE), ("input_size", MOST_INPUT))
    ]
    size = len(bands) * max(sides) ** 2 * 4
    if by_network and size > MOST_TILE:
        msg = (
            f"a tile of the hasher takes {size:,} bytes ({len(bands)} bands of {max(sides)} x "
            f"{max(sides)} px), but at most {MOST_TILE:,} are allowed; get another hasher."
        )
        raise HasherError(msg)
    resolution = about.get("resolution")
    if resolution is not None and not (_is_finite(resolution) and resolution > 0):
        msg = f"resolution of the hasher is {resolution!r}; it must be null or more than 0."
        raise HasherError(msg)
    if by_network:
        for name in ("low", "high", "mean", "std"):
            _numbers(about["scaling"].get(name), f"scaling {name}", count=len(bands))
        _check_backbone(about["backbone"])
    else:
        _fields(about["embedding"], dict.fromkeys(("model", "version", "variant"), str))
        _whole(about["embedding"], "dimensions", most=MOST_NUMBERS)
        if "pixels" in about:
            _fields(about, {"pixels": dict})
            _fields(about["pixels"], {"encoded": bool, "pooling": str})
    _fields(about["head"], {"kind": str})
    values = about.get("values", [])
    if not isinstance(values, list) or len(values) > MOST_BANDS:
        msg = f"values of the hasher are not a list of at most {MOST_BANDS}; get the file again."
        raise HasherError(msg)


def _check_backbone(source: Mapping[str, Any]) -> None:
    """Check which network is to be made.

    Raises:
        HasherError: If its name, its stages, its image size or its precision are not allowed.
    """
    _fields(source, {"model": str, "weights": str, "stages": list})
    if "image_size" in source:
        _whole(source, "image_size", most=MOST_INPUT)
    _texts(source["stages"], "stages", most=MOST_STAGES)
    if (precision := source.get("precision", "fp32")) not in PRECISIONS:
        msg = f"the hasher computes in {str(precision)[:40]!r}, not {' or '.join(PRECISIONS)}."
        raise HasherError(msg)
    if not MODEL.fullmatch(source["model"]):
        msg = (
            f"the hasher's model is {source['model'][:80]!r}, which is not the name of a timm "
            "model; addresses and paths are not loaded."
        )
        raise HasherError(msg)


def allowance_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the memory that a network with these weights may take, bytes."""
    return LARGER * sum(4 * tensor.numel() for tensor in tensors.values()) + SLACK


class Allowance(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Within its block, tensors made in this thread may take only so much memory.

    Args:
        what: What is made, for the message.
        most: Bytes; None allows any.
    """

    def __init__(self, what: str, most: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.what, self.most, self.used = what, most, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Report that nothing here is compiled; otherwise torch imports its compiler first.

        It is private to torch, as of 2.14; a release without it never calls it.
        """
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Count the memory of what an operation makes from nothing.

        Raises:
            HasherError: If it would be too much.
        """
        if any(isinstance(one, Tensor) for one in args):
            return func(*args, **(kwargs or {}))
        sides = args[0] if args and isinstance(args[0], list | tuple) else args
        if sides and all(isinstance(side, int) for side in sides):  # refused before it is made
            self._check(4 * math.prod(sides))
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.used += made.untyped_storage().nbytes()
            self._check(0)
        return made

    def _check(self, more: int) -> None:
        if self.most is not None and self.used + more > self.most:
            msg = (
                f"{self.what} would take {self.used + more:,} bytes or more, but the weights in "
                f"the file allow {self.most:,}; get the file again."
            )
            raise HasherError(msg)


def _fields(about: Any, kinds: Mapping[str, type]) -> None:  # noqa: ANN401 - any JSON
    """Check that an object has fields of these types.

    Raises:
        HasherError: If one is missing or has another type.
    """
    for name, kind in kinds.items():
        if not isinstance(about, dict) or not isinstance(about.get(name), kind):
            msg = f"{name} of the hasher is missing or not a {kind.__name__}; get the file again."
            raise HasherError(msg)


def _texts(found: Sequence[Any], name: str, *, most: int) -> None:
    """Check a list of texts.

    Raises:
        HasherError: If it is too long, or holds something else.
    """
    if len(found) > most:
        msg = f"the hasher has {len(found):,} {name}, but at most {most:,} are allowed."
        raise HasherError(msg)
    if not all(isinstance(text, str) for text in found):
        msg = f"{name} of the hasher are not all texts; get the file again."
        raise HasherError(msg)


def _whole(about: Mapping[str, Any], name: str, *, most: int) -> int:
    """Check a number of pixels.

    Raises:
        HasherError: If it is not a whole number in range.
    """
    value = about.get(name)
    if type(value) is not int or not 1 <= value <= most:
        msg = f"{name} of the hasher is {str(value)[:40]}; it must be whole, up to {most:,}."
        raise HasherError(msg)
    return value


def _numbers(found: Any, name: str, *, count: int) -> None:  # noqa: ANN401 - any JSON
    """Check a list of finite numbers.

    Raises:
        HasherError: If it is not one.
    """
    if not isinstance(found, list) or len(found) != count or not all(map(_is_finite, found)):
        msg = f"{name} of the hasher is not a list of {count} finite numbers; get the file again."
        raise HasherError(msg)


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(float(value))  # type: ignore[arg-type]
