"""A result of a search as pictures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from galmorph.pages.page import Card, draw_cards, make_page, say_missing
from galmorph.saved import list_rows
from galmorph.thumbnails import Pictures

if TYPE_CHECKING:
    from astropy.table import Table

MAX_SHOWN = 500  # more would make the page too large to send


def make_gallery(table: Table) -> str:
    """HTML of what `galmorph.search` gives, in its order."""
    count = min(len(table), MAX_SHOWN)
    rows = list_rows({name: table[name][:count] for name in table.colnames})
    pictures, lost = Pictures.of(table.meta), list[str]()
    found = pictures.find(rows)
    cards = [Card(s, row["object_id"], _describe(row)) for s, row in zip(found, rows, strict=True)]
    drawn = draw_cards(cards, pictures, lost)
    asked: dict[str, Any] = table.meta.get("search", {})
    words = [f"like {', '.join(asked.get('like', ()))}"]
    words += [f"unlike {', '.join(asked['unlike'])}"] if asked.get("unlike") else []
    words += [f"where {asked['where']}"] if asked.get("where") else []
    more = f"; the first {count} are shown" if count < len(table) else ""
    said = escape(
        f"{len(table)} galaxies of {asked.get('run', 'the run')}, {'; '.join(words)}{more}."
    )
    lead = (
        f'<p>{said}</p><p class="soft">Left the whole cutout, right what the network was given.</p>'
    )
    return make_page("Similar galaxies", [("Nearest first", drawn + say_missing(lost))], lead)


def _describe(row: dict[str, Any]) -> list[str]:
    lines = [f"{row['rank']}: similarity {row['similarity']:.3f}"]
    return [*lines, str(row["label"])] if row.get("label") else lines
