"""The evaluation protocols on labelled embeddings, under the names by which they are reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import TrainingError
from galmorph.evaluation.knn import knn_leave_one_out, knn_predict
from galmorph.evaluation.linear_probe import cross_validate, stratified_folds
from galmorph.evaluation.merging import ClassMerge
from galmorph.evaluation.report import ProtocolResult, evaluate_labels, evaluate_probabilities
from galmorph.heads import LinearHead
from galmorph.training.heads import fit_head
from galmorph.training.labelled import LabelledSet

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
    """

    test: LabelledSet
    merge: ClassMerge
    neighbours: int = 15
    seed: int = 0

    def test_head(self, head: LinearHead) -> ProtocolResult:
        """A head that was fitted before, on the test set."""
        probabilities = head.compute_probabilities(self.test.embeddings)
        details = {"temperature": head.temperature, "crop": head.crop}
        return self._from_probabilities(
            f"linear head {head.name!r} on the test set", probabilities, head.class_names, details
        )

    def linear_probe(self, train: LabelledSet) -> ProtocolResult:
        """A linear probe fitted on the training part."""
        head = fit_head(
            train.embeddings, train.labels, train.class_names, name="probe", seed=self.seed
        )
        return self._from_probabilities(
            "linear probe, training part to test set",
            head.compute_probabilities(self.test.embeddings),
            head.class_names,
            {**head.notes, "temperature": head.temperature},
        )

    def knn(self, train: LabelledSet) -> ProtocolResult:
        """Nearest neighbours in the training part."""
        merged, names = self._merge_labels(train.labels, train.class_names)
        predicted = knn_predict(
            train.embeddings, merged, self.test.embeddings, neighbours=self.neighbours
        )
        return self._from_labels(
            f"kNN, training part to test set (k = {self.neighbours}, cosine)", predicted, names
        )

    def cross_validated_probe(self, folds: int) -> ProtocolResult:
        """A linear probe by stratified folds; penalty and temperature chosen inside each."""
        test = self.test

        def fit(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Callable[[Any], Any]:
            head = fit_head(x, y, test.class_names, name="probe", seed=self.seed)
            return head.compute_probabilities

        probabilities = cross_validate(test.embeddings, test.labels, fit, self._deal(folds))
        return self._from_probabilities(
            f"linear probe, stratified {folds}-fold cross-validation",
            probabilities,
            test.class_names,
            {"folds": folds},
        )

    def cross_validated_knn(self, folds: int) -> ProtocolResult:
        """Nearest neighbours in the other folds."""
        merged, names = self._merge_labels(self.test.labels, self.test.class_names)

        def fit(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Callable[[Any], Any]:
            def vote(queries: npt.NDArray[Any]) -> npt.NDArray[Any]:
                found = knn_predict(x, y, queries, neighbours=self.neighbours)
                return np.eye(len(names))[found]

            return vote

        votes = cross_validate(self.test.embeddings, merged, fit, self._deal(folds))
        return self._from_labels(
            f"kNN, stratified {folds}-fold cross-validation (k = {self.neighbours}, cosine)",
            votes.argmax(axis=1),
            names,
        )

    def leave_one_out_knn(self) -> ProtocolResult:
        """The authors' protocol, on the embedding."""
        return self._leave_one_out(self.test.embeddings, "embedding")

    def leave_one_out_knn_on_projection(self, checkpoint: str) -> ProtocolResult:
        """The authors' protocol as they did it, on the projection."""
        from galmorph.training.export import compute_projection, load_projection

        projection = compute_projection(load_projection(checkpoint), self.test.embeddings)
        return self._leave_one_out(projection, "projection")

    def _leave_one_out(self, vectors: npt.NDArray[Any], what: str) -> ProtocolResult:
        merged, names = self._merge_labels(self.test.labels, self.test.class_names)
        predicted = knn_leave_one_out(vectors, merged, neighbours=self.neighbours)
        return self._from_labels(
            f"leave-one-out kNN inside the test set, on the {what} (k = {self.neighbours}, "
            "cosine; test labels vote, as in Wei et al. 2022)",
            predicted,
            names,
        )

    def _deal(self, folds: int) -> npt.NDArray[np.int64]:
        try:
            return stratified_folds(self.test.labels, folds, seed=self.seed)
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
    ) -> ProtocolResult:
        names = self.merge.rename(class_names)
        merged = self.merge.merge_probabilities(probabilities, class_names)
        labels = self._true_labels(names)
        return evaluate_probabilities(
            protocol, labels, merged, names, seed=self.seed, details=details
        )

    def _from_labels(
        self, protocol: str, predicted: npt.NDArray[Any], names: Sequence[str]
    ) -> ProtocolResult:
        return evaluate_labels(
            protocol, self._true_labels(names), predicted, names, seed=self.seed
        )
