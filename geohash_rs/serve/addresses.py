"""Find the names and addresses under which other devices reach this machine."""

import socket

__all__ = ["own_addresses", "own_names"]

# Documentation addresses, RFC 5737 and RFC 3849: a datagram socket picks a route to them and sends
# nothing.
ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def own_names() -> list[str]:
    """Give this machine's name, alone and as its neighbours on a local network know it."""
    name = socket.gethostname().lower()
    return [name, f"{name.split('.')[0]}.local"]


def own_addresses(family: int) -> list[str]:
    """Give this machine's addresses on the network.

    Args:
        family: AF_INET for a socket that hears IPv4 only, AF_INET6 for one that hears both.

    Returns:
        As they stand in a URL; empty without a network.
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
