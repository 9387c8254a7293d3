"""Charts as SVG that stands in the page: bars, histograms, the sky."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, ROW = 420, 150, 22
NAME_WIDTH = 170


def _frame(width: float, height: float, said: str, body: str, caption: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(said)}">'
        f"{body}</svg><figcaption>{escape(caption)}</figcaption></figure>"
    )


def draw_bars(values: Mapping[str, float], caption: str, *, share: bool = False) -> str:
    """One bar a name; the value, a number or a share, stands at its end."""
    most = max(values.values(), default=0) or 1
    parts, told = [], []
    for n, (name, value) in enumerate(values.items()):
        text = f"{value:.1%}" if share else f"{value:,.0f}"
        y, length = n * ROW, (WIDTH - NAME_WIDTH - 60) * value / most
        short = name if len(name) <= 25 else name[:24] + "…"
        parts.append(
            f'<text x="{NAME_WIDTH - 6}" y="{y + 15}" text-anchor="end">{escape(short)}'
            f"<title>{escape(name)}</title></text>"
            f'<rect class="bar" x="{NAME_WIDTH}" y="{y + 4}" width="{length:.1f}" height="14"/>'
            f'<text x="{NAME_WIDTH + length + 5:.1f}" y="{y + 15}">{text}</text>'
        )
        told.append(f"{name} {text}")
    said = f"{caption}: {', '.join(told)}"
    return _frame(WIDTH, ROW * max(len(values), 1), said, "".join(parts), caption)


def draw_histogram(values: npt.NDArray[np.floating], low: float, high: float, caption: str) -> str:
    """Twenty bins between two ends; values that are not finite are left out."""
    counts, edges = np.histogram(values[np.isfinite(values)], bins=20, range=(low, high))
    most, step = max(int(counts.max()), 1), (WIDTH - 40) / 20
    bars = "".join(
        f'<rect class="bar" x="{35 + n * step:.1f}" width="{step - 1:.1f}" '
        f'y="{(HEIGHT - 30) * (1 - count / most) + 10:.1f}" '
        f'height="{(HEIGHT - 30) * count / most:.1f}"><title>{edges[n]:g} to {edges[n + 1]:g}: '
        f"{count:,}</title></rect>"
        for n, count in enumerate(counts.tolist())
    )
    marks = "".join(
        f'<text x="{35 + part * (WIDTH - 40):.0f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
        f"{low + part * (high - low):g}</text>"
        for part, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    axis = f'<path class="axis" d="M35 {HEIGHT - 20}H{WIDTH - 5}"/>'
    top = f'<text x="31" y="18" text-anchor="end" class="soft">{most:,}</text>'
    middle = np.nanmedian(values) if np.isfinite(values).any() else np.nan
    said = f"Histogram of {caption}: median {middle:.3g}, {len(values):,} values"
    return _frame(WIDTH, HEIGHT, said, axis + bars + marks + top, caption)


def _project(ra: npt.NDArray[np.floating], dec: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Hammer's equal-area projection, right ascension to the left around 180 degrees, (n, 2)."""
    angle, height = np.deg2rad(180 - ra % 360) / 2, np.deg2rad(dec)
    scale = 100 / np.sqrt(1 + np.cos(height) * np.cos(angle))
    x = 2 * scale * np.cos(height) * np.sin(angle)
    return np.stack((210 + x, 110 - scale * np.sin(height)), axis=1).round().astype(np.int64)


def draw_sky(ra: npt.NDArray[np.floating], dec: npt.NDArray[np.floating]) -> str:
    """The whole sky with a point where there are galaxies."""
    known = np.isfinite(ra) & np.isfinite(dec)
    places = np.unique(_project(ra[known], dec[known]), axis=0)
    lines = [_trace(np.full(61, a), np.linspace(-90, 90, 61)) for a in range(0, 360, 60)]
    lines += [_trace(np.linspace(0.01, 359.99, 61), np.full(61, d)) for d in range(-60, 61, 30)]
    edge = '<ellipse class="axis" cx="210" cy="110" rx="200" ry="100"/>'
    grid = f'<path class="axis" d="{"".join(lines)}"/>'
    points = "".join(f"M{x} {y}h0" for x, y in places.tolist())
    dots = f'<path d="{points}" stroke="var(--bar)" stroke-width="3" stroke-linecap="round"/>'
    count = int(known.sum())
    marks = (
        '<text x="210" y="226" text-anchor="middle" class="soft">RA 180° in the middle, east left'
    )
    caption = f"{count:,} positions on the sky, equal area, ICRS"
    return _frame(420, 232, caption, f"{edge}{grid}{dots}{marks}</text>", caption)


def _trace(ra: npt.NDArray[np.floating], dec: npt.NDArray[np.floating]) -> str:
    points: Sequence[Sequence[int]] = _project(ra, dec).tolist()
    return "M" + "L".join(f"{x} {y}" for x, y in points)
