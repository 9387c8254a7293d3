"""Draw the tables of a model card from the figures that `make_weights.py` measured.

    python tools/make_model_card.py figures.json docs/model_cards/fused_fast.md

Replaces what stands between ``<!-- figures -->`` and ``<!-- end of figures -->``; the rest of the
card is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

TITLES = {
    "gz2": "Galaxy Zoo 2, five classes of clean galaxies (`gz2/test`)",
    "gz2_smooth": "Galaxy Zoo 2, smooth / edge-on / spiral (`gz2/test`)",
    "sdss": "SDSS, three classes (`sdss/test`)",
    "decals": "DECaLS, eight classes (`decals`, cross-validated)",
    "decals4": "DECaLS, four classes (`decals`, cross-validated)",
    "gz2_head_on_sdss": "Across surveys: the Galaxy Zoo 2 head on `sdss/test`",
    "sdss_head_on_gz2": "Across surveys: the SDSS head on `gz2/test`",
    "gz2_head_on_decals": (
        "Across surveys: the Galaxy Zoo 2 head with `--crop auto` on `decals` (spirals together, "
        "without disturbed and merging)"
    ),
}
END_TO_END = {
    "gz2_classify": "`gz2/test`, the head of clean galaxies",
    "sdss_classify": "`sdss/test`, head sdss",
    "gz2_on_decals_classify": "`decals`, the same head with `--crop auto`",
    "artifacts_classify": "`artifacts`, the same head (no galaxies; only the last column means anything)",
}


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def draw_protocols(results: list[dict[str, Any]]) -> list[str]:
    """One line per protocol."""
    lines = [
        "| protocol | images | accuracy | 95 % interval | NMI | ARI | ECE | ECE by chance |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for result in results:
        low, high = result["accuracy_interval_95"]
        lines.append(
            f"| {result['protocol']} | {result['count']} | {_number(result['accuracy'])} | "
            f"{_number(low)} to {_number(high)} | {_number(result['nmi'])} | "
            f"{_number(result['ari'])} | {_number(result['ece'])} | "
            f"{_number(result['ece_floor'])} |"
        )
    return lines


def draw_classes(result: dict[str, Any]) -> list[str]:
    """Precision, recall and F1 of each class, and where its members went."""
    names = result["class_names"]
    lines = [
        "| class | images | precision | recall | F1 | "
        + " | ".join(f"as {n}" for n in names)
        + " |",
        "|---|" + "---:|" * (4 + len(names)),
    ]
    for name, row in zip(names, result["confusion"], strict=True):
        figures = result["classes"][name]
        values = [_number(figures[key]) for key in ("precision", "recall", "f1")]
        cells = [name, str(figures["count"]), *values, *map(str, row)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw_reliability(result: dict[str, Any]) -> list[str]:
    """Confidence against accuracy."""
    bins = result.get("reliability", [])
    columns = ("low", "high", "count", "confidence", "accuracy")
    if not bins or not all(key in bins[0] for key in columns):
        return []
    lines = [
        "| confidence from | to | images | mean confidence | accuracy |",
        "|---:|" * 1 + "---:|" * 4,
    ]
    for entry in bins:
        if entry["count"]:
            cells = [_number(entry["low"], 2), _number(entry["high"], 2), str(entry["count"])]
            cells += [_number(entry["confidence"]), _number(entry["accuracy"])]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw(figures: dict[str, Any]) -> str:
    """All tables, as Markdown."""
    parts: list[str] = []
    for key, title in TITLES.items():
        if key not in figures:
            continue
        results = figures[key]
        parts += [f"### {title}", "", *draw_protocols(results), ""]
        parts += ["Classes, by the first of these protocols:", "", *draw_classes(results[0]), ""]
        reliability = draw_reliability(results[0])
        if reliability:
            parts += ["Calibration, by the same:", "", *reliability, ""]
    rows = []
    for key, title in END_TO_END.items():
        if key in figures:
            found = figures[key]
            accuracy = _number(found.get("accuracy"))
            atypical = _number(found["atypical_fraction"])
            rows.append(f"| {title} | {found['count']} | {accuracy} | {atypical} |")
    if rows:
        parts += ["### The table that a user gets", ""]
        parts += ["| images | rows | accuracy | flagged atypical |", "|---|---:|---:|---:|", *rows]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Parse, draw, replace."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("card", type=Path)
    options = parser.parse_args()
    tables = draw(json.loads(options.figures.read_text(encoding="utf-8")))
    card = options.card.read_text(encoding="utf-8")
    pattern = r"<!-- figures -->.*<!-- end of figures -->"
    if not re.search(pattern, card, re.DOTALL):
        parser.error(f"{options.card}: has no <!-- figures --> ... <!-- end of figures -->")
    filled = f"<!-- figures -->\n\n{tables}\n<!-- end of figures -->"
    options.card.write_text(
        re.sub(pattern, lambda _: filled, card, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
