"""How much processor time the control groups of Linux allow a process.

A container that is limited to two cores on a computer of 64 may run on every one of them, so its
affinity says 64; only the quota of its control group says two.  Both versions of control groups
are read, from plain text files in ``/proc`` and ``/sys``:

- version 2 keeps the quota in ``cpu.max``, as ``"200000 100000"`` (microseconds of processor time
  in each period, and the period) or ``"max 100000"`` for no limit;
- version 1 keeps it in ``cpu.cfs_quota_us`` (-1 for no limit) and ``cpu.cfs_period_us``.

A group is limited by its own quota and by that of every group above it.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROCESS_GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def quota_cores(process_groups: Path = PROCESS_GROUPS, mount: Path = MOUNT) -> float | None:
    """Return how many cores' worth of time the control groups of this process allow.

    Parameters
    ----------
    process_groups : Path, default=PROCESS_GROUPS
        The kernel's list of the groups that the process is in.
    mount : Path, default=MOUNT
        Where the control groups are mounted.

    Returns
    -------
    float or None
        Above 0, the smallest of all quotas; None where there is no quota, or no control groups.
    """
    quotas = [quota for quota in _quotas(_text(process_groups) or "", mount) if quota is not None]
    return min(quotas, default=None)


def parse_cpu_max(text: str) -> float | None:
    """Return the cores that a ``cpu.max`` of version 2 allows.

    Parameters
    ----------
    text : str
        Quota and period, parted by a space.

    Returns
    -------
    float or None
        Above 0; None for no limit, and for a text that is not understood.

    Examples
    --------
    >>> parse_cpu_max("150000 100000")
    1.5
    >>> parse_cpu_max("max 100000") is None
    True
    """
    quota, _, period = text.strip().partition(" ")
    return parse_cfs(quota, period)


def parse_cfs(quota_us: str, period_us: str) -> float | None:
    """Return the cores that a quota of version 1 allows.

    Parameters
    ----------
    quota_us : str
        Processor time in each period, in microseconds; -1 for no limit.
    period_us : str
        Length of a period, in microseconds.

    Returns
    -------
    float or None
        Above 0; None for no limit, and for texts that are not understood.

    Examples
    --------
    >>> parse_cfs("200000", "100000")
    2.0
    >>> parse_cfs("-1", "100000") is None
    True
    """
    try:
        quota, period = int(quota_us), int(period_us)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def parse_process_groups(text: str) -> dict[str, PurePosixPath]:
    r"""Return the groups of a process that may limit its processor time.

    Parameters
    ----------
    text : str
        Lines of ``hierarchy:controllers:path``, as in ``/proc/self/cgroup``.

    Returns
    -------
    dict of str to PurePosixPath
        The path of the group, by its controllers: the empty text for version 2, such as
        ``"cpu,cpuacct"`` for version 1.

    Examples
    --------
    >>> parse_process_groups("4:memory:/a\n2:cpu,cpuacct:/b\n0::/c/d")
    {'cpu,cpuacct': PurePosixPath('/b'), '': PurePosixPath('/c/d')}
    """
    groups = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path.startswith("/") and (not controllers or "cpu" in controllers.split(",")):
            groups[controllers] = PurePosixPath(path)
    return groups


def _quotas(process_groups: str, mount: Path) -> Iterator[float | None]:
    for controllers, group in parse_process_groups(process_groups).items():
        if not controllers:
            for folder in _lineage(mount, group):
                yield parse_cpu_max(_text(folder / "cpu.max") or "")
            continue
        # Version 1 mounts the controllers together, and mostly links each one's name to that.
        for name in {controllers, "cpu"}:
            for folder in _lineage(mount / name, group):
                yield parse_cfs(
                    _text(folder / "cpu.cfs_quota_us") or "",
                    _text(folder / "cpu.cfs_period_us") or "",
                )


def _lineage(mount: Path, group: PurePosixPath) -> Iterator[Path]:
    """Yield the folders of a group and of all groups above it, those that are visible or not.

    A container often sees its own group as the mount itself, while the path is still the one
    outside; then only the mount's own files are there to be read.
    """
    yield mount
    parts = group.parts[1:]
    if ".." in parts:  # the process is outside of what its namespace shows
        return
    for depth in range(1, len(parts) + 1):
        yield mount.joinpath(*parts[:depth])


def _text(path: Path) -> str | None:
    """Return the content of a small file; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
