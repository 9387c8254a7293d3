"""Vote heads: questions, the expected share of every answer, an interval for so many voters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from galmorph.heads.base import Head, add_hidden
from galmorph.heads.linear import softmax
from galmorph.quantities import Array
from galmorph.tables.columns import ColumnSpec

COVERAGE = 0.8  # probability that the share of the voters lies in the interval
RELEVANT = 0.5  # a question says something where this part of the people reach it
_LABEL = (
    "The answers with the largest shares to the relevant questions, in words; empty where the "
    "cutout could not be classified"
)
_CONFIDENCE = "Expected share of the first of these answers"
VOTERS = 40  # people who look at one galaxy, about as many as in Galaxy Zoo 2


@dataclass(frozen=True)
class Question:
    """A question, asked `after` a ``question_answer`` or of all; `words` are for the label."""

    name: str
    answers: tuple[str, ...]
    after: str = ""
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.answers)) < max(2, len(self.answers)):
            raise ValueError(f"{self.name}: two or more different answers, not {self.answers}")
        if not self.words:
            object.__setattr__(self, "words", self.answers)
        if len(self.words) != len(self.answers):
            raise ValueError(
                f"{self.name}: {len(self.answers)} answers but {len(self.words)} words"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """``question_answer`` for each answer."""
        return tuple(f"{self.name}_{answer}" for answer in self.answers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        name, answers, after, words = (values[k] for k in ("name", "answers", "after", "words"))
        return cls(name, tuple(answers), after, tuple(words))


def slice_answers(questions: Sequence[Question]) -> Iterator[tuple[Question, slice]]:
    """Each question with its part of an axis on which all answers lie in order."""
    begin = 0
    for question in questions:
        yield question, slice(begin, begin + len(question.answers))
        begin += len(question.answers)


def compute_reach(questions: Sequence[Question], shares: Array) -> Array:
    """Part of the people who come to each question, (n, answers) to (n, questions)."""
    part_of: dict[str, Array] = {"": np.ones_like(shares[:, 0])}
    reach = np.empty((len(shares), len(questions)), dtype=shares.dtype)
    for place, (question, answers) in enumerate(slice_answers(questions)):
        reach[:, place] = part_of[question.after]
        for column, share in zip(question.columns, shares[:, answers].T, strict=True):
            part_of[column] = reach[:, place] * share
    return reach


@dataclass(frozen=True)
class VoteHead(Head):
    """Questions with shares, which depend linearly on embedding and hidden units."""

    kind: ClassVar[str] = "votes"
    ARRAYS: ClassVar[tuple[str, ...]] = (
        *("weight", "bias", "concentration"),
        *("hidden_weight", "hidden_bias"),
    )
    questions: tuple[Question, ...]  # each behind that to which its `after` belongs
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    concentration: npt.NDArray[np.float32]  # (num_questions,), of Dirichlet's distribution
    hidden_weight: npt.NDArray[np.float32]
    hidden_bias: npt.NDArray[np.float32]
    voters: int = VOTERS  # for whom the intervals are

    def __post_init__(self) -> None:
        known = {"", *(c for q in self.questions for c in q.columns)}
        lost = [q.name for q in self.questions if q.after not in known]
        if lost:
            raise ValueError(f"no answer leads to the questions {lost}")
        answers = sum(len(q.answers) for q in self.questions)
        width = sum(self.hidden_weight.shape)
        shapes = [
            (self.weight, (answers, width)),
            (self.bias, (answers,)),
            (self.concentration, (len(self.questions),)),
            (self.hidden_bias, self.hidden_weight.shape[:1]),
        ]
        wrong = [(array.shape, shape) for array, shape in shapes if array.shape != shape]
        if wrong or self.voters < 1 or not (self.concentration > 0).all():
            raise ValueError(f"{self.name}: {answers} answers, {self.voters} voters; {wrong}")

    @property
    def num_features(self) -> int:
        return int(self.hidden_weight.shape[1])

    def compute_shares(self, embeddings: Array) -> Array:
        """Of each answer among those who reach its question, (n, d) to (n, num_answers)."""
        features = add_hidden(embeddings, self.hidden_weight, self.hidden_bias)
        logits = features @ self.weight.T + self.bias
        parts = [softmax(logits[:, answers]) for _, answers in slice_answers(self.questions)]
        return np.concatenate(parts, axis=1)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c for question in self.questions for c in question.columns)

    def columns(self) -> tuple[ColumnSpec, ...]:
        """Label, its share, and for each question its reach, relevance, shares and intervals."""
        return (
            ColumnSpec("label", "str", "", "meta.code.class;src.morph.type", _LABEL),
            ColumnSpec("confidence", "float32", "", "stat.probability", _CONFIDENCE),
            *(spec for question in self.questions for spec in self._question_columns(question)),
        )

    def _question_columns(self, question: Question) -> list[ColumnSpec]:
        name, chance = question.name, "stat.probability"
        asked = f"Expected part of the people who reach the question {name}"
        relevant = f"Whether at least {RELEVANT:.0%} of them reach {name}"
        specs = [
            ColumnSpec(f"{name}_proportion_volunteers_asked", "float32", "", chance, asked),
            ColumnSpec(f"{name}_relevant", "bool", "", "meta.code", relevant),
        ]
        end = f"end of the {COVERAGE:.0%} interval of that share ({{}}, {{}}) for"
        texts = {
            "fraction": "Expected share of {} among those who reach {}",
            "fraction_low": f"Lower {end} {self.voters} voters",
            "fraction_high": f"Upper {end} {self.voters} voters",
        }
        kind = ("float32", "", f"{chance};src.morph.type")
        for answer, column in zip(question.answers, question.columns, strict=True):
            told = {suffix: text.format(answer, name) for suffix, text in texts.items()}
            specs += [ColumnSpec(f"{column}_{end}", *kind, said) for end, said in told.items()]
        return specs

    def fill(self, embeddings: Array) -> dict[str, Any]:
        shares = self.compute_shares(embeddings)
        reach = compute_reach(self.questions, shares)
        filled: dict[str, Any] = {"label": [], "confidence": []}
        for place, (question, answers) in enumerate(slice_answers(self.questions)):
            asked, part = reach[:, place], shares[:, answers]
            filled[f"{question.name}_proportion_volunteers_asked"] = asked
            filled[f"{question.name}_relevant"] = asked >= RELEVANT
            count = np.maximum(np.rint(np.nan_to_num(self.voters * asked)), 1)
            low, high = find_interval(part, float(self.concentration[place]), count)
            for k, column in enumerate(question.columns):
                filled[f"{column}_fraction"] = part[:, k]
                filled[f"{column}_fraction_low"] = low[:, k]
                filled[f"{column}_fraction_high"] = high[:, k]
        filled["label"] = [self._describe_row(*row) for row in zip(shares, reach, strict=True)]
        filled["confidence"] = shares[:, : len(self.questions[0].answers)].max(axis=1)
        return filled

    def _describe_row(self, shares: Array, reach: Array) -> str:
        """The word of the largest share, for each question that matters."""
        words = [
            question.words[int(shares[answers].argmax())]
            for asked, (question, answers) in zip(reach, slice_answers(self.questions), strict=True)
            if asked >= RELEVANT
        ]
        return ", ".join(word for word in words if word)

    def describe(self) -> dict[str, Any]:
        return {"questions": [q.to_dict() for q in self.questions], "voters": self.voters}

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        questions = tuple(map(Question.from_dict, values["questions"]))
        return {"questions": questions, "voters": int(values["voters"])}


def find_interval(shares: Array, concentration: float, count: Array) -> tuple[Array, Array]:
    """Ends (n, k) between which the share of ``count`` (n,) voters lies with `COVERAGE`."""
    n = count[:, None, None]
    votes = np.arange(int(count.max(initial=1)))  # (m,): from so many votes to one more
    a = concentration * np.clip(shares.astype(np.float64), 1e-6, 1 - 1e-6)[:, :, None]
    b = concentration - a
    left = n - votes
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.log(np.maximum(left, 0)) + np.log(a + votes)
        step -= np.log(votes + 1) + np.log(np.maximum(b + left - 1, 1e-12))
    level = np.cumsum(np.concatenate([np.zeros_like(a), step], axis=2), axis=2)
    level[np.isnan(level)] = -np.inf  # beyond the last vote
    mass = np.exp(level - level.max(axis=2, keepdims=True))
    mass /= mass.sum(axis=2, keepdims=True)
    below = np.cumsum(mass, axis=2) - mass / 2
    ends = [_invert(below, q) / count[:, None] for q in (0.5 - COVERAGE / 2, 0.5 + COVERAGE / 2)]
    low, high = (np.clip(end, 0, 1).astype(np.float32) for end in ends)
    return np.minimum(low, shares), np.maximum(high, shares)


def _invert(below: Array, quantile: float) -> Array:
    """Votes at which a distribution function, sampled at whole numbers, reaches a quantile."""
    above = (below < quantile).sum(axis=2)  # (n, k): first whole number at or above it
    right = np.minimum(above, below.shape[2] - 1)
    left = np.maximum(above - 1, 0)
    f0, f1 = (np.take_along_axis(below, i[:, :, None], axis=2)[:, :, 0] for i in (left, right))
    part = np.where(f1 > f0, (quantile - f0) / np.where(f1 > f0, f1 - f0, 1), 0.0)
    return np.where(above == 0, 0.0, left + np.clip(part, 0, 1) * (right - left))
