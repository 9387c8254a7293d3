"""``galmorph cite``: BibTeX, and a paragraph on methods with a run's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from galmorph.origin import BIBTEX, DOI

__all__ = ["cite"]


@click.command()
@click.argument("table", required=False, metavar="[TABLE]")
def cite(table: str | None) -> None:
    """Print BibTeX, and what a paper says of a result.

    TABLE is a finished result of `galmorph classify` or `embed`, in a format that keeps
    provenance (.fits, .ecsv, .vot, .parquet, .jsonl). Without one only the BibTeX is printed.
    """
    if table is not None:
        click.echo(f"{_describe(table)}\n")
    click.echo(BIBTEX)


def _describe(path: str) -> str:
    """The paragraph on methods."""
    from pathlib import Path

    import numpy as np

    from galmorph.errors import CatalogueError
    from galmorph.flags import NO_LABEL
    from galmorph.inference.results import concatenate
    from galmorph.tables.formats import open_reader

    reader = open_reader(Path(path), only=("flags", "confidence"))
    meta = reader.provenance
    if not meta or "galmorph" not in meta:
        raise CatalogueError(
            f"{path}: holds no provenance of galmorph; cite needs a .fits or .ecsv"
        )
    columns = concatenate(list(reader.chunks()))
    flags = np.ma.filled(np.ma.asarray(columns["flags"]), 0).astype(int)
    counts = {"rows": len(flags), "failed": int((flags & NO_LABEL.value != 0).sum())}
    if "confidence" in columns:
        counts["unsure"] = int((np.ma.filled(columns["confidence"], np.nan) < 0.5).sum())
    return _write(meta, counts)


def _write(meta: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    good = counts["rows"] - counts["failed"]
    version = meta["galmorph"] + (f", commit {meta['commit'][:10]}" if meta.get("commit") else "")
    sentences = [
        f"We used galmorph (version {version}) with the model {meta['model']} "
        f"({_name_file('weights', meta.get('model_sha256'))}), after the method of Wei et al. "
        f"(2022; doi:{DOI})."
    ]
    if meta.get("head"):
        sentences.append(
            f"Classes are those of the head {meta['head']} "
            f"({_name_file('head', meta.get('head_sha256'))}) on frozen embeddings."
        )
    done = "classified" if meta.get("head") else "embedded"
    sentences.append(f"Of {counts['rows']} cutouts {good} were {done}.")
    if counts["failed"]:
        sentences.append(f"{counts['failed']} could not be used and carry a flag.")
    if counts.get("unsure"):
        sentences.append(f"{counts['unsure']} have no class with half of the votes.")
    if meta.get("date"):
        sentences.append(f"The run is of {meta['date'][:10]}.")
    return " ".join(sentences)


def _name_file(what: str, sha256: object) -> str:
    return f"{what} sha256 {str(sha256)[:12]}" if sha256 else f"{what} of unknown origin"
