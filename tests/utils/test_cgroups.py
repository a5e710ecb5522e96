"""The processor time that control groups allow, read from made-up folders."""

import os
from pathlib import Path

import pytest

from facesim_index.utils import threads
from facesim_index.utils.cgroups import parse_cfs, parse_cpu_max, quota_cores
from facesim_index.utils.threads import usable_cores


def put(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """Write files below a folder; return the list of groups there, and the mount."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "self", root / "mount"


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2.0),
        ("50000 100000\n", 0.5),
        ("max 100000\n", None),
        ("", None),
        ("0 100000", None),
        ("100000", None),
        ("100000 0", None),
        ("what else", None),
    ],
)
def test_cpu_max(text: str, cores: float | None) -> None:
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("quota_us", "period_us", "cores"),
    [("150000\n", "100000\n", 1.5), ("-1\n", "100000\n", None), ("", "", None), ("1", "0", None)],
)
def test_cfs(quota_us: str, period_us: str, cores: float | None) -> None:
    assert parse_cfs(quota_us, period_us) == cores


def test_version_2_takes_the_smallest_quota_of_a_group_and_those_above(tmp_path: Path) -> None:
    place = put(
        tmp_path,
        {
            "self": "0::/slice/service/own\n",
            "mount/slice/cpu.max": "150000 100000\n",
            "mount/slice/service/cpu.max": "max 100000\n",
            "mount/slice/service/own/cpu.max": "400000 100000\n",
            "mount/slice/neighbour/cpu.max": "10000 100000\n",
        },
    )
    assert quota_cores(*place) == 1.5


def test_version_2_in_a_container_that_sees_its_group_as_the_mount(tmp_path: Path) -> None:
    for number, own in enumerate(("/", "/docker/0123", "/../../elsewhere")):
        place = put(
            tmp_path / str(number),
            {"self": f"0::{own}\n", "mount/cpu.max": "200000 100000\n"},
        )
        assert quota_cores(*place) == 2.0


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
def test_version_1(tmp_path: Path, folder: str) -> None:
    files = {"self": "9:memory:/m\n4:cpu,cpuacct:/a/b\n1:name=systemd:/s\n0::/v\n"}
    for below, quota_us in (("", "-1"), ("/a", "250000"), ("/a/b", "-1")):
        files[f"mount/{folder}{below}/cpu.cfs_quota_us"] = f"{quota_us}\n"
        files[f"mount/{folder}{below}/cpu.cfs_period_us"] = "100000\n"
    assert quota_cores(*put(tmp_path, files)) == 2.5


def test_a_cpuset_is_no_quota(tmp_path: Path) -> None:
    files = {"self": "3:cpuset:/a\n", "mount/cpuset/a/cpu.cfs_quota_us": "1000\n"}
    assert quota_cores(*put(tmp_path, files)) is None


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota_cores(tmp_path / "self", tmp_path / "mount") is None
    assert quota_cores(*put(tmp_path, {"self": "0::/\n"})) is None
    assert quota_cores(*put(tmp_path, {"self": "no such thing\n\n::\n"})) is None


@pytest.mark.parametrize(
    ("quota", "affinity", "cores"),
    [(None, 8, 8), (2.0, 8, 2), (1.2, 8, 2), (0.1, 8, 1), (64.0, 8, 8)],
)
def test_usable_cores_is_the_smaller_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, affinity: int, cores: int
) -> None:
    monkeypatch.setattr(threads, "quota_cores", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    assert usable_cores() == cores


def test_this_process_has_at_least_one_core_and_no_more_than_there_are() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
