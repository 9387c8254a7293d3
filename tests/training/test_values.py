"""Votes and numbers of a user's own: ``galmorph fit`` and ``evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import galmorph
from galmorph.evaluation.report import compare_numbers, compare_shares
from galmorph.model import read_heads
from tests.training.commands import call


@pytest.fixture(scope="module")
def table(galaxies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of round galaxies most people say smooth, of others few; and a number that goes with it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("own") / "votes.csv"
    lines = ["object_id,smooth,disk,size"]
    for file in sorted(galaxies.rglob("*.png")):
        smooth = rng.binomial(20, 0.85 if "round" in file.name else 0.2)
        size = "" if rng.random() < 0.1 else f"{smooth / 4 + rng.normal(0, 0.2):.3f}"
        lines.append(f"{file.stem},{smooth},{20 - smooth},{size}")
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path) -> list[dict[str, object]]:
    return list(json.loads(path.read_text())["results"])


def test_votes_of_a_question_of_ones_own(
    model_file: Path, galaxies: Path, table: Path, tmp_path: Path
) -> None:
    head, common = tmp_path / "mine.safetensors", ["--votes", "kind=smooth,disk", "-q"]
    on = ["--model", model_file, "--workers", 1]
    found = call("fit", table, galaxies / "train", *common, *on, "-o", head)
    assert "head 'mine', 40 cutouts" in found.output and "rms error" in found.output
    shown = galmorph.classify(galaxies / "test" / "round", model=model_file, head=head)
    assert np.mean(shown["kind_smooth_fraction"]) > 0.6
    report = tmp_path / "r.json"
    own = ["evaluate", table, galaxies / "test", *common, *on, "--head", head]
    call(*own, "--train-data", galaxies / "train", "-o", report)
    by_head, by_train = read(report)
    assert (by_head["protocol"], by_head["count"]) == ("head 'mine'", 16)
    assert by_head["rmse"] == pytest.approx(by_train["rmse"])
    assert float(str(by_head["rmse"])) < 0.2 and by_head["agreement"] == 1
    other = ["--votes", "sort=smooth,disk", "-q"]
    wrong = call("evaluate", table, galaxies / "test", *other, *on, "--head", head, status=1)
    assert "the head 'mine' tells kind_smooth, kind_disk, and the table has sort_smooth" in (
        wrong.output
    )


def test_numbers_with_gaps_by_folds(
    model_file: Path, galaxies: Path, table: Path, tmp_path: Path
) -> None:
    head, report = tmp_path / "size.safetensors", tmp_path / "r.json"
    on = ["--model", model_file, "--workers", 1, "-q", "--numbers", "size"]
    call("fit", table, galaxies, *on, "-o", head)
    (error,) = read_heads(head).heads["size"].error  # type: ignore[attr-defined]
    call("evaluate", table, galaxies, *on, "--folds", 8, "--head", head, "-o", report)
    by_head, by_folds = read(report)
    assert by_folds["count"] < 56
    assert float(str(by_head["rmse"])) <= float(str(by_folds["rmse"])) < 1.2
    assert error == pytest.approx(by_folds["rmse"], rel=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--votes", "kind=smooth"], "two or more different answers"),
        (["--votes", "smooth,disk"], "--votes reads QUESTION=A,B"),
        (["--votes", "kind=smooth,disk", "--numbers", "size"], "one or the other"),
        (["--numbers", "size", "--balanced"], "--balanced is for classes"),
        (["--numbers", "size", "--path-column", "p"], "go by --id-column"),
    ],
)
def test_what_does_not_go_together(
    model_file: Path, galaxies: Path, table: Path, options: list[str], message: str, tmp_path: Path
) -> None:
    common = ["fit", table, galaxies, "--model", model_file, "-o", tmp_path / "h.safetensors"]
    assert message in call(*common, *options, status=2).output


def test_cells_and_columns_that_are_no_numbers(
    model_file: Path, galaxies: Path, table: Path, tmp_path: Path
) -> None:
    common = ["--model", model_file, "-o", tmp_path / "h.safetensors", "-q"]
    found = call("fit", table, galaxies, *common, "--numbers", "mass", status=2)
    assert "no column 'mass'; there are object_id, smooth, disk, size" in found.output
    bad = tmp_path / "bad.csv"
    bad.write_text("object_id,size\na,big\n")
    found = call("fit", bad, galaxies, *common, "--numbers", "size", status=2)
    assert "a: 'big' is no number" in found.output
    bad.write_text("object_id,size\na,1\na,2\n")
    found = call("fit", bad, galaxies, *common, "--numbers", "size", status=2)
    assert "'a' stands in two rows" in found.output


def test_errors_by_the_formulas() -> None:
    rng = np.random.default_rng(3)
    votes, shares = rng.integers(0, 9, (30, 3)).astype(float), rng.dirichlet([1, 1, 1], 30)
    votes[4] = 0
    total, right = 0.0, 0
    for counted, told in zip(np.delete(votes, 4, 0), np.delete(shares, 4, 0), strict=True):
        part = counted / sum(counted)
        total += sum((a - b) ** 2 for a, b in zip(part, told, strict=True)) / 3
        right += part.argmax() == told.argmax()
    found = compare_shares("p", "q", votes, shares)
    assert found.rmse == pytest.approx((total / 29) ** 0.5) and found.count == 29
    assert found.agreement == pytest.approx(right / 29)
    assert found.interval[0] < found.rmse < found.interval[1]
    values = np.array([1.0, 2, np.nan, 4])
    number = compare_numbers("p", "x", values, np.array([1.5, 2, 9, 3]))
    assert number.rmse == pytest.approx((1.25 / 3) ** 0.5) and number.count == 3
