"""Questions that people answer by votes, some of them only after an answer to another one."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from galmorph.quantities import Array


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
