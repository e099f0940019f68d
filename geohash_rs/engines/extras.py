"""Say which extra to install where the package that an engine needs is absent."""

from importlib.util import find_spec

from geohash_rs.errors import EngineMissingError

__all__ = ["require"]


def require(package: str, *, extra: str) -> None:
    """Check that the package an engine needs is installed.

    Args:
        package: What is imported.
        extra: The extra of this package that installs it.

    Raises:
        EngineMissingError: If it is absent.
    """
    if find_spec(package) is None:
        msg = (
            f"the package {package!r} is not installed; install it with "
            f"'pip install \"geohash-rs[{extra}]\"'."
        )
        raise EngineMissingError(msg)
