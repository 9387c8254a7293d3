"""The frame of every page: one file, no script, no address but its own; light, dark and printed.

And the simplest page, a gallery.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from galmorph.errors import GalmorphError
from galmorph.images.source import Source, make_printable
from galmorph.saved import list_rows
from galmorph.thumbnails import Pictures, to_data_uri

if TYPE_CHECKING:
    from astropy.table import Table

MAX_SHOWN = 500  # more would make the page too large to send


def make_page(title: str, sections: Iterable[tuple[str, str]], lead: str = "") -> str:
    """Named sections, of HTML each, to a page with links to them."""
    kept = [(name, body) for name, body in sections if body]
    links = "".join(
        f'<li><a href="#s{n}">{escape(name)}</a></li>' for n, (name, _) in enumerate(kept)
    )
    nav = f'<nav aria-label="Sections"><ul>{links}</ul></nav>' if len(kept) > 1 else ""
    parts = "".join(
        f'<section class="{"long" if len(body) > 20_000 else ""}" aria-labelledby="s{n}">'
        f'<h2 id="s{n}">{escape(name)}</h2>{body}</section>'
        for n, (name, body) in enumerate(kept)
    )
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        '<a class="skip" href="#main">To the content</a>'
        f"<header><h1>{escape(title)}</h1>{lead}{nav}"
        f'</header><main id="main">{parts}</main></body></html>\n'
    )


def draw_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table; numbers to the right."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(map(_draw_cell, row))}</tr>" for row in rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _draw_cell(value: object) -> str:
    if isinstance(value, int | float):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


class Card(NamedTuple):
    """One galaxy: its pictures, and what is said of it."""

    source: Source
    name: str
    lines: Iterable[str]


def draw_cards(cards: Iterable[Card], pictures: Pictures, lost: list[str], side: int = 120) -> str:
    """A list of galaxies, the cutout beside what the network was given; what is lost is noted."""
    return f'<ul class="cards">{"".join(_draw_card(c, pictures, lost, side) for c in cards)}</ul>'


def _draw_card(card: Card, pictures: Pictures, lost: list[str], side: int) -> str:
    said = "".join(f"<br>{escape(line)}" for line in card.lines)
    name = escape(make_printable(card.name))
    try:
        cutout = pictures.open(card.source)
        shown = pictures.show_whole(cutout, side), pictures.show_seen(cutout)
    except (GalmorphError, ValueError, OSError) as error:
        lost.append(str(error))
        images = '<div class="pair soft">image not found</div>'
    else:
        alts = (f"{name}: the whole cutout", f"{name}: what the network was given")
        for picture in shown:
            picture.thumbnail((side, side))
        found = zip(shown, alts, strict=True)
        images = "".join(f'<img alt="{alt}" src="{to_data_uri(each)}">' for each, alt in found)
        images = f'<div class="pair">{images}</div>'
    return (
        f"<li><figure>{images}<figcaption><strong>{name}</strong>{said}</figcaption></figure></li>"
    )


def say_missing(lost: list[str]) -> str:
    """Which images could not be shown, and the way out."""
    if not lost:
        return ""
    named = "".join(f"<li>{escape(make_printable(each))}</li>" for each in dict.fromkeys(lost))
    return (
        f'<p class="warn">Images that are not where the run found them, or can no longer be read: '
        f"{len(set(lost))}. Paths are those of the run: start this command in the folder where the "
        f"run was started, or bring the images back.</p><ul>{named}</ul>"
    )


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
