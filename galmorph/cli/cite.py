"""``galmorph cite``: BibTeX, and a paragraph on methods with a run's own numbers."""

import click

from galmorph.origin import BIBTEX, describe_methods


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
    import numpy as np

    from galmorph.errors import CatalogueError
    from galmorph.flags import NO_LABEL
    from galmorph.inference.results import concatenate
    from galmorph.tables.formats import open_reader

    reader = open_reader(path, only=("flags", "confidence"))
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
    return describe_methods(meta, counts)
