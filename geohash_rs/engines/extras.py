"""Report which extra to install if an engine's package is missing."""

from importlib.util import find_spec

from geohash_rs.errors import EngineMissingError

__all__ = ["require"]


def require(package: str, *, extra: str) -> None:
    """Check that the package an engine needs is installed.

    Args:
        package: The package to import.
        extra: The extra of geohash-rs that installs it.

    Raises:
        EngineMissingError: If it is not installed.
    """
    if find_spec(package) is None:
        msg = (
            f"the package {package!r} is not installed; install it with "
            f"'pip install \"geohash-rs[{extra}]\"'."
        )
        raise EngineMissingError(msg)
