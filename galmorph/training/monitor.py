"""How good the embedding is while it is being trained: kNN on a sample of labelled images."""

import numpy as np
import torch
from torch import Tensor, nn

from galmorph.evaluation.classification import NEIGHBOURS, compute_accuracy, find_by_knn
from galmorph.quantities import Array
from galmorph.training.data import TrainingSet
from galmorph.training.views import make_eval_view

SAMPLE = 2000
BATCH_SIZE = 128


class KnnMonitor:
    """Leave-one-out kNN accuracy inside a fixed sample of the training images: a curve to watch."""

    def __init__(
        self, data: TrainingSet, *, field: float, seed: int = 0, hold_out: float = 0.0
    ) -> None:
        self.data, self.field, self.hold_out = data, field, hold_out
        self.rows = _choose_rows(data, seed, hold_out)

    def __bool__(self) -> bool:
        return len(self.rows) > NEIGHBOURS

    def explain(self) -> str:
        """Why there will be no curve; "" where there will be one, or nothing has a class."""
        if self or (self.data.labels < 0).all():
            return ""
        kind = "held-out labels" if self.hold_out > 0 else "labels"
        return f"no kNN curve: it takes {NEIGHBOURS + 1} {kind} of one source, not {len(self.rows)}"

    def measure(self, encoder: nn.Module, mean: Tensor, std: Tensor) -> float:
        """Accuracy now; the encoder is left as it was."""
        training = encoder.training
        encoder.eval()
        embeddings = [
            self._embed(encoder, self.rows[i : i + BATCH_SIZE], mean, std)
            for i in range(0, len(self.rows), BATCH_SIZE)
        ]
        encoder.train(training)
        labels = self.data.labels[self.rows]
        return compute_accuracy(labels, find_by_knn(np.concatenate(embeddings), labels))

    def _embed(self, encoder: nn.Module, rows: Array, mean: Tensor, std: Tensor) -> Array:
        images = torch.from_numpy(self.data.images[rows]).to(mean.device)
        size: int = encoder.img_size  # type: ignore[assignment]
        with torch.inference_mode():
            views = make_eval_view(images, img_size=size, field=self.field)
            embedding: Array = encoder((views - mean) / std).cpu().numpy()
        return embedding


def _choose_rows(data: TrainingSet, seed: int, hold_out: float) -> Array:
    usable = data.labels >= 0
    if hold_out > 0:
        usable &= data.hold_out(hold_out).labels < 0
    for domain, names in enumerate(data.class_names):
        rows = np.flatnonzero((data.domains == domain) & usable)
        if len(names) > 1 and len(rows):
            chosen = np.random.default_rng(seed).permutation(rows)[:SAMPLE]
            return np.sort(chosen)
    return np.empty(0, dtype=np.int64)
