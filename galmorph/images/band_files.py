"""Several files per galaxy, one per band, joined by a pattern of their names."""

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any, Self

import numpy as np

from galmorph.errors import BandError
from galmorph.images.bands import choose_planes, find_band, name_bands
from galmorph.images.calibration import calibration_from_cutout
from galmorph.images.cutout import Cutout
from galmorph.images.files import ImageFile
from galmorph.images.grids import bring_to_one_grid, make_cutout
from galmorph.images.sky import SkyFrame
from galmorph.images.source import Source, make_printable, naming
from galmorph.remote import is_url
from galmorph.settings import ReadOptions


@dataclass(frozen=True, slots=True)
class BandFiles:
    """One galaxy in several files, one per band."""

    object_id: str
    files: tuple[tuple[str, Source], ...]
    columns: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        object_id: str,
        paths: Iterable[tuple[str, str]],
        columns: Mapping[str, Any] | None = None,
    ) -> Self:
        """Of bands and the paths of their files."""
        files = tuple((band, ImageFile(object_id, path)) for band, path in paths)
        return cls(object_id, files, columns or {})

    @property
    def address(self) -> str:
        return self.files[0][1].address

    def read(self, options: ReadOptions) -> Cutout:
        single = replace(options, bands=None)
        names = name_bands(band for band, _ in self.files)
        wanted = None if options.bands is None else {find_band(b, names) for b in options.bands}
        files: list[tuple[str, str, Cutout]] = []
        for band, (_, file) in zip(names, self.files, strict=True):
            if wanted is None or band in wanted:
                with naming(file.address):
                    files.append((band, make_printable(file.address), file.read(single)))
        return _join(files, options)

    def read_head(self, count: int) -> bytes:
        return self.files[0][1].read_head(count)

    def bring(self, within: str | None, stopped: threading.Event | None = None) -> Self:
        """The same, with copies of those that are elsewhere."""
        if not is_url(self.address):
            return self
        files = tuple(
            (band, file.bring(within, stopped) if isinstance(file, ImageFile) else file)
            for band, file in self.files
        )
        return replace(self, files=files)


class BandPattern:
    """A file name pattern with ``{id}`` and ``{band}``, once each, of the end of a path.

    >>> pattern = BandPattern("{id}_{band}.fits")
    >>> [[band for band, _ in s.files] for s in pattern.group(["a_g.fits", "a_r.fits"])]
    [['g', 'r']]
    """

    def __init__(self, pattern: str) -> None:
        if pattern.count("{id}") != 1 or pattern.count("{band}") != 1:
            raise BandError(
                f"the pattern {pattern!r} must hold {{id}} and {{band}} once each, "
                'as in "{id}_{band}.fits"'
            )
        self.pattern = pattern
        escaped = re.escape(pattern).replace(r"\*", "[^/]*")
        escaped = escaped.replace(r"\{id\}", "(?P<id>[^/]+)")
        escaped = escaped.replace(r"\{band\}", "(?P<band>[^/]+?)")
        self._regex = re.compile(rf"(?:^|/)(?P<end>{escaped})$", re.DOTALL)

    def match(self, path: str) -> tuple[str, str, str] | None:
        """Folder ahead of the match, identifier and band of a path; None without a match."""
        if (found := self._regex.search(path)) is None:
            return None
        return os.path.normpath(path[: found.start("end")]), found["id"], found["band"]

    def group(self, paths: Iterable[str]) -> Iterator[Source]:
        """Join the files of one galaxy."""
        groups: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for path in paths:
            *key, band = self.match(path) or (path, "")
            groups.setdefault(tuple(key), []).append((band, path))
        for (_, *identifier), members in groups.items():
            if identifier:
                yield BandFiles.of(make_printable(identifier[0]), members)
            else:
                yield ImageFile.of(members[0][1])


def _join(files: list[tuple[str, str, Cutout]], options: ReadOptions) -> Cutout:
    """Join one-band cutouts of the same field into one, in the first calibration that is known."""
    _check_files(files)
    bands, indices = choose_planes(tuple(band for band, _, _ in files), options.bands, len(files))
    chosen = [files[n] for n in indices] if indices is not None else files
    cutouts = [cutout for _, _, cutout in chosen]
    calibrations = [replace(calibration_from_cutout(c), where=name) for _, name, c in chosen]
    frames = [SkyFrame(c.ra, c.dec, c.pixel_scale, matrix=c.matrix) for c in cutouts]
    zeros = next(({"zeros": c.notes["zeros"]} for c in cutouts if "zeros" in c.notes), {})
    notes = {**cutouts[0].notes, "files": str(len(chosen)), **zeros}
    flags = reduce(or_, (cutout.flags for cutout in cutouts))
    arrays = [cutout.array[:, ::-1] for cutout in cutouts]
    planes = bring_to_one_grid(arrays, frames, calibrations, flags, notes)
    array = np.ascontiguousarray(planes.array[:, ::-1])
    return make_cutout(planes, array, bands, "flux", cutouts[0].survey)


def _check_files(files: list[tuple[str, str, Cutout]]) -> None:
    paths: dict[str, str] = {}
    for band, path, cutout in files:
        if cutout.array.shape[0] != 1:
            raise BandError(f"{path}: {cutout.array.shape[0]} planes in band file {band!r}")
        if band in paths:
            raise BandError(
                f"{paths[band]} and {path} are both band {band!r} of one galaxy; make the "
                "pattern of the names (--bands-from-name) tell them apart, or leave one out"
            )
        paths[band] = path
