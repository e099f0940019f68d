"""Say which extra to install where the package that an engine needs is absent."""

from geohash_rs.errors import EngineMissingError

__all__ = ["missing_extra"]


def missing_extra(error: ModuleNotFoundError, *, extra: str) -> ModuleNotFoundError | Exception:
    """Turn a failed import into an error that names the extra.

    Args:
        error: What the import raised.
        extra: The extra that installs the package.

    Returns:
        The error to raise; the same one if a module of this package is what is missing.
    """
    if (error.name or "").startswith("geohash_rs"):
        return error
    msg = (
        f"the package {error.name!r} is not installed; install it with "
        f"'pip install \"geohash-rs[{extra}]\"'."
    )
    return EngineMissingError(msg)
