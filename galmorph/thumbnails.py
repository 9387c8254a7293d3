"""Images as they are and as the network was given them: thumbnails, panels, what lies over them."""

import base64
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from galmorph.errors import GalmorphError, UnreadableImageError
from galmorph.images.containers import is_container, list_container, split_address
from galmorph.images.cutout import Cutout
from galmorph.images.files import ImageFile
from galmorph.images.mosaic import Position, mosaic_sources
from galmorph.images.read import read_cutout
from galmorph.images.source import Lost, Source, make_printable
from galmorph.inputs import open_inputs
from galmorph.preprocessing.pipeline import Prepared, Preprocessing
from galmorph.preprocessing.render import render
from galmorph.remote import check_named, is_url
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions, RunOptions, Settings
from galmorph.tables.provenance import nest_meta

PANEL = 320  # side of a panel in pixels
CROPPED = "cropped"
CAPTION = 26
GAP = 6
PERCENTILES = (0.5, 99.5)  # black and white of flux that is shown without a stretch
FOR, AGAINST = (255, 80, 20), (40, 120, 255)  # of what speaks for a class, and against it
OPAQUE = 0.75  # how much the strongest of these covers
S = TypeVar("S", bound=Settings)
JPEG_QUALITY = 82


def to_image(array: npt.NDArray[Any]) -> Image.Image:
    """(3, y, x) on [0, 1], or uint8."""
    if array.dtype != np.uint8:
        array = (np.clip(np.nan_to_num(array), 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))


def _show_flux(cutout: Cutout) -> npt.NDArray[np.float32]:
    """Mean of the bands between two percentiles, linear, in three planes."""
    grey = cutout.array.mean(axis=0)
    good = grey[np.isfinite(grey)]
    low, high = np.percentile(good, PERCENTILES) if good.size else (0.0, 1.0)
    scaled = (grey - low) / max(float(high - low), 1e-30)
    return np.repeat(scaled[None], 3, axis=0).astype(np.float32)


def _fit(array: npt.NDArray[Any], *, smooth: bool = True) -> Image.Image:
    image = to_image(array)
    scale = PANEL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return image.resize(size, method)


def make_panels(
    cutout: Cutout, preprocessing: Preprocessing, field: FieldOptions, rendering: RenderOptions
) -> dict[str, Image.Image]:
    """Image, stretched, cropped, and what the network sees, by their captions."""
    stretched = render(cutout, options=rendering).array
    seen, large = (
        each.prepare(cutout, field=field, rendering=rendering).pixels
        for each in (preprocessing, replace(preprocessing, img_size=PANEL))
    )
    is_flux = cutout.kind != "rendered"
    return {
        "image (mean of bands, linear)" if is_flux else "image": _fit(
            _show_flux(cutout) if is_flux else cutout.array
        ),
        "stretched": _fit(stretched),
        CROPPED: _fit(large),
        f"what the network sees ({seen.shape[-1]} px)": _fit(seen, smooth=False),
    }


def draw_heat(picture: Image.Image, heat: npt.NDArray[np.floating[Any]]) -> Image.Image:
    """Numbers (y, x) over a picture that has lost its colours; the largest is most opaque."""
    fine = Image.fromarray(heat.astype(np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
    scaled = np.clip(np.asarray(fine) / max(float(np.abs(heat).max()), 1e-12), -1, 1)
    colours = np.where(scaled[..., None] > 0, FOR, AGAINST).astype(np.uint8)
    cover = Image.fromarray((np.abs(scaled) * OPAQUE * 255).astype(np.uint8))
    grey = picture.convert("L").convert("RGB")
    grey.paste(Image.fromarray(colours), mask=cover)
    return grey


def join_panels(panels: Mapping[str, Image.Image]) -> Image.Image:
    """All side by side under their captions."""
    width = len(panels) * (PANEL + GAP) + GAP
    canvas = Image.new("RGB", (width, PANEL + CAPTION + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (caption, panel) in enumerate(panels.items()):
        left = GAP + number * (PANEL + GAP)
        x, y = (PANEL - panel.width) // 2, (PANEL - panel.height) // 2
        canvas.paste(panel, (left + x, CAPTION + y))
        draw.text((left, CAPTION // 4), caption, fill="black")
    return canvas


@dataclass(frozen=True)
class Pictures:
    """How a run has read and prepared its images; needs no model."""

    preprocessing: Preprocessing
    read: ReadOptions
    field: FieldOptions
    rendering: RenderOptions
    inputs: Mapping[str, Any]

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> Self:
        """Of the provenance of a result; usual settings where it says nothing."""
        meta = nest_meta(provenance)
        return cls(
            Preprocessing.from_dict(meta.get("preprocessing") or {}),
            _restore(ReadOptions, meta.get("reading") or {}),
            _restore(FieldOptions, meta.get("field") or {}),
            _restore(RenderOptions, meta.get("rendering") or {}),
            meta.get("inputs") or {},
        )

    def find(self, rows: Iterable[Mapping[str, Any]]) -> list[Source]:
        """Sources of rows by name, those of one container in one pass; `Lost` for none."""
        rows = list(rows)
        if self.inputs.get("mosaic"):
            return [self._find_position(row) for row in rows]
        if (
            self.inputs.get("bands_from_name")
            or len(self.inputs.get("path_column") or ()) > 1
            or self.inputs.get("survey")
        ):
            return self._find_again(rows)
        paths = {str(row["path"]): str(row["object_id"]) for row in rows}
        found: dict[str, Source] = {}
        for file, group in groupby(sorted(paths, key=_file_of), _file_of):
            found |= _find_in(file, {path: paths[path] for path in group})
        return [found[str(row["path"])] for row in rows]

    def _find_position(self, row: Mapping[str, Any]) -> Source:
        mosaics, name = tuple(self.inputs["mosaic"]), str(row["object_id"])
        bands = self.read.bands if len(mosaics) > 1 else None
        place = Position(name, float(row["ra"]), float(row["dec"]))
        try:
            return next(mosaic_sources(mosaics, [place], fov=self.inputs["fov"], bands=bands))
        except GalmorphError as error:
            return Lost(name, str(row["path"]), error)

    def _find_again(self, rows: Sequence[Mapping[str, Any]]) -> list[Source]:
        """Of several files per galaxy, by listing the inputs as the run did."""
        given = {key: value for key, value in self.inputs.items() if key != "paths"}
        images = tuple(map(os.path.expanduser, self.inputs.get("paths") or ())) or None
        options = _restore(RunOptions, {**given, "images": images, "bands": self.read.bands})
        wanted, found = {str(row["path"]) for row in rows}, {}
        try:
            # a table may say anything of its inputs: only what the command has named is asked
            places = (*(images or ()), given.get("catalogue"), given.get("survey_url"))
            for url in filter(is_url, places):
                check_named(url, None)
            for source in open_inputs(options).list_sources():
                if source.address in wanted:
                    found[source.address] = source
        except GalmorphError as error:
            return [Lost(str(row["object_id"]), str(row["path"]), error) for row in rows]
        return [found.get(str(row["path"])) or _lose(row["object_id"], row["path"]) for row in rows]

    def open(self, source: Source) -> Cutout:
        """Read one, as the run did, all of its frame; a GalmorphError where that fails."""
        return read_cutout(source, options=self.read)

    def show_whole(self, cutout: Cutout, side: int = 160) -> Image.Image:
        """All of the cutout in the colours of the run, at most so many pixels wide and high."""
        picture = to_image(render(cutout, options=self.rendering).array)
        picture.thumbnail((side, side))
        return picture

    def show_seen(self, cutout: Cutout) -> Image.Image:
        """What the network was given."""
        return to_image(self.prepare(cutout).pixels)

    def prepare(self, cutout: Cutout) -> Prepared:
        """The same, with all that is known of it."""
        return self.preprocessing.prepare(cutout, field=self.field, rendering=self.rendering)

    def make_panels(self, cutout: Cutout) -> dict[str, Image.Image]:
        """On its way to the network, by their captions."""
        return make_panels(cutout, self.preprocessing, self.field, self.rendering)


def to_data_uri(picture: Image.Image) -> str:
    """A picture as a JPEG in an address of its own."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _restore(kind: type[S], values: Mapping[str, Any]) -> S:
    names = {each.name for each in fields(kind)}
    return kind(**{k: v for k, v in values.items() if k in names and v not in (None, "")})


def _file_of(path: str) -> str:
    file, member, index = split_address(path)
    return f"{file}::{member}" if member and index is not None else file


def _lose(object_id: str, path: str) -> Lost:
    error = UnreadableImageError("it is no longer there", make_printable(path) or "no file")
    return Lost(str(object_id), str(path), error)


def _find_in(file: str, paths: Mapping[str, str]) -> Iterator[tuple[str, Source]]:
    """Path and source of each of some paths with their identifiers, all in one file."""
    if not is_container(file):
        yield from ((path, ImageFile(object_id, path)) for path, object_id in paths.items())
        return
    missing = dict(paths)
    try:
        for source in list_container(file):
            if missing.pop(source.address, None) is not None:
                yield source.address, source
            if not missing:
                return
    except GalmorphError as error:
        yield from ((path, Lost(name, path, error)) for path, name in missing.items())
        return
    yield from ((path, _lose(name, path)) for path, name in missing.items())
