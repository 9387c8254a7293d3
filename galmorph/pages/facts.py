"""What a report says of a run, in numbers: columns by their meaning, counts, and rows to show."""

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.flags import NO_LABEL, decode_flags
from galmorph.saved import SavedRun

UNSURE = 0.5
ASKED = "_proportion_volunteers_asked"
SHARE_UCD = "stat.probability;src.morph.type"
LABEL_UCD = "meta.code.class;src.morph.type"

Floats = npt.NDArray[np.floating[Any]]


class Facts:
    """Counts of a run, and places of rows that are worth a look; reads no embeddings."""

    def __init__(self, saved: SavedRun) -> None:
        self.saved, self.meta = saved, saved.provenance
        asked = [name for name in saved.specs if name.endswith(ASKED)]
        names = ["object_id", *self.share_names, *asked, "confidence", "atypicality", "flags"]
        self._columns: dict[str, Any] = saved.columns([*names, "ra", "dec", *self._label_names])
        self.rows = len(self._columns["object_id"])

    @property
    def _label_names(self) -> list[str]:
        specs = self.saved.specs
        found = [n for n, s in specs.items() if s.ucd == LABEL_UCD and s.is_text]
        return found[:1] or [n for n in ("label",) if n in specs]

    @cached_property
    def share_names(self) -> list[str]:
        """Columns of shares or probabilities, without the ends of their intervals."""
        specs = self.saved.specs
        by_ucd = [n for n, s in specs.items() if s.ucd == SHARE_UCD and s.is_float]
        found = by_ucd or [n for n in specs if n.startswith("p_")]
        return [n for n in found if not n.endswith(("_low", "_high"))]

    def numbers(self, name: str) -> Floats:
        """A column of numbers, NaN where there is none."""
        values = self._columns.get(name)
        if values is None:
            return np.full(self.rows, np.nan)
        return np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)

    @cached_property
    def labels(self) -> npt.NDArray[np.str_]:
        """One per row; empty where there is none."""
        found = [self._columns[name] for name in self._label_names]
        return np.array(found[0] if found else [""] * self.rows, dtype=np.str_)

    @cached_property
    def flags(self) -> npt.NDArray[np.int64]:
        """Bit masks."""
        values = np.ma.asarray(self._columns.get("flags", np.zeros(self.rows)))
        return np.ma.filled(values, 0).astype(np.int64)

    @cached_property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Rows without a result."""
        return np.asarray((self.flags & NO_LABEL.value) != 0)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Rows, failed and unsure ones."""
        unsure = self.numbers("confidence") < UNSURE
        return {"rows": self.rows, "failed": int(self.failed.sum()), "unsure": int(unsure.sum())}

    @cached_property
    def classes(self) -> Counter[str]:
        """Rows per label."""
        return Counter(sorted(filter(None, self.labels.tolist())))

    @cached_property
    def shares(self) -> dict[str, float]:
        """Mean of each share; of an answer, among those who reach its question."""
        found = {}
        for name in self.share_names:
            values, weights = self.numbers(name), self._reach(name)
            good = np.isfinite(values) & np.isfinite(weights)
            if weights[good].sum() > 0:
                found[name] = float(np.average(values[good], weights=weights[good]))
        return found

    def _reach(self, name: str) -> Floats:
        """Part of the people who reach the question of a share; 1 where all do."""
        asked = (n for n in self._columns if n.endswith(ASKED))
        own = next((n for n in asked if name.startswith(n.removesuffix(ASKED) + "_")), None)
        return np.ones(self.rows) if own is None else self.numbers(own)

    @cached_property
    def remarks(self) -> Counter[str]:
        """Rows with a result per flag."""
        found: Counter[str] = Counter()
        masks, counts = np.unique(self.flags[~self.failed], return_counts=True)
        for mask, count in zip(masks.tolist(), counts.tolist(), strict=True):
            for name in decode_flags(mask):
                found[name] += count
        return found

    def extremes(
        self, name: str, count: int, chosen: Any = True, *, low: bool = False
    ) -> list[int]:
        """Rows of the largest values of a column, or of the smallest."""
        values = self.numbers(name) * (-1 if low else 1)
        values = np.where(np.isfinite(values) & chosen & ~self.failed, values, -np.inf)
        best = np.argsort(-values, kind="stable")[:count]
        return [int(k) for k in best if np.isfinite(values[k])]
