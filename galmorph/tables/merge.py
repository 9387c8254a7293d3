"""Several results to one: those of ``--part`` runs, or of several nights."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from galmorph.errors import CatalogueError
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.formats import open_reader
from galmorph.tables.formats.base import TableReader
from galmorph.tables.journal import partial_path
from galmorph.tables.provenance import list_differences, nest_meta
from galmorph.tables.writers import KEY_COLUMNS, TableWriter, list_done, open_writer

SAME_KEYS = ("model_sha256", "head_sha256", "class_names")  # rows of others cannot be compared


def merge_tables(
    paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> dict[str, int]:
    """Join results with the same columns, weights and head to one table, in any formats.

    Its provenance is what all parts have in common, and under ``parts`` what each has of its own.
    Gives the number of "rows", and of those "repeated" under one ``object_id``.
    """
    parts = [open_reader(path, exact=KEY_COLUMNS) for path in paths]
    specs = _unify(parts)
    provenance = [nest_meta(part.provenance or {}) for part in parts]
    for part, own in zip(parts, provenance, strict=True):
        shared = ({k: found[k] for k in SAME_KEYS if k in found} for found in (provenance[0], own))
        if different := list_differences(*shared):
            raise CatalogueError(f"{part.name}: is of another run: {'; '.join(different)}")
    seen, ids = set[int](), set[int]()
    meta = {k: v for k, v in provenance[0].items() if all(p.get(k, ...) == v for p in provenance)}
    with open_writer(output, specs, meta) as writer:
        try:
            writer.meta["parts"] = [
                _append(writer, part, seen, ids)
                | {key: value for key, value in own.items() if key not in meta}
                for part, own in zip(parts, provenance, strict=True)
            ]
        except BaseException:  # a half is worth nothing here
            partial_path(output).unlink(missing_ok=True)
            raise
    return {"rows": writer.rows_done, "repeated": writer.rows_done - len(ids)}


def _append(
    writer: TableWriter, part: TableReader, seen: set[int], ids: set[int]
) -> dict[str, Any]:
    part.specs = {spec.name: spec for spec in writer.specs}
    before = writer.rows_done
    for chunk in part.chunks():
        for done in list_done(chunk):
            object_id, path = done.key or ("", "")
            if hash(done.key) in seen:
                named = path or object_id
                raise CatalogueError(f"{part.name}: {named!r} is there in an earlier row as well")
            seen.add(hash(done.key))
            ids.add(hash(object_id))
        writer.append(chunk)
    return {"file": part.path.name, "rows": writer.rows_done - before}


def _unify(parts: Sequence[TableReader]) -> tuple[ColumnSpec, ...]:
    """Columns of all parts; of the types that text does not say, the widest."""
    filled = [part for part in parts if part.specs] or parts[:1]
    first = filled[0]
    for part in filled:
        if list(part.specs) != list(first.specs):
            different = set(part.specs) ^ set(first.specs) or {"their order"}
            raise CatalogueError(
                f"{part.name}: has other columns than {first.name}: {', '.join(sorted(different))}"
            )
        refused = [name for name, spec in part.specs.items() if spec is None]
        absent = [name for name in KEY_COLUMNS if name not in part.specs]
        if refused or absent:
            said = ", ".join(refused) or f"no {absent[0]}"
            raise CatalogueError(f"{part.name}: is no result of galmorph: {said}")
    return tuple(_widest(name, filled) for name in first.specs)


def _widest(name: str, parts: Sequence[TableReader]) -> ColumnSpec:
    found = [spec for part in parts if name not in part.empty and (spec := part.specs[name])]
    spec = found[0] if found else ColumnSpec(name, "float64")
    kinds = {spec.kind for spec in found}
    if len(kinds) < 2:
        return spec
    if kinds == {"int64", "float64"}:
        return replace(spec, dtype="float64")
    if "str" in kinds and all(part.path.suffix.lower() in (".csv", ".tsv") for part in parts):
        return replace(spec, dtype="str")
    raise CatalogueError(f"{parts[-1].name}: column {spec.name} is of other types in other parts")
