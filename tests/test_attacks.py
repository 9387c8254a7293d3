"""In small what benchmarks/attack.py does in large."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests import attacks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, limits")


def check(counts: attacks.Counts, *expected: str) -> None:
    assert [name for name in counts if name.startswith("BROKEN")] == []
    assert set(expected) <= set(counts), counts


@pytest.mark.parametrize("suffix", attacks.FORMATS)
def test_full_disks_cost_no_row(tmp_path: Path, suffix: str) -> None:
    counts = attacks.fill_disk(tmp_path, suffix, 4, random.Random(suffix))
    check(counts, "one sentence", "the same table in the end")


@pytest.mark.parametrize("suffix", [".fits", ".parquet"])
def test_signals_cost_no_row(tmp_path: Path, suffix: str) -> None:
    counts = attacks.kill_writers(tmp_path, suffix, 3, random.Random(suffix))
    check(counts, "ended, its rows kept", "the same table in the end")


def test_of_several_writers_one_writes(tmp_path: Path) -> None:
    counts = attacks.race_writers(tmp_path, 1, random.Random(0))
    check(counts, "refused in one sentence", "the same table in the end")


def test_who_was_taken_for_dead_writes_no_more(tmp_path: Path) -> None:
    counts = attacks.stop_writers(tmp_path, 1, random.Random(0))
    check(counts, "the first one wrote no more, and said why", "the same table in the end")


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    check(attacks.open_pickles(tmp_path / "in"), "refused in one sentence")


def test_damaged_partial_results_are_mended_or_refused(tmp_path: Path) -> None:
    counts = attacks.damage_partial(tmp_path, 60, seed=5)
    check(counts, "the same table", "refused in one sentence")
