"""The evaluation protocols on labelled embeddings, under the names by which they are reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.encoders.fused import ProjectionHead
from galmorph.errors import TrainingError
from galmorph.evaluation.classification import ClassMerge, find_by_knn, stratified_folds
from galmorph.evaluation.report import ProtocolResult, evaluate_labels
from galmorph.heads import LinearHead
from galmorph.heads.shares import SharesHead
from galmorph.quantities import Array
from galmorph.training.export import compute_projection
from galmorph.training.heads import fit_head
from galmorph.training.labelled import LabelledSet


@dataclass(frozen=True)
class Protocols:
    """Protocols on one test set; classes that `merge` joins count as one."""

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
        protocol = f"linear head {head.name!r} on the test set"
        return self._from_probabilities(protocol, probabilities, head.class_names, details, chosen)

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
        predicted = find_by_knn(
            train.embeddings, merged, self.test.embeddings, neighbours=self.neighbours
        )
        return self._from_labels("kNN, training part to test set", predicted, names)

    def check_same(self, other: LabelledSet) -> Array:
        """Embeddings of the same cutouts at another field of view."""
        if other.object_ids != self.test.object_ids:
            raise TrainingError("the fields of view do not leave the same cutouts to compare")
        return other.embeddings

    def cross_validated_probe(
        self, folds: int, fields: Mapping[str, Array] | None = None
    ) -> ProtocolResult:
        """A linear probe by stratified folds; penalty, temperature and field chosen inside."""
        test, probes = self.test, fields or {"": self.test.embeddings}
        probabilities = np.empty((len(test.labels), len(test.class_names)))
        chosen, fold = [], self._deal(folds)
        for number in range(folds):
            left = fold == number
            fits = {
                name: fit_head(
                    x[~left], test.labels[~left], test.class_names, name="probe", seed=self.seed
                )
                for name, x in probes.items()
            }
            best = min(fits, key=lambda name: fits[name].log_loss)
            chosen.append(best)
            probabilities[left] = fits[best].head.compute_probabilities(probes[best][left])
        return self._from_probabilities(
            f"linear probe, stratified {folds}-fold cross-validation",
            probabilities,
            test.class_names,
            {"folds": folds, **({"crops_chosen": chosen} if fields else {})},
        )

    def find_largest_fold(self, folds: int) -> int:
        """Number of cutouts in the largest fold: those that have no vote on each other."""
        return int(np.bincount(self._deal(folds)).max())

    def cross_validated_knn(self, folds: int) -> ProtocolResult:
        """Nearest neighbours in the other folds."""
        merged, names = self._merge_labels(self.test.labels, self.test.class_names)
        x, fold = self.test.embeddings, self._deal(folds)
        self._check_neighbours(len(fold) - self.find_largest_fold(folds))
        predicted = np.empty_like(merged)
        for number in range(folds):
            left = fold == number
            predicted[left] = find_by_knn(
                x[~left], merged[~left], x[left], neighbours=self.neighbours
            )
        return self._from_labels(f"kNN, stratified {folds}-fold cross-validation", predicted, names)

    def leave_one_out_knn(self, projection: ProjectionHead | None = None) -> ProtocolResult:
        """The authors' protocol, on the embedding, or as they did it on the projection."""
        vectors, what = self.test.embeddings, "embedding"
        if projection is not None:
            vectors, what = compute_projection(projection, vectors), "projection"
        merged, names = self._merge_labels(self.test.labels, self.test.class_names)
        self._check_neighbours(len(merged) - 1)
        predicted = find_by_knn(vectors, merged, neighbours=self.neighbours)
        protocol = f"leave-one-out kNN inside the test set, on the {what}"
        vote = "; test labels vote, as in Wei et al. 2022"
        return self._from_labels(protocol, predicted, names, vote)

    def _check_neighbours(self, available: int) -> None:
        if available < self.neighbours:
            raise TrainingError(
                f"{available} labelled cutouts cannot give {self.neighbours} neighbours; take "
                "fewer (--neighbours), or leave kNN out (--protocols)"
            )

    def _deal(self, folds: int) -> Array:
        try:
            names = self.test.class_names
            return stratified_folds(self.test.labels, folds, seed=self.seed, class_names=names)
        except ValueError as error:
            raise TrainingError(f"{error}; take fewer folds, or fewer classes") from error

    def _merge_labels(
        self, labels: Array, class_names: Sequence[str]
    ) -> tuple[Array, tuple[str, ...]]:
        names = self.merge.rename(class_names)
        table = np.array([names.index(self.merge.name_of(name)) for name in class_names])
        return table[labels], names

    def _true_labels(self, names: Sequence[str]) -> Array:
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
        probabilities: Array,
        class_names: Sequence[str],
        details: dict[str, Any],
        chosen: Array | None = None,
    ) -> ProtocolResult:
        names = self.merge.rename(class_names)
        merged = self.merge.merge_probabilities(probabilities, class_names)
        if chosen is not None:
            chosen, _ = self._merge_labels(chosen, class_names)
        predicted = merged.argmax(axis=1) if chosen is None else chosen
        return evaluate_labels(
            protocol,
            self._true_labels(names),
            predicted,
            names,
            probabilities=merged,
            seed=self.seed,
            details=details,
        )

    def _from_labels(
        self, protocol: str, predicted: Array, names: Sequence[str], vote: str = ""
    ) -> ProtocolResult:
        protocol = f"{protocol} (k = {self.neighbours}, cosine{vote})"
        return evaluate_labels(protocol, self._true_labels(names), predicted, names, seed=self.seed)
