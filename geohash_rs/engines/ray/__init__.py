"""An archive on a Ray cluster: indexed by many workers, searched by many nodes.

Names are loaded when first used, so that an actor that searches imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geohash_rs.engines.extras import missing_extra

try:
    import ray as _ray  # noqa: F401 - to say at once if it is absent
except ModuleNotFoundError as error:
    raise missing_extra(error, extra="ray") from error

if TYPE_CHECKING:
    from geohash_rs.engines.ray.archive import RayArchive
    from geohash_rs.engines.ray.index import index_scenes

_HOMES = {"RayArchive": "archive", "index_scenes": "index"}

__all__ = ["RayArchive", "index_scenes"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
