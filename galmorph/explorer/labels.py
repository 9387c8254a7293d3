"""Labels by hand, each on disk before anything else happens."""

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galmorph.errors import CatalogueError
from galmorph.writing import write_whole

FIELDS = ("object_id", "path", "label")  # as `galmorph fit labels.csv IMAGES` reads them
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
