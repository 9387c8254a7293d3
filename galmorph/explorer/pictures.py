"""Pictures of the galaxies of a run, read when they are looked at."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from galmorph.errors import GalmorphError
from galmorph.explorer.galaxies import MINE, Galaxies
from galmorph.heads import Head
from galmorph.images.containers import split_address
from galmorph.images.source import Source
from galmorph.model import Model
from galmorph.neighbours.search import load_model_of
from galmorph.pipeline import find_head
from galmorph.remote import is_url
from galmorph.thumbnails import CROPPED, Pictures, draw_heat, to_data_uri
from galmorph.why import compute_occlusion

THUMBNAIL, WHOLE = 112, 320  # sides in pixels
KEPT = 4000  # thumbnails kept in memory, of some 4 kB each
FAILURES = (GalmorphError, ValueError, OSError)

Shown = tuple[str, str]  # a picture as a `data:` address, "" for none, and then the reason


class Thumbnails:
    """Pictures by row; small ones are kept."""

    def __init__(self, galaxies: Galaxies, root: Path | None = None) -> None:
        self.galaxies, self.root = galaxies, root
        self._pictures = Pictures.of(galaxies.meta)
        self._kept: dict[int, Shown] = {}

    def show(self, row: int, why: str = "") -> tuple[Shown, dict[str, str]]:
        """All of one cutout, and its panels as addresses by their captions.

        One more panel is what the share in the column `why` rests on; a GalmorphError where that
        cannot be told.
        """
        try:
            cutout = self._pictures.open(self._find([row])[0])
            panels = self._pictures.make_panels(cutout)
            whole = to_data_uri(self._pictures.show_whole(cutout, WHOLE))
        except FAILURES as error:
            return ("", str(error)), {}
        if why:
            pixels = self._pictures.prepare(cutout).pixels
            heat = compute_occlusion(*self._find_head(why), pixels, why.removeprefix(MINE))
            name = why.removeprefix("p_").removesuffix("_fraction")
            panels[f"what {name} rests on"] = draw_heat(panels[CROPPED], heat)
        return (whole, ""), {name: to_data_uri(panel) for name, panel in panels.items()}

    def _find_head(self, column: str) -> tuple[Model, Head]:
        """Model of the run, and the head that fills a column: its own, or the one learnt last."""
        galaxies = self.galaxies
        model = load_model_of(galaxies.name, galaxies.meta)
        if column.startswith(MINE):
            return model, galaxies.learnt.head
        return model, find_head(model, str(galaxies.meta.get("head")))

    def show_many(self, rows: Iterable[int]) -> list[Shown]:
        """Thumbnails of several; those of one container are found in one pass through it."""
        rows = [int(row) for row in rows]
        missing = [row for row in rows if not self._kept.get(row, ("", ""))[0]]
        with ThreadPoolExecutor(4) as threads:
            drawn = threads.map(lambda source: self._draw(source, THUMBNAIL), self._find(missing))
            self._kept |= dict(zip(missing, drawn, strict=True))
        shown = [self._kept[row] for row in rows]
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return shown

    def _find(self, rows: Sequence[int]) -> list[Source]:
        get = self.galaxies.get
        keys = ("object_id", "ra", "dec")
        return self._pictures.find(
            {**{key: get(key, row) for key in keys}, "path": self.find(str(get("path", row)))}
            for row in rows
        )

    def is_gone(self, row: int) -> bool:
        """Whether the file is no longer where the run found it; URLs are not looked at."""
        file = split_address(self.find(str(self.galaxies.get("path", row))))[0]
        return not (is_url(file) or Path(file).exists())

    def find(self, address: str) -> str:
        """Where it is now: beneath the root, if one was given, by its path or else by its name."""
        if self.root is None:
            return address
        file = split_address(address)[0]
        beneath = self.root / file.lstrip("/")
        return (
            str(beneath if beneath.exists() else self.root / Path(file).name) + address[len(file) :]
        )

    def _draw(self, source: Source, side: int) -> Shown:
        try:
            picture = self._pictures.show_whole(self._pictures.open(source), side)
        except FAILURES as error:
            return "", str(error)
        return to_data_uri(picture), ""
