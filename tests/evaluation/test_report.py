"""Merged classes, results, JSON and figures."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from galmorph.errors import OutputError
from galmorph.evaluation.classification import ClassMerge, parse_merges
from galmorph.evaluation.figure import draw_curves, draw_report
from galmorph.evaluation.report import evaluate_labels, write_report

NAMES = ("round", "spiral", "cigar")


def test_merge_adds_probabilities_and_keeps_the_order() -> None:
    merge = parse_merges(["smooth=round+cigar"])
    assert merge.rename(NAMES) == ("smooth", "spiral")
    merged = merge.merge_probabilities(np.array([[0.3, 0.4, 0.3]]), NAMES)
    np.testing.assert_allclose(merged, [[0.6, 0.4]])


def test_a_merge_in_several_parts() -> None:
    merge = parse_merges(["smooth=round", "smooth=cigar"])
    assert merge.rename(NAMES) == ("smooth", "spiral")
    with pytest.raises(ValueError, match="merged twice"):
        parse_merges(["smooth=round", "smooth=cigar+round"])


@pytest.mark.parametrize("text", ["smooth", "=round", "smooth=", "smooth=round+"])
def test_a_merge_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"reads NEW=OLD\+OLD"):
        parse_merges([text])


def test_a_class_merged_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['a'\] are merged twice"):
        ClassMerge({"x": ("a", "b"), "y": ("a",)})


def test_result_holds_the_figures_of_its_rows() -> None:
    labels = np.array([0, 1, 2, 0])
    result = evaluate_labels("kNN", labels, np.array([0, 1, 1, 0]), NAMES)
    assert (result.accuracy, result.count, result.ece) == (0.75, 4, None)
    line = result.summarize()
    assert "kNN: accuracy 0.7500" in line
    assert "ECE" not in line


LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 0])
PREDICTED = np.array([0, 1, 0, 1, 1, 2, 0, 2, 2, 0])


def test_figures_of_classes_agree_with_counting() -> None:
    found = evaluate_labels("kNN", LABELS, PREDICTED, NAMES)
    confusion = np.zeros((3, 3), dtype=int)
    for true, predicted in zip(LABELS, PREDICTED, strict=True):
        confusion[true, predicted] += 1
    np.testing.assert_array_equal(found.confusion, confusion)
    for k, name in enumerate(NAMES):
        hits = sum(t == k and p == k for t, p in zip(LABELS, PREDICTED, strict=True))
        precision, recall = hits / (PREDICTED == k).sum(), hits / (LABELS == k).sum()
        own = found.classes[name]
        assert own["precision"] == pytest.approx(precision)
        assert own["recall"] == pytest.approx(recall)
        assert own["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert [found.classes[name]["count"] for name in NAMES] == [4, 2, 4]


def test_nmi_and_ari_agree_with_their_definitions() -> None:
    found = evaluate_labels("kNN", LABELS, PREDICTED, NAMES)
    joint = found.confusion / 10
    entropies = [-(p * np.log(p)).sum() for p in (joint.sum(0), joint.sum(1), joint[joint > 0])]
    mutual = entropies[0] + entropies[1] - entropies[2]
    assert found.nmi == pytest.approx(2 * mutual / (entropies[0] + entropies[1]))
    pairs = list(combinations(range(10), 2))
    same = [[groups[i] == groups[j] for i, j in pairs] for groups in (LABELS, PREDICTED)]
    both, one, other = np.sum(np.logical_and(*same)), *np.sum(same, axis=1)
    expected, largest = one * other / len(pairs), (one + other) / 2
    assert found.ari == pytest.approx((both - expected) / (largest - expected))


def test_a_class_never_predicted_has_no_precision() -> None:
    found = evaluate_labels("kNN", np.array([0, 1]), np.array([0, 0]), NAMES).classes
    assert np.isnan(found["spiral"]["precision"])
    assert found["spiral"]["recall"] == found["spiral"]["f1"] == 0
    assert np.isnan(found["cigar"]["recall"]) and np.isnan(found["cigar"]["f1"])


def test_json_holds_everything_and_no_nan(tmp_path: Path) -> None:
    probabilities = np.array([[0.8, 0.2, 0.0], [0.3, 0.6, 0.1]])
    labels = np.array([0, 0])
    told = probabilities.argmax(axis=1)
    result = evaluate_labels("probe", labels, told, NAMES, probabilities=probabilities)
    write_report(tmp_path / "r.json", [result], meta={"model": "m"})
    found = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert found["model"] == "m"
    (stored,) = found["results"]
    assert stored["accuracy"] == 0.5
    assert stored["classes"]["cigar"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "count": 0,
    }
    assert stored["confusion"] == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert stored["ece"] == pytest.approx((0.2 + 0.6) / 2)
    assert sum(b["count"] for b in stored["reliability"]) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "r.json"]


def test_a_report_goes_where_a_link_leads_or_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = evaluate_labels("kNN", np.array([0, 1]), np.array([0, 1]), NAMES)
    target, link = tmp_path / "there" / "r.json", tmp_path / "r.json"
    target.parent.mkdir()
    link.symlink_to(target)
    write_report(link, [result], meta={})
    assert link.is_symlink()
    before = target.read_bytes()
    assert json.loads(before)["results"][0]["count"] == 2

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError, match=r"r\.json: cannot be written .No space left"):
        write_report(link, [result, result], meta={})
    assert target.read_bytes() == before
    assert [*target.parent.iterdir()] == [target]
    assert [*tmp_path.glob("*.*")] == [link]


def test_figures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    labels = np.array([0, 1, 2, 0])
    results = [
        evaluate_labels("kNN", labels, np.array([0, 1, 1, 0]), NAMES),
        evaluate_labels("probe", labels, labels, NAMES, probabilities=np.eye(3)[[0, 1, 1, 0]]),
    ]
    draw_report(tmp_path / "report.svg", results)
    assert b"<svg" in (tmp_path / "report.svg").read_bytes()
    log = [{"step": i, "loss": 1 / i} for i in range(1, 500)] + [
        {"step": 500, "loss": 0.0, "knn": 0.5}
    ]
    draw_curves(tmp_path / "curves.png", log)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
