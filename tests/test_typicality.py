"""Atypicality: calibrated on the training data, high elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from galmorph.errors import TrainingError
from galmorph.typicality import ATYPICAL_PERCENTILE, Doubts, Frames, Typicality, fit_typicality


def make_embeddings(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((6, 32))
    return (rng.standard_normal((n, 6)) @ mixing).astype(np.float32)


def fit() -> Typicality:
    return fit_typicality(make_embeddings(1500, 1), num_components=6, num_references=700)


def test_distance_is_the_mean_to_the_nearest() -> None:
    typicality = fit()
    embeddings = make_embeddings(5, 2)
    for got, embedding in zip(typicality.compute_distance(embeddings), embeddings, strict=True):
        white = (embedding - typicality.mean) @ typicality.components
        distances = sorted(np.linalg.norm(typicality.references - white, axis=1))
        np.testing.assert_allclose(got, np.mean(distances[: typicality.neighbours]), rtol=1e-3)


def test_percentile_of_fresh_data_is_uniform() -> None:
    percentile = fit().compute_atypicality(make_embeddings(2000, 3))
    assert abs(float((percentile < 50).mean()) - 0.5) < 0.06
    assert abs(float((percentile > 90).mean()) - 0.1) < 0.04


@pytest.mark.parametrize("count", [60, 300])
def test_few_embeddings_do_not_make_fresh_ones_atypical(count: int) -> None:
    rng = np.random.default_rng(8)
    mixing = rng.standard_normal((40, 512))
    embeddings = rng.standard_normal((count + 1000, 40)) @ mixing
    embeddings += 0.3 * rng.standard_normal(embeddings.shape)
    typicality = fit_typicality(embeddings[:count].astype(np.float32))
    fresh = typicality.compute_atypicality(embeddings[count:].astype(np.float32))
    assert (fresh > 99).mean() < 0.08


def test_too_few_embeddings_say_so() -> None:
    with pytest.raises(TrainingError, match="39 cutouts are too few to learn what is typical"):
        fit_typicality(make_embeddings(39, 1))


def test_far_data_are_atypical() -> None:
    far = make_embeddings(50, 4) * 5
    assert (fit().compute_atypicality(far) > 90).mean() > 0.9


def test_stored_and_read_back_it_says_the_same() -> None:
    typicality = fit()
    again = Typicality.from_parts(typicality.to_dict(), typicality.to_tensors())
    embeddings = make_embeddings(100, 5)
    np.testing.assert_allclose(
        again.compute_atypicality(embeddings), typicality.compute_atypicality(embeddings), atol=1.0
    )


def test_what_is_stored_stays_small() -> None:
    rng = np.random.default_rng(6)
    embeddings = rng.standard_normal((1500, 512), dtype=np.float32)
    stored = fit_typicality(embeddings).to_tensors().values()
    assert sum(array.nbytes for array in stored) < 600_000


def test_rows_without_an_embedding_stay_without() -> None:
    embeddings = make_embeddings(3, 7)
    embeddings[1] = np.nan
    np.testing.assert_array_equal(
        np.isnan(fit().compute_atypicality(embeddings)), [False, True, False]
    )


def test_doubts_rank_the_unsure_and_flag_what_is_no_galaxy() -> None:
    rng = np.random.default_rng(0)
    galaxies = rng.normal(size=(2000, 4)).astype(np.float32)
    weight = np.array([[0, 0, 0, 1], [3, 0, 0, 0], [-3, 0, 0, 0]], np.float32)
    draft = Doubts(weight, np.zeros(3, np.float32), np.zeros((2, 2), np.float32))
    levels = np.linspace(0, 1, 101)
    quantiles = np.quantile(draft.measure(galaxies), levels, axis=1).T.astype(np.float32)
    typical = replace(fit_typicality(galaxies), doubts=replace(draft, quantiles=quantiles))
    rows = np.array([[0.01, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 2.5], [1, 0, 0, 0]], np.float32)
    rows[3] *= 40  # far from all
    unsure, sure, strange, far = typical.compute_atypicality(rows)
    assert sure < 70 < 95 < unsure <= ATYPICAL_PERCENTILE < min(strange, far)
    flagged = (typical.compute_atypicality(galaxies) > ATYPICAL_PERCENTILE).mean()
    assert 0.04 < flagged < 0.08
    back = Typicality.from_parts(typical.to_dict(), typical.to_tensors())
    np.testing.assert_allclose(
        back.compute_atypicality(rows), typical.compute_atypicality(rows), atol=0.5
    )


def test_bad_frames_by_the_formula_and_back_from_their_parts() -> None:
    rng = np.random.default_rng(11)
    typical = fit_typicality(rng.normal(size=(200, 5)).astype(np.float32))
    weight, bias = rng.normal(size=(3, 5)).astype(np.float32), np.array([1, 0, -1], np.float32)
    frames = Frames(weight, bias)
    x = rng.normal(size=(30, 5)).astype(np.float32)
    for row, found in zip(x, frames.measure(x), strict=True):
        good, *bad = (float(np.dot(w, row) + b) for w, b in zip(weight, bias, strict=True))
        assert found == pytest.approx(np.log(sum(np.exp(z) for z in bad)) - good, abs=1e-5)
    kept = replace(typical, frames=frames)
    again = Typicality.from_parts(kept.to_dict(), kept.to_tensors())
    assert again.frames is not None
    np.testing.assert_array_equal(again.frames.measure(x), frames.measure(x))
    with pytest.raises(ValueError, match="no frames"):
        Frames(weight[:1], bias[:1])
