"""Labels by hand, each on disk before anything else happens, and a head learnt from them."""

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import CatalogueError, GalmorphError, TrainingError
from galmorph.explorer.galaxies import WAY_OUT, Galaxies
from galmorph.heads import LinearHead, make_class_name
from galmorph.model import compute_signature, write_heads
from galmorph.neighbours.vectors import list_blocks
from galmorph.pipeline import load_model
from galmorph.training.heads import fit_head
from galmorph.writing import write_whole

FIELDS = ("object_id", "path", "label")  # as `galmorph fit labels.csv IMAGES` reads them
PENALTY = 100.0  # on all labels together: by few, and those picked, none is chosen well
Key = tuple[str, str]


class Labels:
    """Labels of the rows of a run, by number of the row, and the file that holds them.

    What stands in the file for galaxies of other runs stays there.
    """

    def __init__(self, path: str | Path, object_ids: Any, paths: Any) -> None:
        self.path = Path(path)
        self._ids, self._paths = object_ids, paths
        self._rows: dict[Key, int] = {}
        self._stored: dict[Key, str] = {}
        self._before: list[tuple[int, str]] = []
        self._stamp: tuple[int, int] | None = None
        self._refresh()

    @property
    def rows(self) -> dict[int, str]:
        """Label by number of the row, in the order in which they were given."""
        return {self._rows[k]: label for k, label in self._stored.items() if k in self._rows}

    def get(self, row: int) -> str:
        """The label of a row, "" for none."""
        return self._stored.get(self._make_key(row), "")

    def count(self) -> Counter[str]:
        """How often each label was given in this run."""
        return Counter(self.rows.values())

    def put(self, row: int, label: str) -> None:
        """Give a row a label, "" to take it away; it is on disk when this returns."""
        before = self.get(row)
        self._write(row, label)
        self._before.append((row, before))

    def undo(self) -> int | None:
        """Take back the last one; gives its row."""
        if not self._before:
            return None
        row, label = self._before[-1]
        self._write(row, label)
        self._before.pop()
        return row

    def _write(self, row: int, label: str) -> None:
        self._refresh()
        changed = dict(self._stored)
        key = self._make_key(row)
        changed.pop(key, None)
        if label:
            changed[key] = label
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows((*key, label) for key, label in changed.items())
        write_whole(self.path, text.getvalue().encode("utf-8", "surrogateescape"))
        self._rows[key] = row
        self._stored, self._stamp = changed, self._find_stamp()

    def _refresh(self) -> None:
        """Read the file where somebody else has written it."""
        stamp = self._find_stamp()
        if stamp is None or stamp == self._stamp:
            return
        with self.path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            if not {"object_id", "label"} <= set(reader.fieldnames or ()):
                raise CatalogueError(
                    f"{self.path}: is there already, and no table of labels (columns object_id, "
                    "label); name another file with --labels"
                )
            found = [(r["object_id"], r.get("path") or "", r["label"]) for r in reader]
        self._stored, self._stamp = self._place(found), stamp

    def _place(self, found: Sequence[tuple[str, str, str]]) -> dict[Key, str]:
        """Labels by key; one without a path belongs to the first row of its identifier."""
        wanted, first = {i for i, _, _ in found}, dict[str, Key]()
        for row, each in enumerate(self._ids if wanted else ()):
            if str(each) in wanted:
                key = self._make_key(row)
                self._rows[key] = row
                first.setdefault(key[0], key)
        return {(i, p) if p else first.get(i, (i, p)): label for i, p, label in found if label}

    def _make_key(self, row: int) -> Key:
        return str(self._ids[row]), str(self._paths[row])

    def _find_stamp(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino


@dataclass(frozen=True)
class Learnt:
    """A head fitted on labels, its shares (n, k) of every galaxy, and its figures."""

    head: LinearHead
    shares: npt.NDArray[np.float32]
    accuracy: float
    interval: tuple[float, float]
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """Accuracy by cross-validation, in one sentence."""
        counts = ", ".join(f"{n} {name}" for name, n in self.head.notes["class_counts"].items())
        low, high = self.interval
        said = (
            f"{self.accuracy:.0%} right in cross-validation (95 % interval {low:.0%} to {high:.0%})"
        )
        left = f"; left out, labelled once: {', '.join(self.left_out)}" if self.left_out else ""
        return f"Learnt from {counts}: {said}{left}"


def learn(galaxies: Galaxies, labels: Mapping[int, str], *, name: str = "mine") -> Learnt:
    """Fit a head on the labelled rows; classes with a single label are left out."""
    if galaxies.laid is None:
        raise TrainingError(f"{galaxies.name} holds no embeddings to learn from; {WAY_OUT}")
    known = {row: make_class_name(text) for row, text in labels.items() if galaxies.encoded[row]}
    counts = Counter(known.values())
    class_names = sorted(label for label, count in counts.items() if count > 1)
    if len(class_names) < 2:
        raise TrainingError(
            "learning needs two classes with two labels each; so far "
            + (", ".join(f"{n} {label}" for label, n in counts.items()) or "there are none")
        )
    rows = [row for row, label in known.items() if label in class_names]
    numbers = np.array([class_names.index(known[row]) for row in rows])
    embeddings = galaxies.embeddings[rows].astype(np.float32)
    penalties = (PENALTY / len(rows),)
    found = fit_head(
        embeddings, numbers, class_names, name=name, seed=0, balanced=True, penalties=penalties
    )
    shares = np.empty((len(galaxies), len(class_names)), dtype=np.float32)
    for part, block in list_blocks(galaxies.embeddings):
        shares[part] = found.head.compute_probabilities(block)
    left = tuple(sorted(set(counts) - set(class_names)))
    return Learnt(found.head, shares, found.accuracy, found.interval, left)


def save_head(path: str | Path, learnt: Learnt, meta: Mapping[str, Any]) -> None:
    """Write the head for ``galmorph classify --head``, with what the embeddings were made by."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise TrainingError(f"{path}: the name of a head ends in .safetensors")
    field, rendering = meta.get("field") or {}, meta.get("rendering") or {}
    notes = dict(learnt.head.notes)
    if field.get("fov") is not None:
        notes["fov"] = field["fov"]
    if rendering.get("stretch", "auto") != "auto":
        notes["pixels"] = {"stretch": rendering["stretch"]}
    name = make_class_name(path.stem)
    head = replace(learnt.head, name=name, crop=field.get("crop"), notes=notes)
    model = str(meta.get("model", ""))
    try:
        signature = compute_signature(load_model(model)) if model else ()
    except GalmorphError:  # a model by file that is elsewhere now: its name has to do
        signature = ()
    write_heads(path, {name: head}, model=model, signature=signature)
