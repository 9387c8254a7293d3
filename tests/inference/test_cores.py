"""Settings of the whole process, shared by runs at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from galmorph.inference import cores
from galmorph.inference.cores import SharedSetting, count_cores, keep_numpy_on_one_core


def count_blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_the_first_run_changes_and_the_last_one_restores() -> None:
    log: list[str] = []

    def change():
        log.append("changed")
        return lambda: log.append("restored")

    setting = SharedSetting(change)
    first, second = setting(), setting()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # not the reverse order: the runs overlap
    assert log == ["changed"]
    second.__exit__(None, None, None)
    assert log == ["changed", "restored"]
    with setting():
        pass
    assert log == ["changed", "restored"] * 2


def test_it_is_restored_after_an_error() -> None:
    log: list[str] = []
    with pytest.raises(KeyError), SharedSetting(lambda: lambda: log.append("restored"))():
        raise KeyError
    assert log == ["restored"]


def test_overlapping_runs_leave_numpy_its_threads() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = count_blas_threads()
        assert 2 in before, "numpy has no BLAS that knows threads here"
        first, second = keep_numpy_on_one_core(), keep_numpy_on_one_core()
        first.__enter__()
        second.__enter__()
        assert set(count_blas_threads()) == {1}
        first.__exit__(None, None, None)
        assert set(count_blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert count_blas_threads() == before


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "0"}, 8),
    ],
)
def test_a_container_gets_no_more_workers_than_time(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert count_cores() == expected
