"""Vote heads and regression heads find again what made-up people were told."""

import numpy as np
import pytest
import torch
from hidden_units import make_hidden, train_network

from galmorph.errors import TrainingError
from galmorph.heads import LinearHead
from galmorph.heads.regression import Target
from galmorph.heads.votes import Question
from galmorph.training.votes import fit_numbers, fit_votes, join_shares

QUESTIONS = (Question("shape", ("smooth", "disk")), Question("bar", ("yes", "no"), "shape_disk"))


def make_votes(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    disk, bar = (1 / (1 + np.exp(-2 * x[:, k].astype(float))) for k in (0, 1))
    disks = rng.binomial(40, disk)
    bars = rng.binomial(disks, bar)
    votes = np.stack([40 - disks, disks, bars, disks - bars], axis=1)
    return x, votes.astype(float), np.stack([1 - disk, disk, bar, 1 - bar], axis=1)


def test_shares_are_found_and_intervals_hold() -> None:
    x, votes, truth = make_votes()
    found = fit_votes(x, votes, QUESTIONS, name="v")
    difference = join_shares(found.shares, QUESTIONS) - join_shares(truth, QUESTIONS)
    assert np.sqrt((difference**2).mean()) < 0.04
    filled = found.head.fill(x)
    counted = votes[:, 1] / 40
    low, high = filled["shape_disk_fraction_low"], filled["shape_disk_fraction_high"]
    assert 0.72 < ((counted >= low - 1e-6) & (counted <= high + 1e-6)).mean() < 0.9


def test_what_nobody_reached_says_nothing() -> None:
    x, votes, _ = make_votes()
    votes[:, 2:] *= (x[:, 2] > 0)[:, None]
    fitted = fit_votes(x, votes, QUESTIONS, name="v")
    alike = fit_votes(x, votes[:, :2], QUESTIONS[:1], name="v")
    seen = [f.head.compute_shares(x)[:, 1] for f in (fitted, alike)]
    assert np.corrcoef(*seen)[0, 1] > 0.99


def test_a_survey_has_an_offset_of_its_own() -> None:
    x, votes, _ = make_votes()
    _, strict, _ = make_votes(seed=1)
    strict[:, 1] *= 0.2
    strict[:, 0] = 40 - strict[:, 1]
    strict[:, 2:] *= 0.2
    surveys = np.repeat([0, 1], 400)
    both = np.concatenate([x, make_votes(seed=1)[0]]), np.concatenate([votes, strict])
    head = fit_votes(*both, QUESTIONS, name="v", surveys=surveys).head
    assert head.compute_shares(x)[:, 1].mean() == pytest.approx(votes[:, 1].mean() / 40, abs=0.03)


def test_the_same_head_for_any_number_of_threads() -> None:
    x, votes, _ = make_votes()
    before, heads = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            heads.append(fit_votes(x, votes, QUESTIONS, name="v").head.compute_sha256())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(set(heads)) == 1


def test_numbers_are_found_where_they_are_known() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    values = np.stack([x[:, 0] + rng.normal(0, 0.1, 300), x[:, 1].astype(float)], axis=1)
    values[::3, 1] = np.nan
    targets = (Target("a", -5, 5), Target("b", -5, 5))
    head, out = fit_numbers(x, values, targets, name="r")
    assert head.error == pytest.approx([0.1, 0.0], abs=0.03)
    assert np.isnan(out[::3, 1]).all() and np.isfinite(out[:, 0]).all()
    assert np.abs(head.compute_values(x)[:, 1] - x[:, 1]).max() < 0.1


def test_hidden_units_are_the_classes_of_other_heads() -> None:
    rng = np.random.default_rng(0)
    other = LinearHead(
        "o", ("a", "b"), *(rng.normal(size=s).astype(np.float32) for s in ((2, 3), 2))
    )
    hidden = make_hidden([other])
    x = rng.normal(size=(5, 3)).astype(np.float32)
    units = 1 / (1 + np.exp(-(x @ hidden.weight.T + hidden.bias)))
    np.testing.assert_allclose(units, other.compute_probabilities(x), atol=1e-6)


def test_few_or_missing_votes_are_refused() -> None:
    x, votes, _ = make_votes(60)
    with pytest.raises(TrainingError, match="too few"):
        fit_votes(x[:20], votes[:20], QUESTIONS, name="v")
    votes[3] = 0
    with pytest.raises(TrainingError, match="1 cutouts have no vote on 'shape'"):
        fit_votes(x, votes, QUESTIONS, name="v")


def test_a_network_learns_what_no_line_does_though_values_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hidden_units.NETWORKS", 1)
    views = np.random.default_rng(0).normal(size=(5000, 2, 3)).astype(np.float32)
    views[:, 1] = views[:, 0]
    values = np.tanh(5 * views[:, 0, :2])
    values[:500, 1] = np.nan
    found = train_network(views[:4000], values[:4000])
    error = found.compute(views[4000:, 0]) - values[4000:, 0]
    line = np.polyfit(views[:4000, 0, 0], values[:4000, 0], 1)
    assert error.std() < 0.8 * (np.polyval(line, views[4000:, 0, 0]) - values[4000:, 0]).std()
    assert found.hidden.weight.shape == (64, 3)
