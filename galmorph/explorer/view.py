"""The page: a map on the left, a gallery on the right, the chosen galaxy and the labels below."""

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from functools import partial
from html import escape
from typing import Any

import numpy as np
import panel as pn

from galmorph.errors import GalmorphError
from galmorph.explorer.browsing import COLUMNS, SIMILAR, YOUR_LABEL, Browsing
from galmorph.explorer.galaxies import WAY_OUT
from galmorph.explorer.gallery import Gallery, Words
from galmorph.explorer.labels import save_head
from galmorph.explorer.pictures import Thumbnails
from galmorph.explorer.portrait import draw_portrait
from galmorph.explorer.selection import FORMATS, Sent, count_unplaced, make_file
from galmorph.explorer.sky_map import Map
from galmorph.heads import make_class_name

PAGE = 30
NEIGHBOURS = 12
KEYS = 9
SHOWN_FIRST = 300  # milliseconds for a message to reach the page before what it tells of
ON_THEIR_WAY = (
    "The embeddings are laid beside the run, this first time; their map and what looks alike follow"
)
MOVES = {"ArrowLeft": -1, "ArrowRight": 1, "PageUp": -PAGE, "PageDown": PAGE}
UNDO = ("u", "Backspace")
WRAPPED = {"flex": "1 1 380px", "width": "auto"}  # what has less room stands below
# The browser's own arrow has the colour of the text, also in the dark.
ARROW = "select.bk-input:not([multiple]) { appearance: auto; background-image: none; }"


class View:
    """One look at a run, in one browser tab or notebook cell."""

    def __init__(
        self, browsing: Browsing, pictures: Thumbnails, names: list[str], *, alone: bool
    ) -> None:
        self.browsing, self.pictures, self.names = browsing, pictures, names
        self._alone = alone
        self.page = 0
        self.sent: Sent | None = None
        self._document, self._laid_out = pn.state.curdoc, False
        if alone:
            pn.state.on_session_destroyed(lambda _: self.sent and self.sent.close())
        ink = "#ddd" if pn.config.theme == "dark" else "#444"
        self.map = Map(self._pick, self._choose, ink=ink)
        self._make_widgets()
        self._make_buttons()
        browsing.refresh()
        if len(browsing.order):
            browsing.chosen = int(browsing.order[0])
        laid, alike = browsing.galaxies.laid, browsing.galaxies.alike
        if not alone:  # in a cell of a notebook nothing comes later by itself
            wait([each for each in (laid, alike) if each])
        bare = f"No embeddings in this run, so no neighbours and no learning; {WAY_OUT}"
        self._say(bare if alike is None else "" if alike.done() else ON_THEIR_WAY)
        self._draw_map()
        self._draw_names()
        self._draw_gallery()
        self._draw_chosen()
        self.layout = self._lay_out()
        self._laid_out = True
        for awaited, show in ((laid, self._draw_map), (alike, self._draw_chosen)):
            if awaited and not awaited.done():
                awaited.add_done_callback(partial(self._arrive, show))

    def _make_widgets(self) -> None:
        browsing, margin = self.browsing, (0, 8, 0, 0)
        small: dict[str, Any] = {"width": 150, "margin": margin}
        numbers, maps = browsing.galaxies.list_numbers(), browsing.list_maps()
        pick = partial(pn.widgets.Select, stylesheets=[ARROW])
        write = pn.widgets.TextInput
        self.axes = pick(name="map", options=maps, **small)
        self.x = pick(name="x", options=numbers, visible=maps[0] == COLUMNS, **small)
        self.y = pick(name="y", options=numbers, value=numbers[-1], visible=self.x.visible, **small)
        self.colour = pick(name="colour", options=browsing.list_colours(), **small)
        sortings, now = list(browsing.list_sortings()), browsing.sorted_by
        self.sort = pick(name="sort by", options=sortings, value=now, width=180, margin=margin)
        self.where = write(name="where", placeholder="confidence < 0.6", width=200, margin=margin)
        keys, names = "labels, by the keys 1 to 9", ", ".join(self.names)
        self.keys = write(name=keys, value=names, width=300, margin=0)
        self.format = pick(name="", options=list(FORMATS), width=110, margin=(0, 6, 0, 0))
        self.save = pn.widgets.FileDownload(
            callback=self._export, filename="selection.csv", label="Save these", **small
        )
        self.gallery = Gallery(
            self._hear, typed=True, alone=self._alone, sizing_mode="stretch_width"
        )
        self.near = Gallery(self._hear, side=76, sizing_mode="stretch_width")
        self.why = pick(name="why", options=self._list_reasons(), width=180, margin=(0, 6, 6, 0))
        self.portrait = Words(sizing_mode="stretch_width", margin=(0, 20, 0, 0), styles=WRAPPED)
        self.status = Words(sizing_mode="stretch_width", margin=(6, 0))
        self.shown = Words(width=110, margin=(8, 8, 0, 0))
        for widget in (self.axes, self.x, self.y, self.colour):
            widget.param.watch(self._redraw_map, "value")
        self.sort.param.watch(self._sort, "value")
        self.where.param.watch(self._filter, "value")
        self.keys.param.watch(self._rename, "value")
        self.why.param.watch(lambda _: self._draw_chosen(), "value")
        self.format.param.watch(self._name_file, "value")

    def _make_buttons(self) -> None:
        def button(name: str, act: Any, **style: Any) -> Any:
            return pn.widgets.Button(name=name, on_click=act, margin=(0, 6, 6, 0), **style)

        self.back = button("‹", lambda _: self._turn(-1), width=36)
        self.forth = button("›", lambda _: self._turn(1), width=36)
        self.all = button("Whole map", lambda _: self._pick(None), visible=False)
        self.like = button("More like this", lambda _: self._sort_similar())
        self.buttons = [
            button("", lambda _, k=k: self._label(self.browsing.chosen, k)) for k in range(KEYS)
        ]
        self.send = button("Send by SAMP", lambda _: self._send())
        self.undo = button("Undo", lambda _: self._undo())
        self.learn = button("Learn", lambda _: self._learn(), button_type="primary")
        self.head_name = pn.widgets.TextInput(
            value="my_head.safetensors", width=180, margin=(0, 6, 0, 0)
        )
        self.save_head = button("Save head", lambda _: self._save_head())
        self.save_head.disabled = self.browsing.galaxies.learnt is None

    def _list_reasons(self) -> dict[str, str]:
        return {"—": "", **self.browsing.list_shares()}

    def _lay_out(self) -> Any:
        wide = {"sizing_mode": "stretch_width", "margin": 0}
        left = pn.Column(
            pn.FlexBox(self.axes, self.x, self.y, self.colour, **wide),
            pn.pane.Bokeh(self.map.figure, height=500, **wide),
            sizing_mode="stretch_width",
            margin=(0, 18, 0, 0),
            styles=WRAPPED,
        )
        pages = pn.Row(self.shown, self.back, self.forth, self.all, margin=(6, 0, 0, 0))
        bar = pn.FlexBox(
            *(self.sort, self.where, pages), align_items="end", **{**wide, "margin": (0, 0, 6, 0)}
        )
        cells = pn.Column(self.gallery, height=500, scroll=True, **wide)
        right = pn.Column(bar, cells, styles=WRAPPED, **wide)
        labelling = pn.Column(
            self.keys,
            pn.FlexBox(*self.buttons, margin=(8, 0, 0, 0), sizing_mode="stretch_width"),
            pn.Row(self.undo, self.learn, margin=0),
            pn.Row(self.head_name, self.save_head, margin=0),
            pn.Row(self.format, self.save, margin=(4, 0, 0, 0)),
            self.send,
            width=340,
        )
        of_near = pn.FlexBox(self.like, self.why, align_items="end", margin=0)
        near = pn.Column(of_near, self.near, width=360, margin=(0, 20, 0, 0))
        return pn.Column(
            self.status,
            pn.FlexBox(left, right, **wide),
            pn.FlexBox(self.portrait, near, labelling, **{**wide, "margin": (14, 0, 0, 0)}),
            sizing_mode="stretch_width",
            margin=12,
        )

    # What happens in the page.

    def _hear(self, message: dict[str, Any]) -> None:
        key, row = message.get("key", ""), int(message.get("row", -1))
        if not 0 <= row < len(self.browsing.galaxies):
            return
        if key in UNDO:
            self._undo()
        elif key in MOVES:
            self.browsing.step(MOVES[key])
            self._follow()
        elif key:
            self._label(row, int(key) - 1)
        else:
            self._choose(row)

    def _label(self, row: int, number: int) -> None:
        """Label the galaxy that was seen as the key was pressed; on disk before the next shows."""
        if number >= len(self.names):
            self._say(f"The key {number + 1} has no name; {len(self.names)} are named")
            return
        with self._saying("Not labelled: "):
            self.browsing.labels.put(row, self.names[number])
            self._say("")
            if row == self.browsing.chosen:
                self.browsing.step(1)
            self._follow()
            self._draw_names()

    def _undo(self) -> None:
        row = self.browsing.labels.undo()
        if row is None:
            self._say("Nothing to undo")
            return
        self._draw_names()
        self.browsing.chosen = row
        self._follow()

    def _choose(self, row: int) -> None:
        self.browsing.chosen = row
        self._follow()
        self._tell(lambda sent: sent.highlight(row))

    def _send(self) -> None:
        """What the gallery shows, to TOPCAT and the like."""
        with self._saying():
            self.sent = self.sent or Sent(self._hear_rows)
            count = self.sent.send(self.browsing.add_labels(), self.browsing.order)
            rows = len(self.browsing.order)
            self._say(
                f"Sent {rows:,} rows; programs that listen: {count}; what they select shows here"
            )

    def _tell(self, say: Callable[[Sent], None]) -> None:
        """Other programs, if a table was sent to them."""
        if self.sent is None:
            return
        sent, self.sent = self.sent, None  # what fails is not asked again
        with self._saying():
            say(sent)
            self.sent = sent

    def _hear_rows(self, rows: list[int]) -> None:
        """From a thread of SAMP: rows that another program has selected."""
        self._change_map(partial(self._show_rows, rows))

    def _show_rows(self, rows: list[int]) -> None:
        if len(rows) == 1:
            self.browsing.chosen = rows[0]
            self._follow()
        else:
            self._pick(np.array(rows) if rows else None, tell=False)

    def _follow(self) -> None:
        """Show the chosen galaxy, and the page that it is on."""
        order = self.browsing.order
        at = (order == self.browsing.chosen).nonzero()[0]
        if len(at):
            self.page = int(at[0]) // PAGE
        self._draw_gallery()
        self._draw_chosen()
        if self.colour.value == YOUR_LABEL:
            self._draw_map()

    def _pick(self, rows: Any, *, tell: bool = True) -> None:
        self.browsing.picked = rows
        if tell:
            self._tell(lambda sent: sent.select([] if rows is None else rows))
        self.all.visible = rows is not None
        if rows is None:
            self._change_map(self.map.unselect)
        self._begin()

    def _sort(self, event: Any) -> None:
        self.browsing.sorted_by = event.new
        self._begin()

    def _filter(self, event: Any) -> None:
        with self._saying():
            self.browsing.filter(event.new)
            self._say("")
            self._begin()
            self._draw_map()

    def _sort_similar(self) -> None:
        self.sort.value = SIMILAR
        self._begin()

    def _begin(self) -> None:
        """Show the first page of a new order."""
        self.browsing.refresh()
        self.page = 0
        self._draw_gallery()

    def _turn(self, by: int) -> None:
        last = max(0, (len(self.browsing.order) - 1) // PAGE)
        self.page = min(max(self.page + by, 0), last)
        self._draw_gallery()

    def _rename(self, event: Any) -> None:
        given = [name.strip() for name in event.new.split(",") if name.strip()]
        if not given or len({*map(make_class_name, given)}) < len(given):
            self._say("Name the labels by different letters or digits, as in: merging, other")
            return
        self._say(f"There are keys for {KEYS} labels alone" if len(given) > KEYS else "")
        self.names[:] = given[:KEYS]
        self._draw_names()

    def _learn(self) -> None:
        with self._saying():
            learnt = self.browsing.learn()
            self.save_head.disabled = False
            self.sort.options = list(self.browsing.list_sortings())
            self.colour.options = self.browsing.list_colours()
            self.why.options = self._list_reasons()
            self._say(f"{learnt.describe()}. Sort by “yours: …” for what to label next.")
            self._begin()
            self._draw_chosen()
            self._draw_map()

    def _save_head(self) -> None:
        path, galaxies = self.head_name.value.strip(), self.browsing.galaxies
        with self._saying():
            save_head(path, galaxies.learnt, galaxies.meta)
            self._say(f"Saved; use it with: galmorph classify IMAGES --head {path}")

    def _name_file(self, event: Any) -> None:
        self.save.filename = f"selection{FORMATS[event.new]}"

    def _export(self) -> io.BytesIO:
        browsing = self.browsing
        try:
            data = make_file(browsing.add_labels(), browsing.order, FORMATS[self.format.value])
        except GalmorphError as error:
            self._say(str(error))
            raise
        bare = count_unplaced(browsing.galaxies, browsing.order)
        if self.format.value == "DS9 regions" and bare:
            self._say(f"{bare} of {len(browsing.order)} have no position, and so no region")
        return io.BytesIO(data)

    # What is drawn.

    def _say(self, text: str) -> None:
        browsing = self.browsing
        name, count = escape(browsing.galaxies.name), len(browsing.galaxies)
        head = f"<b>{name}</b> · {count:,} galaxies · labels in {escape(str(browsing.labels.path))}"
        said = f'<div role="status" class="said">{escape(text)}</div>' if text else ""
        self.status.words = f'<div style="font-size: 13px">{head}{said}</div>'

    @contextmanager
    def _saying(self, before: str = "") -> Iterator[None]:
        """What goes wrong is said on the page."""
        try:
            yield
        except GalmorphError as error:
            self._say(before + str(error).removeprefix("--"))

    def _redraw_map(self, _: Any) -> None:
        kind = self.axes.value
        self.x.visible = self.y.visible = kind == COLUMNS
        if kind != "UMAP" or kind in self.browsing.maps or self._document is None:
            self._draw_map()
            return
        self._say("UMAP takes a minute or more the first time; it is kept beside the run")
        for act in (self._draw_map, partial(self._say, "")):
            self._document.add_timeout_callback(act, SHOWN_FIRST)

    def _draw_map(self) -> None:
        browsing, kind = self.browsing, self.axes.value
        if kind == COLUMNS:
            columns = browsing.galaxies.columns
            axes = columns[self.x.value], columns[self.y.value]
            names = self.x.value, self.y.value
        elif (laid := browsing.galaxies.laid) and not laid.done():
            return
        else:
            found = browsing.compute_map(kind)
            axes, names = (found[:, 0], found[:, 1]), (f"{kind} 1", f"{kind} 2")
        colour = self.colour.value
        shown: dict[str, Any] = {"rows": browsing.passing, "names": (*names, colour)}
        self._change_map(partial(self.map.show, *axes, browsing.get_colour(colour), **shown))
        self._change_map(partial(self.map.mark, browsing.chosen))

    def _change_map(self, change: Callable[[], None]) -> None:
        """At once, or, as Panel may call without the lock of the document, when that is held."""
        if self._document is None or not self._laid_out:
            change()
        else:
            self._document.add_next_tick_callback(change)

    def _items(self, rows: Iterable[int], notes: Any) -> list[dict[str, Any]]:
        get, labels = self.browsing.galaxies.get, self.browsing.labels
        return [
            {
                "row": int(row),
                "src": src,
                "title": f"{get('object_id', row)}: {reason}"
                if reason
                else str(get("object_id", row)),
                "note": _note(get("label", row), None if notes is None else notes[row]),
                "label": labels.get(row),
            }
            for row, (src, reason) in zip(rows, self.pictures.show_many(rows), strict=True)
        ]

    def _draw_gallery(self) -> None:
        browsing = self.browsing
        first = self.page * PAGE
        rows = browsing.order[first : first + PAGE]
        items = self._items(rows, browsing.notes)
        self.gallery.param.update(items=items, chosen=browsing.chosen)
        count = len(browsing.order)
        of = f"{first + 1}–{first + len(rows)} of {count:,}" if count else "none"
        bare = [item["row"] for item in items if not item["src"]]
        gone = [row for row in bare if self.pictures.is_gone(row)]
        if gone:
            first = browsing.galaxies.get("path", gone[0])
            self._say(
                f"{len(gone)} of these {len(items)} images are not there, the first {first}; "
                "start in the folder of the run, or say with --root where they are"
            )
        self.shown.words = of

    def _draw_chosen(self) -> None:
        browsing = self.browsing
        if not len(browsing.galaxies):
            return
        row = browsing.chosen
        try:
            pictures = self.pictures.show(row, self.why.value)
        except GalmorphError as error:
            self._say(str(error))
            pictures = self.pictures.show(row)
        label = browsing.labels.get(row)
        self.portrait.words = draw_portrait(browsing.galaxies, row, pictures, label)
        near = browsing.find_neighbours(NEIGHBOURS)
        self.near.items = self._items(near, None)
        self.gallery.chosen = row
        self._change_map(partial(self.map.mark, row))

    def _arrive(self, show: Callable[[], None], awaited: Any) -> None:
        """From a thread that has laid embeddings: show what the page stood without."""

        def arrive() -> None:
            with self._saying():
                if awaited is self.browsing.galaxies.alike:
                    self._say("")
                show()

        self._change_map(arrive)

    def _draw_names(self) -> None:
        counts = self.browsing.labels.count()
        names = [*self.names, *[""] * KEYS]
        for k, (button, name) in enumerate(zip(self.buttons, names, strict=False)):
            button.param.update(name=f"{k + 1} {name} ({counts[name]})", visible=bool(name))


def _note(label: Any, value: Any) -> str:
    number = "" if value is None or value != value else f"{value:.2f}"
    return " ".join(filter(None, [number, str(label or "")]))
