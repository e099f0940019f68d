"""What a process started, asked for its stacks when a test takes too long."""

import os
import signal
import time
from pathlib import Path


def descendants(*, since: float) -> list[int]:
    """List the Python processes below this one that started after a moment of CLOCK_BOOTTIME, s."""
    tick = 1 / os.sysconf("SC_CLK_TCK")  # the kernel counts whole ones, rounded down
    parents, started = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(entry.parent.name)
        parents[pid] = int(fields[1])
        started[pid] = (int(fields[19]) + 1) * tick

    def is_below(pid: int) -> bool:
        parent = parents.get(pid, 0)
        return parent == os.getpid() or (parent > 1 and is_below(parent))

    return [pid for pid in parents if started[pid] >= since and is_below(pid) and is_python(pid)]


def is_python(pid: int) -> bool:
    """Return whether a process runs an interpreter of Python, whose fault handler may be on."""
    try:
        return "python" in Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return False


class Alarm:
    """Abort the processes that were started since, as soon as the seconds are over.

    Python's fault handler prints their stacks as they end. A signal does it, not a thread: Python
    3.12 warns of forks in a process with threads.

    Args:
        seconds: From the beginning of the block.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        self.since = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.before = signal.signal(signal.SIGALRM, self._abort)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)

    def _abort(self, *_: object) -> None:
        for pid in descendants(since=self.since):
            os.kill(pid, signal.SIGABRT)
