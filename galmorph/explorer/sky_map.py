"""The map: points by WebGL, or a binned image where there are too many."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.events import SelectionGeometry, Tap
from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, LinearColorMapper
from bokeh.palettes import Category10, Category20, Viridis256
from bokeh.plotting import figure

MOST_POINTS = 200_000
BINS = 320
MOST_CLASSES = 20
NO_VALUE = "rgba(128, 128, 128, 0.35)"

Array = npt.NDArray[Any]


class Map:
    """Shows x and y (n,) in the colours of values; tells which rows were selected or tapped."""

    def __init__(
        self, select: Callable[[Array | None], None], tap: Callable[[int], None], ink: str = "#444"
    ) -> None:
        self._select, self._tap = select, tap
        self.x = self.y = np.empty(0)
        self.rows: Array = np.empty(0, dtype=np.int64)
        self.figure = figure(
            tools="pan,wheel_zoom,lasso_select,box_select,tap,reset",
            active_scroll="wheel_zoom",
            active_drag="lasso_select",
            output_backend="webgl",
            sizing_mode="stretch_width",
            height=500,
        )
        self.figure.toolbar.logo = None
        self.points = ColumnDataSource({"x": [], "y": [], "c": []})
        self.image = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self.marked = ColumnDataSource({"x": [], "y": []})
        self.mapper = LinearColorMapper(palette=Viridis256, nan_color=NO_VALUE)
        self.bins = LinearColorMapper(palette=Viridis256, nan_color="rgba(0, 0, 0, 0)")
        self._draw()
        self._colour_frame(ink)
        self.figure.on_event(SelectionGeometry, self._selected)
        self.figure.on_event(Tap, self._tapped)

    def _draw(self) -> None:
        colour = {"field": "c", "transform": self.mapper}
        self.figure.image(
            image="image", x="x", y="y", dw="dw", dh="dh", source=self.image, color_mapper=self.bins
        )
        self.dots = self.figure.scatter(
            "x", "y", source=self.points, size=7, color=colour, alpha=0.75, line_color=None
        )
        self.dots.nonselection_glyph.fill_alpha = 0.25
        self.figure.scatter(
            "x",
            "y",
            source=self.marked,
            size=16,
            fill_color=None,
            line_color="#f59e0b",
            line_width=3,
        )
        self.bar = ColorBar(color_mapper=self.mapper, width=12, title_text_font_style="normal")
        self.figure.add_layout(self.bar, "right")

    def _colour_frame(self, ink: str) -> None:
        """All that is no point in one colour, on whatever the page has behind it."""
        drawn = self.figure
        drawn.update(background_fill_color=None, border_fill_color=None, outline_line_color=ink)
        for grid in drawn.grid:
            grid.update(grid_line_color=ink, grid_line_alpha=0.2)
        lines = {f"{part}_line_color": ink for part in ("axis", "major_tick", "minor_tick")}
        texts = {"axis_label_text_color": ink, "major_label_text_color": ink}
        for axis in drawn.axis:
            axis.update(**lines, **texts)
        self.bar.update(background_fill_color=None, title_text_color=ink, bar_line_color=None)
        self.bar.major_label_text_color = ink

    def show(
        self, x: Array, y: Array, values: Array, *, rows: Array, names: tuple[str, str, str]
    ) -> None:
        """Draw the rows that have both numbers; names are those of x, y and the colour."""
        kept = rows[np.isfinite(x[rows]) & np.isfinite(y[rows])]
        self.rows, self.x, self.y = kept, x[kept].astype(float), y[kept].astype(float)
        binned = len(kept) > MOST_POINTS
        counted = binned and values.dtype.kind != "f"
        numbers = None if counted else self._colour(values, kept, names[2])
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = names[:2]
        self.points.selected.indices = []
        empty: Array = np.empty(0)
        shown = (empty, empty, empty) if binned else (self.x, self.y, numbers)
        self.points.data = dict(zip("xyc", shown, strict=True))
        self.image.data = (
            self._bin(numbers) if binned else {key: [] for key in ("image", "x", "y", "dw", "dh")}
        )
        self.dots.glyph.size = 9 if len(kept) < 1000 else 5 if len(kept) < 20_000 else 3

    def mark(self, row: int) -> None:
        """Put a ring around a row."""
        at = np.flatnonzero(self.rows == row)
        self.marked.data = {"x": self.x[at], "y": self.y[at]}

    def unselect(self) -> None:
        """Show all points alike."""
        self.points.selected.indices = []

    def _colour(self, values: Array, rows: Array, name: str) -> Array:
        """Numbers for the colour scale: the values themselves, or those of classes."""
        mapper, bar = self.mapper, self.bar
        bar.title = name
        if values.dtype.kind in "iuf":
            numbers = values[rows].astype(float)
            finite = numbers[np.isfinite(numbers)]
            low, high = np.percentile(finite, (1, 99)) if finite.size else (0, 1)
            mapper.update(palette=Viridis256, low=low, high=max(high, low + 1e-9))
            bar.update(ticker="auto", major_label_overrides={})
            return numbers
        counts = Counter(map(str, values))
        counts.pop("", None)
        classes = sorted(text for text, _ in counts.most_common(MOST_CLASSES))
        count = max(len(classes), 1)
        palette = Category10[10] if count <= 10 else Category20[20]
        mapper.update(palette=palette[:count], low=-0.5, high=count - 0.5)
        bar.update(
            ticker=FixedTicker(ticks=list(range(len(classes)))),
            major_label_overrides={k: text for k, text in enumerate(classes)},
        )
        number = {text: k for k, text in enumerate(classes)}
        return np.array([number.get(str(text), np.nan) for text in values[rows]], dtype=float)

    def _bin(self, numbers: Array | None) -> dict[str, list[Any]]:
        """Count of each bin on a logarithmic scale, or the mean of numbers."""
        counts, xs, ys = np.histogram2d(self.x, self.y, bins=BINS)
        shown = np.where(counts > 0, np.log10(np.maximum(counts, 1)), np.nan)
        if numbers is not None:
            good = np.isfinite(numbers)
            weighed = self.x[good], self.y[good]
            sums, *_ = np.histogram2d(*weighed, bins=(xs, ys), weights=numbers[good])
            there, *_ = np.histogram2d(*weighed, bins=(xs, ys))
            shown = np.where(there > 0, sums / np.maximum(there, 1), np.nan)
            self.bins.update(low=self.mapper.low, high=self.mapper.high)
        else:
            self.mapper.update(palette=Viridis256, low=0, high=np.nanmax(shown))
            self.bar.update(ticker="auto", major_label_overrides={}, title="log10 count")
            self.bins.update(low=0, high=np.nanmax(shown))
        size = {"dw": [xs[-1] - xs[0]], "dh": [ys[-1] - ys[0]]}
        return {"image": [shown.T.astype(np.float32)], "x": [xs[0]], "y": [ys[0]], **size}

    def _selected(self, event: Any) -> None:
        if not event.final or event.geometry["type"] not in ("rect", "poly"):
            return
        inside = find_inside(event.geometry, self.x, self.y)
        self._select(self.rows[inside] if inside.any() else None)

    def _tapped(self, event: Any) -> None:
        if not len(self.rows):
            return
        across = _find_width(self.figure.x_range, self.x)
        up = _find_width(self.figure.y_range, self.y)
        near = ((self.x - event.x) / across) ** 2 + ((self.y - event.y) / up) ** 2
        self._tap(int(self.rows[near.argmin()]))


def _find_width(axis: Any, values: Array) -> float:
    """What the axis shows, once the browser has told; else that of the values."""
    width = abs((axis.end or 0) - (axis.start or 0))
    return float(width if width > 0 else np.ptp(values) or 1.0)


def find_inside(geometry: dict[str, Any], x: Array, y: Array) -> npt.NDArray[np.bool_]:
    """Which points lie in a rectangle, or in a polygon by the even-odd rule."""
    if geometry["type"] == "rect":
        (left, right), (low, high) = (
            sorted((geometry[f"{axis}0"], geometry[f"{axis}1"])) for axis in "xy"
        )
        return np.asarray((x >= left) & (x <= right) & (y >= low) & (y <= high))
    xs, ys = (np.asarray(geometry[axis], dtype=float) for axis in "xy")
    inside = np.zeros(len(x), dtype=bool)
    for x0, y0, x1, y1 in zip(xs, ys, np.roll(xs, -1), np.roll(ys, -1), strict=True):
        if y0 != y1:
            crossed = (y0 > y) != (y1 > y)
            inside ^= crossed & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside
