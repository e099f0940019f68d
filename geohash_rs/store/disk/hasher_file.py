"""The hasher that an archive stores along with the codes it made."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from geohash_rs.codes import check_num_bits
from geohash_rs.errors import CodeLengthError, QueryError
from geohash_rs.store.disk.durable import replacing, write_file, writing
from geohash_rs.store.disk.manifest import HasherEntry, Manifest
from geohash_rs.store.disk.plain import HASHER_NAME

__all__ = ["HasherFile", "other_hasher", "with_hasher"]


@dataclass(frozen=True, kw_only=True)
class HasherFile:
    """A hasher as an archive stores it: opaque bytes.

    Attributes:
        data: Content of the safetensors file.
        fingerprint: Identifies the hasher.
        num_bits: Bits per code.
    """

    data: bytes = dataclasses.field(repr=False)
    fingerprint: str
    num_bits: int


def with_hasher(folder: Path, manifest: Manifest, hasher: HasherFile) -> Manifest:
    """Write a hasher's file and add it to a state.

    Args:
        folder: The archive; its write lock is held.
        manifest: The state.
        hasher: The hasher.

    Returns:
        The state with the hasher, to be committed.

    Raises:
        CodeLengthError: If the archive was made for codes of another length.
        QueryError: If its fingerprint cannot be part of a file name.
        ArchiveWriteError: If the file cannot be written.
    """
    check_num_bits(hasher.num_bits)
    name = _file_name(hasher.fingerprint)
    if manifest.num_bits not in (None, hasher.num_bits):
        msg = (
            f"the hasher makes codes of {hasher.num_bits} bits but the archive was made with "
            f"{manifest.num_bits}; use a hasher with {manifest.num_bits} bits."
        )
        raise CodeLengthError(msg)
    with (
        writing(folder / name),
        replacing(folder / name) as draft,
    ):  # a killed run may have left one
        file = write_file(draft, [hasher.data])
    return dataclasses.replace(
        manifest,
        num_bits=hasher.num_bits,
        pending_hasher=None,
        hasher=HasherEntry(file=file, fingerprint=hasher.fingerprint),
    )


def other_hasher(folder: Path, state: Manifest, given: str) -> str:
    """Return the message for codes that another hasher made than the archive's.

    Args:
        folder: The archive.
        state: Its state.
        given: Fingerprint of the codes' hasher.

    Returns:
        The message.
    """
    known = state.hasher.fingerprint if state.hasher else "none"
    if any(former.fingerprint == given for former in state.former):
        return (
            f"the codes were made by hasher {given[:16]}, before {folder} was refitted to "
            f"{known[:16]}; make them again with the hasher stored in the archive."
        )
    return (
        f"the codes were made by hasher {given[:16]} but {folder} holds codes of hasher "
        f"{known[:16]}; use the hasher stored in the archive, or make a new archive."
    )


def _file_name(fingerprint: str) -> str:
    name = f"hasher-{fingerprint[:16]}.safetensors"
    if not HASHER_NAME.fullmatch(name):
        msg = (
            f"the fingerprint {fingerprint!r} cannot be part of a file name; pass letters and "
            "digits, such as the hexadecimal SHA-256 of the file."
        )
        raise QueryError(msg)
    return name
