"""``galmorph cite``: BibTeX, and a paragraph on methods with a run's own numbers."""

import click

from galmorph.errors import CatalogueError
from galmorph.origin import BIBTEX, describe_methods


@click.command()
@click.argument("table", required=False, metavar="[TABLE]")
def cite(table: str | None) -> None:
    """Print BibTeX, and what a paper says of a result.

    TABLE is a finished result of `galmorph classify` or `embed`, in a format that keeps
    provenance (.fits, .ecsv, .vot, .parquet, .jsonl). Without one only the BibTeX is printed.
    """
    if table is not None:
        from galmorph.pages.facts import Facts
        from galmorph.saved import SavedRun

        saved = SavedRun(table)
        if "galmorph" not in saved.provenance:
            raise CatalogueError(
                f"{table}: holds no provenance of galmorph; cite needs a .fits or .ecsv"
            )
        click.echo(f"{describe_methods(saved.provenance, Facts(saved).counts)}\n")
    click.echo(BIBTEX)
