"""A run as one HTML file: to look at, to send, to print."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import GalmorphError
from galmorph.flags import ADVICE
from galmorph.images.source import make_printable
from galmorph.origin import BIBTEX, describe_methods
from galmorph.pages.charts import draw_bars, draw_histogram, draw_sky
from galmorph.pages.facts import Facts
from galmorph.pages.page import Card, draw_cards, draw_table, make_page, say_missing
from galmorph.saved import SavedRun, list_rows
from galmorph.thumbnails import Pictures
from galmorph.weights.manifest import load_manifest
from galmorph.writing import write_whole

EACH, ATYPICAL = 4, 12  # galaxies of a class at either end, and atypical ones
MAX_CLASSES, MAX_BARS, MAX_FAILURES = 12, 40, 100  # what keeps the file small, whatever the run


class Page(str):
    """HTML of a whole page; a notebook shows it in a frame of its own."""

    def __repr__(self) -> str:
        return f"<Page of {len(self) / 1e6:.1f} MB>"

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" style="width:100%;height:800px;border:0"></iframe>'


def report(run: Any, output: str | Path | None = None) -> Page:
    """Make one HTML page of a result, to look at, send and print.

    Parameters
    ----------
    run : path or astropy.table.Table
        What ``classify`` or ``embed`` gave. Images are read again from where it found them.
    output : path, optional
        HTML file to write it to, whole; what is there already is replaced.

    Returns
    -------
    Page
        The page as text, which a notebook shows. It needs neither network nor script, and has at
        most 8 MB.

    Raises
    ------
    CatalogueError
        It is no result of galmorph.
    """
    saved = SavedRun(run)
    facts = Facts(saved)
    lost: list[str] = []
    album = _Album(facts, lost)
    sections = [
        ("Classes", _draw_classes(facts)),
        ("Confidence and atypicality", _draw_histograms(facts)),
        ("Surest and least sure", album.draw_classes()),
        ("Most atypical", album.draw_atypical()),
        ("Images not found", say_missing(lost)),
        ("Flags", _draw_flags(facts)),
        ("Failures", _draw_failures(facts)),
        ("On the sky", _draw_positions(facts)),
        ("Reliability", _draw_reliability(facts)),
        ("How it was made, and how to cite", _draw_origin(facts)),
    ]
    name = make_printable(saved.path.name if saved.path else saved.name)
    page = Page(make_page(f"galmorph: {name}", sections, _draw_lead(facts)))
    if output is not None:
        write_whole(output, page.encode("utf-8", "backslashreplace"))
    return page


def _draw_lead(facts: Facts) -> str:
    counts, meta = facts.counts, facts.meta
    good = counts["rows"] - counts["failed"]
    parts = [f"{good:,} of {counts['rows']:,} cutouts have a result"]
    parts += [f"{counts['failed']:,} failed"] if counts["failed"] else []
    if counts["unsure"]:
        parts.append(f"unsure: {counts['unsure']:,} (no class with half of the votes)")
    made = [f"model {meta['model']}"] if meta.get("model") else []
    made += [f"head {meta['head']}"] if meta.get("head") else []
    made += [f"galmorph {meta['galmorph']}"] if meta.get("galmorph") else []
    made += [str(meta["date"])[:10]] if meta.get("date") else []
    said = escape(", ".join(made) or "The table does not say how it was made.")
    return f'<p>{"; ".join(parts)}.</p><p class="soft">{said}</p>'


def _draw_classes(facts: Facts) -> str:
    charts = ""
    if facts.classes:
        shown = dict(facts.classes.most_common(MAX_BARS))
        rest = sum(facts.classes.values()) - sum(shown.values())
        charts += draw_bars({**shown, **({"others": rest} if rest else {})}, "Cutouts by label")
    if facts.shares:
        names = {_shorten(name): value for name, value in facts.shares.items()}
        kept = dict(list(names.items())[:MAX_BARS])
        caption = "Mean share of each class, or of an answer among those who reach its question"
        charts += draw_bars(kept, caption, share=True)
    return f'<div class="charts">{charts}</div>' if charts else ""


def _shorten(name: str) -> str:
    return name.removeprefix("p_").removesuffix("_fraction")


def _draw_histograms(facts: Facts) -> str:
    confidence, atypicality = facts.numbers("confidence"), facts.numbers("atypicality")
    charts = ""
    if np.isfinite(confidence).any():
        charts += draw_histogram(confidence, 0, 1, "Confidence: the largest share or probability")
    if np.isfinite(atypicality).any():
        said = facts.saved.specs["atypicality"].description
        caption = f"Atypicality: {said[:1].lower()}{said[1:]}" if said else "Atypicality"
        charts += draw_histogram(atypicality, 0, 100, caption)
    return f'<div class="charts">{charts}</div>' if charts else ""


class _Album:
    """Galaxies worth a look; all images are looked for at once."""

    def __init__(self, facts: Facts, lost: list[str]) -> None:
        self.pictures, self.lost = Pictures.of(facts.meta), lost
        self.ends = {}
        for label, _ in facts.classes.most_common(MAX_CLASSES):
            # its own share, where there is one: the label need not have the largest
            by = own if (own := f"p_{label}") in facts.share_names else "confidence"
            chosen = facts.labels == label
            self.ends[label] = (
                facts.extremes(by, EACH, chosen),
                facts.extremes(by, EACH, chosen, low=True),
            )
        self.atypical = facts.extremes("atypicality", ATYPICAL)
        both = [k for ends in self.ends.values() for end in ends for k in end]
        places = list(dict.fromkeys(both + self.atypical))
        rows = list_rows(facts.saved.rows(places))
        shown = [row for row in rows if "path" in row]
        found = self.pictures.find(shown) if len(shown) == len(rows) else []
        self._cards = {
            place: Card(source, row["object_id"], _describe(row))
            for place, source, row in zip(places, found, rows, strict=False)
        }

    def _draw(self, places: Sequence[int]) -> str:
        cards = (self._cards[k] for k in places if k in self._cards)
        return draw_cards(cards, self.pictures, self.lost)

    def draw_classes(self) -> str:
        """Both ends of every class."""
        if not self._cards or not self.ends:
            return ""
        parts = ['<p class="soft">Left the whole cutout, right what the network was given.</p>']
        for label, (sure, unsure) in self.ends.items():
            rest = [k for k in unsure if k not in sure]
            parts.append(f"<h3>{escape(label)}: surest</h3>{self._draw(sure)}")
            parts += [f"<h3>{escape(label)}: least sure</h3>{self._draw(rest)}"] if rest else []
        return "".join(parts)

    def draw_atypical(self) -> str:
        """Those least like the training data."""
        return self._draw(self.atypical) if self._cards and self.atypical else ""


def _describe(row: dict[str, Any]) -> Iterator[str]:
    if row.get("label"):
        share = row.get(f"p_{row['label']}", row.get("confidence", float("nan")))
        yield f"{row['label']} {share:.3f}"
    if np.isfinite(row.get("atypicality", np.nan)):
        yield f"atypicality {row['atypicality']:.1f}"


def _draw_flags(facts: Facts) -> str:
    good = facts.counts["rows"] - facts.counts["failed"]
    rows = [
        (name.replace("_", " "), count, f"{count / good:.1%}", ADVICE.get(name, ""))
        for name, count in facts.remarks.most_common()
    ]
    if not rows:
        return "<p>No row with a result has a flag.</p>" if good else ""
    return draw_table(("Flag", "Rows", "Part", "What to do"), rows)


def _draw_failures(facts: Facts) -> str:
    places = np.flatnonzero(facts.failed).tolist()
    if not places:
        return ""
    rows = list_rows(facts.saved.rows(places[:MAX_FAILURES]))
    more = len(places) - len(rows)
    said = f"<p>And {more:,} more: see the column message of the table.</p>" if more else ""
    cells = ((make_printable(str(row[name])) for name in ("object_id", "message")) for row in rows)
    return draw_table(("Cutout", "Reason"), cells) + said


def _draw_positions(facts: Facts) -> str:
    ra, dec = facts.numbers("ra"), facts.numbers("dec")
    known = np.isfinite(ra) & np.isfinite(dec)
    return f'<div class="charts">{draw_sky(ra, dec)}</div>' if known.any() else ""


def _draw_reliability(facts: Facts) -> str:
    """Figures of the manifest for the head, on the survey that it is of."""
    model, head = facts.meta.get("model"), facts.meta.get("head")
    try:
        entry = next(e for e in load_manifest().models if e.name == model)
    except (GalmorphError, StopIteration):
        return ""
    if facts.meta.get("model_sha256") not in (entry.sha256, None):
        return ""
    rows = [
        (m.data, m.protocol, m.name, f"{m.value:.3f}", _say_interval(m.interval))
        for m in entry.metrics
        if f"'{head}'" in m.protocol or (m.data == head and m.protocol.startswith("linear"))
    ]
    if not rows:
        return ""
    said = (
        f"How well the head {escape(str(head))} does on galaxies with known answers. It holds for "
        "images of that survey and depth; flags and atypicality above say where yours differ."
    )
    head_row = ("Images", "How", "Figure", "Value", "95 % interval")
    return f"<p>{said}</p>{draw_table(head_row, rows)}"


def _say_interval(interval: tuple[float, ...] | None) -> str:
    return "" if interval is None else " to ".join(f"{end:.3f}" for end in interval)


def _draw_origin(facts: Facts) -> str:
    meta = facts.meta
    if "galmorph" not in meta or "model" not in meta:
        said = "This format keeps no provenance; .fits, .ecsv, .vot, .parquet and .npz do."
        return f"<p>{said}</p>"
    rows = [
        (name.replace("_", " "), make_printable(_spell(value)))
        for name, value in meta.items()
        if value not in ("", None, {}, [])
    ]
    methods = escape(describe_methods(meta, facts.counts))
    details = f"<details><summary>All settings</summary>{draw_table(('', ''), rows)}</details>"
    return f"<p>{methods}</p><pre>{escape(BIBTEX)}</pre>{details}"


def _spell(value: Any) -> str:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item not in ("", None, [], {})}
        return "; ".join(f"{key} {_spell(item)}" for key, item in kept.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
