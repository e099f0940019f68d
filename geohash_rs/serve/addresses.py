"""The names and addresses by which this machine is reached, and the default of the server's."""

import socket
import zlib
from pathlib import Path

__all__ = ["PORT", "own_addresses", "own_names", "place_of"]

PORT = 8765  # of the server, by default

# Documentation addresses (RFC 5737, RFC 3849): a datagram socket picks a route to them without
# sending anything.
ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def own_names() -> list[str]:
    """Return this machine's host name, and its .local name on the local network."""
    name = socket.gethostname().lower()
    return [name, f"{name.split('.')[0]}.local"]


def own_addresses(family: int) -> list[str]:
    """Return this machine's addresses on the network.

    Args:
        family: AF_INET for a socket that accepts only IPv4, AF_INET6 for one that accepts both.

    Returns:
        Addresses as written in a URL; empty without a network.
    """
    found = []
    for kind, elsewhere in ELSEWHERE:
        if kind == socket.AF_INET6 != family:
            continue
        try:
            with socket.socket(kind, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                address = probe.getsockname()[0]
        except OSError:  # no route: no such network
            continue
        found.append(f"[{address}]" if ":" in address else address)
    return found


def place_of(folder: Path) -> str:
    """Return what identifies the place of an archive on a machine, whatever its state.

    Args:
        folder: The archive.

    Returns:
        Eight hexadecimal digits.
    """
    return f"{zlib.crc32(str(folder.resolve()).encode()):08x}"
