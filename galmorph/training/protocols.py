"""The evaluation protocols on labelled embeddings, under the names by which they are reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import TrainingError
from galmorph.evaluation.knn import knn_leave_one_out, knn_predict
from galmorph.evaluation.linear_probe import cross_validate, stratified_folds
from galmorph.evaluation.merging import ClassMerge
from galmorph.evaluation.report import ProtocolResult, evaluate_labels, evaluate_probabilities
from galmorph.heads import LinearHead
from galmorph.heads.shares import SharesHead
from galmorph.training.heads import fit_head
from galmorph.training.labelled import LabelledSet

if TYPE_CHECKING:
    from galmorph.encoders.fused import ProjectionHead

__all__ = ["Protocols"]


@dataclass(frozen=True)
class Protocols:
    """Protocols on one test set.

    Attributes
    ----------
    test : LabelledSet
        What is classified.
    merge : ClassMerge
        Classes that count as one, in true and in predicted labels. Probes and heads are fitted
        before the merge, and their probabilities added.
    neighbours : int
        k of every kNN.
    seed : int
        Of folds and bootstrap.
    crop : float, "auto" or None
        Field of view of the test set, for the record.
    """

    test: LabelledSet
    merge: ClassMerge
    neighbours: int = 15
    seed: int = 0
    crop: float | str | None = None

    def test_head(self, head: LinearHead) -> ProtocolResult:
        """A head that was fitted before, on the test set."""
        probabilities = head.compute_probabilities(self.test.embeddings)
        details = {"temperature": head.temperature, "crop": self.crop}
        chosen = head.choose(self.test.embeddings) if isinstance(head, SharesHead) else None
        return self._from_probabilities(
            f"linear head {head.name!r} on the test set",
            probabilities,
            head.class_names,
            details,
            chosen,
        )

    def linear_probe(self, train: LabelledSet) -> ProtocolResult:
        """A linear probe fitted on the training part."""
        head = fit_head(
            train.embeddings, train.labels, train.class_names, name="probe", seed=self.seed
        ).head
        return self._from_probabilities(
            "linear probe, training part to test set",
            head.compute_probabilities(self.test.embeddings),
            head.class_names,
            {**head.notes, "temperature": head.temperature},
        )

    def knn(self, train: LabelledSet) -> ProtocolResult:
        """Nearest neighbours in the training part."""
        merged, names = self._merge_labels(train.labels, train.class_names)
        self._check_neighbours(len(train.labels))
        predicted = knn_predict(
            train.embeddings, merged, self.test.embeddings, neighbours=self.neighbours
        )
        return self._from_labels(
            f"kNN, training part to test set (k = {self.neighbours}, cosine)", predicted, names
        )

    def check_same(self, other: LabelledSet) -> npt.NDArray[np.float32]:
        """Embeddings of the same cutouts at another field of view.

        Raises
        ------
        TrainingError
            They are not the same cutouts: some cannot be embedded at one of the fields.
        """
        if other.object_ids != self.test.object_ids:
            raise TrainingError("the fields of view do not leave the same cutouts to compare")
        return other.embeddings

    def cross_validated_probe(
        self, folds: int, fields: Mapping[str, npt.NDArray[Any]] | None = None
    ) -> ProtocolResult:
        """A linear probe by stratified folds; penalty and temperature chosen inside each.

        Parameters
        ----------
        folds : int
        fields : mapping of str to ndarray (n, num_features), optional
            Embeddings at several fields of view; the one with the smallest cross-validated log
            loss is chosen inside each fold as well.
        """
        choice = _FieldChoice(list((fields or {"": self.test.embeddings}).values()), self)
        probabilities = cross_validate(
            choice.joined, self.test.labels, choice.fit, self._deal(folds)
        )
        names = list(fields or {})
        chosen = [names[i] for i in choice.chosen] if fields else []
        return self._from_probabilities(
            f"linear probe, stratified {folds}-fold cross-validation",
            probabilities,
            self.test.class_names,
            {"folds": folds, "crops_chosen": chosen} if chosen else {"folds": folds},
        )

    def find_largest_fold(self, folds: int) -> int:
        """Number of cutouts in the largest fold: those that have no vote on each other.

        Raises
        ------
        TrainingError
            A class has too few cutouts for so many folds.
        """
        return int(np.bincount(self._deal(folds)).max())

    def cross_validated_knn(self, folds: int) -> ProtocolResult:
        """Nearest neighbours in the other folds."""
        merged, names = self._merge_labels(self.test.labels, self.test.class_names)

        def fit(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Callable[[Any], Any]:
            def vote(queries: npt.NDArray[Any]) -> npt.NDArray[Any]:
                found = knn_predict(x, y, queries, neighbours=self.neighbours)
                return np.eye(len(names))[found]

            return vote

        fold = self._deal(folds)
        self._check_neighbours(len(fold) - self.find_largest_fold(folds))
        votes = cross_validate(self.test.embeddings, merged, fit, fold)
        return self._from_labels(
            f"kNN, stratified {folds}-fold cross-validation (k = {self.neighbours}, cosine)",
            votes.argmax(axis=1),
            names,
        )

    def leave_one_out_knn(self) -> ProtocolResult:
        """The authors' protocol, on the embedding."""
        return self._leave_one_out(self.test.embeddings, "embedding")

    def leave_one_out_knn_on_projection(self, head: ProjectionHead) -> ProtocolResult:
        """The authors' protocol as they did it, on the projection."""
        from galmorph.training.export import compute_projection

        projection = compute_projection(head, self.test.embeddings)
        return self._leave_one_out(projection, "projection")

    def _leave_one_out(self, vectors: npt.NDArray[Any], what: str) -> ProtocolResult:
        merged, names = self._merge_labels(self.test.labels, self.test.class_names)
        self._check_neighbours(len(merged) - 1)
        predicted = knn_leave_one_out(vectors, merged, neighbours=self.neighbours)
        return self._from_labels(
            f"leave-one-out kNN inside the test set, on the {what} (k = {self.neighbours}, "
            "cosine; test labels vote, as in Wei et al. 2022)",
            predicted,
            names,
        )

    def _check_neighbours(self, available: int) -> None:
        if available < self.neighbours:
            raise TrainingError(
                f"{available} labelled cutouts cannot give {self.neighbours} neighbours; take "
                "fewer (--neighbours), or leave kNN out (--protocols)"
            )

    def _deal(self, folds: int) -> npt.NDArray[np.int64]:
        try:
            names = self.test.class_names
            return stratified_folds(self.test.labels, folds, seed=self.seed, class_names=names)
        except ValueError as error:
            raise TrainingError(f"{error}; take fewer folds, or fewer classes") from error

    def _merge_labels(
        self, labels: npt.NDArray[Any], class_names: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        names = self.merge.rename(class_names)
        table = np.array([names.index(self.merge.name_of(name)) for name in class_names])
        return table[labels], names

    def _true_labels(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        """True classes as indices into ``names``."""
        merged, own = self._merge_labels(self.test.labels, self.test.class_names)
        unknown = [name for name in own if name not in names]
        if unknown:
            raise TrainingError(
                f"the test set has the classes {', '.join(unknown)}, which are not among "
                f"{', '.join(names)}; join classes with --merge, or keep some with --classes"
            )
        return np.array([names.index(name) for name in own])[merged]

    def _from_probabilities(
        self,
        protocol: str,
        probabilities: npt.NDArray[Any],
        class_names: Sequence[str],
        details: dict[str, Any],
        chosen: npt.NDArray[Any] | None = None,
    ) -> ProtocolResult:
        names = self.merge.rename(class_names)
        merged = self.merge.merge_probabilities(probabilities, class_names)
        if chosen is not None:
            chosen, _ = self._merge_labels(chosen, class_names)
        return evaluate_probabilities(
            protocol,
            self._true_labels(names),
            merged,
            names,
            predicted=chosen,
            seed=self.seed,
            details=details,
        )

    def _from_labels(
        self, protocol: str, predicted: npt.NDArray[Any], names: Sequence[str]
    ) -> ProtocolResult:
        return evaluate_labels(protocol, self._true_labels(names), predicted, names, seed=self.seed)


class _FieldChoice:
    """Probes on embeddings at several fields of view, side by side in one array."""

    def __init__(self, fields: list[npt.NDArray[Any]], protocols: Protocols) -> None:
        self.joined = np.concatenate(fields, axis=1)  # (n, fields * num_features)
        self.count = len(fields)
        self.protocols = protocols
        self.chosen: list[int] = []

    def _split(self, joined: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        return np.split(joined, self.count, axis=1)

    def fit(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Callable[[Any], Any]:
        """Probe at the best field, judged by cross-validation on these rows."""
        names, seed = self.protocols.test.class_names, self.protocols.seed
        fits = [fit_head(part, y, names, name="probe", seed=seed) for part in self._split(x)]
        best = min(range(self.count), key=lambda i: fits[i].log_loss)
        self.chosen.append(best)
        head = fits[best].head
        return lambda queries: head.compute_probabilities(self._split(queries)[best])
