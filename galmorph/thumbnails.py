"""Images of a finished result, shown again as they are and as the network was given them."""

import base64
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any, Self, TypeVar

from PIL import Image

from galmorph.errors import GalmorphError, UnreadableImageError
from galmorph.images.containers import is_container, list_container, split_address
from galmorph.images.cutout import Cutout
from galmorph.images.files import ImageFile
from galmorph.images.mosaic import Position, mosaic_sources
from galmorph.images.read import read_cutout
from galmorph.images.source import Lost, Source, make_printable
from galmorph.inputs import open_inputs
from galmorph.panels import make_panels, to_image
from galmorph.preprocessing.pipeline import Prepared, Preprocessing
from galmorph.preprocessing.render import render
from galmorph.remote import check_named, is_url
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions, RunOptions, Settings
from galmorph.tables.provenance import nest_meta

S = TypeVar("S", bound=Settings)

JPEG_QUALITY = 82


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
