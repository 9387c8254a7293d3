"""One galaxy in words and bars, as HTML."""

import math
import re
from html import escape
from pathlib import Path
from urllib.parse import quote

from galmorph.explorer.galaxies import Galaxies
from galmorph.flags import decode_flags
from galmorph.heads.votes import RELEVANT

LINKS = {
    "Legacy Surveys": "https://www.legacysurvey.org/viewer?ra={ra}&dec={dec}&zoom=15&mark={ra},{dec}",
    "SIMBAD": "https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={ra}d+{dec}d&Radius=1&Radius.unit=arcmin",
    "NED": "https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search"
    "&coordinates={ra}d%20{dec}d&radius=1",
}
MOST_BARS = 12
SHOWN = ("confidence", "atypicality", "fov", "crop")
STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text()}</style>"


def draw_portrait(
    galaxies: Galaxies, row: int, pictures: tuple[tuple[str, str], dict[str, str]], label: str
) -> str:
    """Cutout, label, shares as bars or in words, flags, position with links, and the panels."""
    (address, reason), panels = pictures
    name = escape(str(galaxies.get("object_id", row)))
    shown = (
        f'<img src="{address}" alt="cutout of {name}">'
        if address
        else f'<div class="missing">{escape(reason)}</div>'
    )
    given = f"<b>{escape(label)}</b> (yours)" if label else ""
    said = " · ".join(filter(None, [escape(str(galaxies.get("label", row) or "")), given]))
    lines = [
        said,
        _draw_bars(galaxies, row),
        _tell_tree(galaxies, row),
        _tell_numbers(galaxies, row),
        _tell_flags(galaxies, row),
    ]
    lines += [_tell_position(galaxies, row), escape(str(galaxies.get("path", row)))]
    body = "".join(f"<div>{line}</div>" for line in lines if line)
    strip = "".join(
        f'<figure><img src="{panel}" alt="{escape(caption)}"><figcaption>{escape(caption)}'
        "</figcaption></figure>"
        for caption, panel in panels.items()
    )
    return (
        f'{STYLE}<div class="portrait">{shown}<div class="facts"><h3>{name}</h3>{body}</div></div>'
        f'<div class="panels">{strip}</div>'
    )


def _draw_bars(galaxies: Galaxies, row: int) -> str:
    shares = [(text, name, "") for text, name in galaxies.shares.items()]
    shares += [(n[5:], n, "mine") for n in galaxies.columns if n.startswith("mine_")]
    found = [(text, float(galaxies.columns[name][row]), kind) for text, name, kind in shares]
    found = sorted((s for s in found if math.isfinite(s[1])), key=lambda s: (s[2], -s[1]))
    bars = (
        f"<span>{escape(text)}</span><span>{share:.2f}</span>"
        f'<i class="{kind}" style="width: {100 * share:.1f}%"></i>'
        for text, share, kind in found[:MOST_BARS]
    )
    return f'<div class="bars">{"".join(bars)}</div>' if found else ""


def _tell_tree(galaxies: Galaxies, row: int) -> str:
    """What is answered most to each question that half of the people reach, with its interval."""
    depth, lines = {"": 0}, []
    for question in galaxies.questions:
        depth |= dict.fromkeys(question.columns, depth[question.after] + 1)
        asked = galaxies.get(f"{question.name}_proportion_volunteers_asked", row)
        shares = [galaxies.get(f"{answer}_fraction", row) for answer in question.columns]
        if asked is None or None in shares or not asked >= RELEVANT:
            continue
        best = shares.index(max(shares))
        low, high = (
            galaxies.get(f"{question.columns[best]}_fraction_{end}", row) for end in ("low", "high")
        )
        lines.append(
            f'<li style="margin-left: {depth[question.after]}em">{_say(question.name)}? '
            f"<b>{_say(question.answers[best])}</b> {shares[best]:.0%} "
            f"<small>({low:.0%} to {high:.0%})</small></li>"
        )
    return f'<ul class="tree">{"".join(lines)}</ul>' if lines else ""


def _say(name: str) -> str:
    return escape(re.sub("[-_]", " ", name))


def _tell_numbers(galaxies: Galaxies, row: int) -> str:
    values = {name: galaxies.get(name, row) for name in SHOWN}
    known = {n: float(v) for n, v in values.items() if v is not None and math.isfinite(float(v))}
    return " · ".join(f"{name} {value:.3g}" for name, value in known.items())


def _tell_flags(galaxies: Galaxies, row: int) -> str:
    flags = [name.replace("_", " ") for name in decode_flags(galaxies.get("flags", row))]
    message = str(galaxies.get("message", row) or "")
    return escape("; ".join(filter(None, [", ".join(flags) or "no flags", message])))


def _tell_position(galaxies: Galaxies, row: int) -> str:
    ra, dec = galaxies.get("ra", row), galaxies.get("dec", row)
    if ra is None or not math.isfinite(ra):
        return "no position"
    place = {"ra": f"{ra:.6f}", "dec": quote(f"{dec:+.6f}")}
    links = (
        f'<a href="{escape(link.format(**place))}" target="_blank" rel="noreferrer">{name}</a>'
        for name, link in LINKS.items()
    )
    return f"RA {ra:.5f}, Dec {dec:+.5f} · {' · '.join(links)}"
