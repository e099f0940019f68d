"""Run a Python program, and list the connections that it tries to open to other machines."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Python imports this before anything else in each process. It records and refuses every call.
HOOK = """
import os, sys

def _watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = (args[0],)
    else:
        return
    if not isinstance(address, tuple):  # a socket of this machine, or of one that is connected
        return
    host = address[0].decode() if isinstance(address[0], bytes) else str(address[0] or "")
    if host in {LOOPBACK}:
        return
    with open({LOG!r}, "a") as log:
        log.write(f"{event} {host}\\n")
    raise ConnectionRefusedError(f"this test opens no connection, not even to {host}")

sys.addaudithook(_watch)
"""
STRACE = shutil.which("strace")
TRACED = (
    "-f",
    "-qq",
    "--seccomp-bpf",
    "-e",
    "trace=connect,sendto,sendmsg,sendmmsg",
    "-e",
    "signal=none",
)
ADDRESS = re.compile(
    r'htons\((?P<port>\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")(?P<host>[^"]+)'
)
LOOPBACK = ("", "localhost", "127.0.0.1", "::1")
DNS = "53"  # a resolver on this machine passes on what it is asked


def sees_native_code() -> bool:
    """Return whether connections of compiled code are seen as well."""
    if STRACE is None:
        return False
    words = [STRACE, *TRACED, "-o", os.devnull, "true"]  # a container may forbid it
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def run_guarded(
    words: Sequence[str], folder: Path, *, allowed: Sequence[str] = LOOPBACK, **options: object
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a program.

    Args:
        words: Its command.
        folder: For the record of its calls.
        allowed: Hosts that it may connect to.
        **options: Options of `subprocess.run`.

    Returns:
        What it printed, and its calls to other hosts.
    """
    folder.mkdir()
    log, traced = folder / "calls", folder / "traced"
    hook = HOOK.replace("{LOOPBACK}", repr(set(allowed))).replace("{LOG!r}", repr(str(log)))
    (folder / "sitecustomize.py").write_text(hook, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    watching = [STRACE, *TRACED, "-o", str(traced)] if sees_native_code() else []
    done = subprocess.run(
        [*watching, *words], env=environment, capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]
    calls = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    for line in traced.read_text(encoding="utf-8").splitlines() if traced.exists() else []:
        found = ADDRESS.search(line)
        if found and (found["host"] not in allowed or found["port"] == DNS):
            calls.append(line)
    return done, calls
