"""How much memory there is, so that what can't be done is refused before it is begun.

An estimate is compared with what is left to this process: of the machine's memory, of the limit of
its control group (a container's), and of its own address space (`ulimit -v`).
"""

import contextlib
import math
from pathlib import Path

RESERVE = 2**27  # bytes that are left to Python and to BLAS, which ends a process without them


def available() -> float:
    """Return the bytes that this process can still have; infinity where the system does not say.

    >>> available() > 0
    True
    """
    return max(0.0, min(_machine(), _group(), _address_space()) - RESERVE)


def require_reserve() -> None:
    """Refuse to begin where a BLAS would not find the memory for its own buffers: ValueError.

    >>> require_reserve()
    """
    if available() <= 0:
        raise ValueError(f"less than {gib(RESERVE)} of memory is free: too little to begin")


def require_memory(needed: float, what: str, way_out: str) -> None:
    """Refuse what would need more memory than there is: ValueError, one line with both numbers.

    >>> require_memory(1e15, "`-n` 10**13 rows", "draw fewer")
    Traceback (most recent call last):
    ValueError: `-n` 10**13 rows needs about 931,323 GiB of memory, and ... is free: draw fewer
    """
    there = available()
    if needed > there:
        raise ValueError(
            f"{what} needs about {gib(needed)} of memory, and {gib(there)} is free: {way_out}"
        )


def lies_in_memory(folder: Path) -> bool:
    """Say whether the files of a folder are in memory, and not on a disk, as far as Linux tells.

    >>> lies_in_memory(Path("/proc"))
    False
    """
    place, kind = "", ""
    with contextlib.suppress(OSError, ValueError, IndexError):
        here = folder.resolve()
        for line in Path("/proc/mounts").read_text().splitlines():
            at, what = line.split()[1:3]
            if here.is_relative_to(at) and len(at) >= len(place):
                place, kind = at, what
    return kind in ("tmpfs", "ramfs")


def gib(size: float) -> str:
    """Return a number of bytes in GiB, or in MiB.

    >>> gib(2**31), gib(5 * 2**20)
    ('2.0 GiB', '5 MiB')
    """
    if size < 2**30:
        return f"{size / 2**20:.0f} MiB"
    return f"{size / 2**30:,.1f} GiB" if size < 2**40 else f"{size / 2**30:,.0f} GiB"


def _machine() -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return math.inf


def _group() -> float:
    """Return what is left of the limit of a control group, version 2."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        name = Path("/proc/self/cgroup").read_text().split("::", 1)[1].split()[0]
        folder = Path("/sys/fs/cgroup") / name.strip("/")
        limit = (folder / "memory.max").read_text().strip()
        if limit != "max":
            used = int((folder / "memory.current").read_text())
            stated = dict(x.split() for x in (folder / "memory.stat").read_text().splitlines())
            return float(int(limit) - used + int(stated.get("inactive_file", 0)))
    return math.inf


def _address_space() -> float:
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return float(limit - pages * resource.getpagesize())
    return math.inf
