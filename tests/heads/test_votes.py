"""Vote heads: shares, reach, intervals and words."""

import math

import numpy as np
import pytest
from galaxy_zoo_tree import GZ2_CODES, GZ2_QUESTIONS

from galmorph.heads import head_from_parts
from galmorph.heads.votes import Question, VoteHead, compute_reach, find_interval

QUESTIONS = (
    Question("shape", ("smooth", "disk"), words=("smooth", "featured")),
    Question("bar", ("yes", "no"), "shape_disk", ("barred", "")),
)


def make_head(voters: int = 40) -> VoteHead:
    weight = np.zeros((4, 3), np.float32)
    weight[1, 0], weight[2, 1] = 1, 1  # disks by the first feature, bars by the second
    nothing = np.zeros((1, 2), np.float32)
    return VoteHead(
        "v",
        QUESTIONS,
        weight,
        np.zeros(4, np.float32),
        np.array([20, 20], np.float32),
        nothing,
        np.zeros(1, np.float32),
        voters,
    )


def test_shares_reach_and_words() -> None:
    filled = make_head().fill(np.array([[3, 2], [-3, 2], [np.nan, 0]], np.float32))
    disk = 1 / (1 + math.exp(-3))
    assert filled["shape_disk_fraction"][:2] == pytest.approx([disk, 1 - disk], abs=1e-6)
    assert filled["bar_proportion_volunteers_asked"][0] == pytest.approx(disk, abs=1e-6)
    assert filled["bar_relevant"].tolist() == [True, False, False]
    assert filled["label"][:2] == ["featured, barred", "smooth"]
    assert filled["confidence"][:2] == pytest.approx([disk, disk], abs=1e-6)
    assert np.isnan(filled["bar_yes_fraction"][2])


def test_columns_are_those_that_are_filled() -> None:
    head = make_head()
    assert [c.name for c in head.columns()] == list(head.fill(np.zeros((1, 2), np.float32)))


def naive_beta_binomial(n: int, a: float, b: float) -> np.ndarray:
    def beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    return np.array(
        [math.comb(n, k) * math.exp(beta(k + a, n - k + b) - beta(a, b)) for k in range(n + 1)]
    )


@pytest.mark.parametrize(("share", "count"), [(0.5, 40), (0.12, 40), (0.9, 7), (0.3, 1)])
def test_ends_of_intervals_lie_in_the_steps_of_the_distribution(share: float, count: int) -> None:
    low, high = find_interval(np.array([[share, 1 - share]]), 15.0, np.array([count]))
    mass = naive_beta_binomial(count, 15 * share, 15 * (1 - share))
    below = np.cumsum(mass) - mass / 2
    ends = np.interp([0.1, 0.9], below, np.arange(count + 1) / count)
    assert low[0, 0] == pytest.approx(min(ends[0], share), abs=1e-5)
    assert high[0, 0] == pytest.approx(max(ends[1], share), abs=1e-5)


def test_rows_of_one_call_do_not_change_each_other() -> None:
    shares, counts = np.array([[0.3, 0.7], [0.6, 0.4]]), np.array([40, 3])
    together = find_interval(shares, 9.0, counts)
    for row in (0, 1):
        alone = find_interval(shares[row : row + 1], 9.0, counts[row : row + 1])
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_[row], atol=1e-6)


def test_intervals_of_many_voters_hold_four_in_five() -> None:
    rng = np.random.default_rng(0)
    truth = rng.dirichlet([12, 8], 4000)
    seen = rng.binomial(40, truth[:, 0]) / 40
    low, high = find_interval(np.array([[0.6, 0.4]]), 20.0, np.array([40]))
    assert ((seen >= low[0, 0]) & (seen <= high[0, 0])).mean() == pytest.approx(0.8, abs=0.04)


def test_a_head_comes_back_from_its_parts() -> None:
    head = make_head(voters=25)
    back = head_from_parts("v", head.to_dict(), head.to_tensors())
    assert back.to_dict() == head.to_dict() and back.compute_sha256() == head.compute_sha256()


@pytest.mark.parametrize(
    "questions",
    [QUESTIONS[::-1][:1], (Question("a", ("x", "y")), Question("b", ("x", "y"), "a_z"))],
)
def test_questions_follow_answers(questions: tuple[Question, ...]) -> None:
    with pytest.raises(ValueError, match="no answer leads to"):
        VoteHead("v", questions, *(np.zeros(0, np.float32),) * 3, np.zeros((0, 2)), np.zeros(0))


def test_the_tree_of_galaxy_zoo() -> None:
    answers = [column for question in GZ2_QUESTIONS for column in question.columns]
    assert len(answers) == len(GZ2_CODES) == len(set(GZ2_CODES)) == 37
    assert dict(zip(GZ2_CODES, answers, strict=True))[38] == "odd-feature_dust-lane"
    everyone = np.concatenate([np.full(len(q.answers), 1 / len(q.answers)) for q in GZ2_QUESTIONS])
    reach = compute_reach(GZ2_QUESTIONS, everyone[None])[0]
    want = [1, 1 / 3, 1 / 6, 1 / 6, 1 / 6, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 12, 1 / 12]
    assert reach == pytest.approx(want)
