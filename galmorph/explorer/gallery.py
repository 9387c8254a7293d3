"""A page of thumbnails in the browser: shows items, tells which was clicked and what was typed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import param
from panel.custom import JSComponent

HERE = Path(__file__).parent


class Gallery(JSComponent):  # type: ignore[misc]
    """Items are {row, src, title, note, label}; messages {row} or {key, row}.

    Where it is `typed`, keys anywhere in the page are heard; `alone` on a page of its own, this one
    is dark where the browser is.
    """

    items = param.List(default=[])
    chosen = param.Integer(default=-1)
    side = param.Integer(default=112)
    typed = param.Boolean(default=False)
    alone = param.Boolean(default=False)

    _esm = HERE / "gallery.js"
    _stylesheets = [(HERE / "gallery.css").read_text()]  # noqa: RUF012 (as the library has it)

    def __init__(self, hear: Callable[[dict[str, Any]], None], **given: Any) -> None:
        self._hear = hear
        super().__init__(**given)

    def _handle_msg(self, data: Any) -> None:
        self._hear(data)


class Words(JSComponent):  # type: ignore[misc]
    """HTML that changes; with Panel's own a notebook would fetch styles from elsewhere."""

    words = param.String()

    _esm = """export function render({model}) {
      const shown = document.createElement('div'), draw = () => { shown.innerHTML = model.words }
      model.on('words', draw)
      draw()
      return shown
    }"""
