"""Positions on the sky as sources, downloaded by few threads ahead of the work, kept in a cache.

All requests are made in the process that lists: `bring` fills the cache, and `read_head`, which a
run calls before it chooses where to read, fills it again where that is needed. Reader processes
find the bytes in the cache.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from galmorph.errors import (
    GalmorphError,
    GalmorphWarning,
    ImageError,
    NotAnsweredError,
    NotCoveredError,
    UnsupportedImageError,
)
from galmorph.images.ahead import bring_ahead
from galmorph.images.cutout import Cutout
from galmorph.images.mosaic import Position
from galmorph.images.raster import decode_image
from galmorph.images.read import read_cutout
from galmorph.images.source import Lost, Source
from galmorph.remote import find_cache
from galmorph.settings import ReadOptions
from galmorph.surveys.client import CONNECTIONS, Client
from galmorph.surveys.services import (
    SERVICES,
    Frame,
    Service,
    check_bands,
    choose_frame,
    find_service,
    make_urls,
)
from galmorph.writing import say_unwritable, write_whole

MAX_BYTES = 4 << 30
CHECKED_EVERY = 512  # files that are written between two looks at the size of all
DIGEST_BYTES = 32
FLAT_STEPS = 3  # of 255: what JPEG makes of one colour
CLIENT = Client()


def find_folder() -> Path:
    """``galmorph/surveys`` in the user's cache."""
    return find_cache() / "surveys"


class Cache:
    """Bytes by address. A file is the sha256 of the bytes, and the bytes."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes, self._count = folder, max_bytes, 0

    def get(self, url: str) -> bytes | None:
        """What was kept of an address, where it is there and whole."""
        path = self._place(url)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if hashlib.sha256(data[DIGEST_BYTES:]).digest() == data[:DIGEST_BYTES]:
            return data[DIGEST_BYTES:]
        self.drop(url)
        return None

    def put(self, url: str, data: bytes) -> None:
        """Keep; the longest unused go where it becomes too much."""
        path = self._place(url)
        with say_unwritable(path.parent, "another folder by XDG_CACHE_HOME"):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(data).digest() + data)
        if self._count % CHECKED_EVERY == 0:
            self.shrink()
        self._count += 1

    def drop(self, url: str) -> None:
        """Forget what turned out to be no image."""
        self._place(url).unlink(missing_ok=True)

    def shrink(self) -> None:
        """Remove the longest unused beyond the bound."""
        held, files = 0, []
        for path in self.folder.glob("??/*"):
            with suppress(OSError):  # another run has removed it
                files.append((path.stat(), path))
        for status, path in sorted(files, key=lambda file: -file[0].st_mtime):
            held += status.st_size
            if held > self.max_bytes:
                path.unlink(missing_ok=True)

    def _place(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / name[:2] / name


_open_cache = cache(Cache)  # by folder


class _FluxError(NotAnsweredError):
    """No flux came: perhaps the survey has none there, which some services call an error."""


@dataclass(frozen=True, slots=True)
class SkyPosition:
    """A position of which a survey is asked for an image."""

    object_id: str
    ra: float
    dec: float
    survey: str
    urls: tuple[str, ...]
    frame: Frame
    bands: tuple[str, ...] | None = None
    by_radius: bool = False  # the frame is scaled by the galaxy, as those of Galaxy Zoo are
    kept: bool = False  # in the cache
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where the image is downloaded from; a browser shows it."""
        return self.urls[0]

    @property
    def service(self) -> Service:
        """What is known of the survey's server."""
        return SERVICES[self.survey.partition(":")[0]]

    def fetch(self, stopped: threading.Event | None = None) -> bytes:
        """The bytes of the image, from the cache or the service."""
        kept = _open_cache(find_folder())
        if (data := kept.get(self.address)) is None:
            data = CLIENT.fetch(self.urls, stopped or threading.Event())
            kept.put(self.address, data)
        return data

    def bring(self, within: str | None, stopped: threading.Event | None = None) -> SkyPosition:
        """The same, once its bytes are in the cache."""
        if self.kept:
            return self
        try:
            self.fetch(stopped)
        except NotAnsweredError as error:
            if not self.bands:
                raise
            said = f"{error.reason}; outside of the survey: {self.service.outside}"
            raise _FluxError(said) from error
        return replace(self, kept=True)

    def read_head(self, count: int) -> bytes:
        """First bytes of the image; b"" where it cannot be had."""
        try:
            return self.fetch()[:count]
        except GalmorphError:  # whoever reads says so
            return b""

    def read(self, options: ReadOptions) -> Cutout:
        """Decode what was downloaded, all of it, and see whether it is what was asked for."""
        data = self.fetch()
        whole = replace(options, min_side=None, seen=None, seen_side=None)
        try:
            cutout = decode_image(data, whole)
        except ImageError:
            _open_cache(find_folder()).drop(self.address)
            raise
        self._check(cutout)
        asked = f"{self.frame.scale:.4g} arcsec/px"
        notes = {**cutout.notes, "survey": self.survey, "asked": asked}
        if self.service.treatment and self.bands is None:
            notes["stretched_by_survey"] = self.service.treatment
        scale = math.nan if self.by_radius else self.frame.scale
        return replace(cutout, ra=self.ra, dec=self.dec, pixel_scale=scale, notes=notes)

    def _check(self, cutout: Cutout) -> None:
        planes, *sides = cutout.array.shape
        side, bands = self.frame.side, planes if self.bands is None else len(self.bands)
        if [planes, *sides] != [bands, side, side]:
            said = f"{bands} x {side} x {side} pixels were asked for, and {planes} x"
            raise NotAnsweredError(f"{said} {sides[0]} x {sides[1]} came", self.address)
        if _is_empty(cutout):
            raise NotCoveredError("the survey has no image here: the tile is empty", self.address)


def _is_empty(cutout: Cutout) -> bool:
    """Whether all is one value, or the middle is black or not a number."""
    array = cutout.array
    steps = FLAT_STEPS if array.dtype == np.uint8 else 0
    good = array[np.isfinite(array)]
    if not good.size or float(good.max()) - float(good.min()) <= steps:
        return True
    height, width = array.shape[1:]
    rows, columns = (slice(3 * n // 8, 5 * n // 8 + 1) for n in (height, width))
    return bool((np.abs(np.nan_to_num(array[:, rows, columns])) <= steps).all())


def list_positions(
    positions: Iterable[Position],
    survey: str,
    *,
    url: str | None = None,
    fov: float | Literal["auto"] | None = None,
    bands: Sequence[str] | None = None,
) -> Iterator[Source]:
    """Positions of a catalogue as sources, lazily; an OptionError at once where a name is wrong."""
    service = find_service(survey, url)
    names = None if bands is None else check_bands(service, bands)

    def make(position: Position) -> Source:
        columns = {"ra": position.ra, "dec": position.dec, **(position.columns or {})}
        if not (math.isfinite(position.ra) and abs(position.dec) <= 90):
            error = UnsupportedImageError("the catalogue has no position here")
            return Lost(position.object_id, "", error, columns)
        ra = position.ra % 360
        frame = choose_frame(service, fov, columns)
        by_radius = fov in (None, "auto") and frame != Frame(service.scale, service.side)
        urls = make_urls(service, ra, position.dec, frame, names)
        where = position.object_id, ra, position.dec, survey, urls, frame, names, by_radius
        return SkyPosition(*where, columns=columns)

    return map(make, positions)


@dataclass(frozen=True)
class Survey:
    """A survey that gives cutouts by position.

    Parameters
    ----------
    name : str
        "legacysurvey", "sdss" or "hips:ID"; with a layer or release, "legacysurvey:ls-dr9".
    url : str, optional
        Another place of the service, else that of the environment variable GALMORPH_SURVEY_URL.
    """

    name: str
    url: str | None = None

    def cutouts(
        self,
        coords: Any,
        *,
        fov: float | None = None,
        bands: Sequence[str] | None = None,
        connections: int = CONNECTIONS,
    ) -> Iterator[Cutout | None]:
        """Download cutouts, lazily and in order.

        Parameters
        ----------
        coords : SkyCoord or sequence of (ra, dec)
            Positions; numbers are degrees, ICRS.
        fov : float, optional
            Side in arcseconds; by default the usual frame of the service.
        bands : sequence of str, optional
            Flux in these bands in place of a picture, as "grz" of the Legacy Surveys.
        connections : int
            Downloads at once.

        Yields
        ------
        Cutout or None
            None, and a GalmorphWarning that says why, where there is none.

        Raises
        ------
        SurveyError
            The service answers nothing at all.
        """
        places, options = _to_positions(coords), ReadOptions(bands=bands)
        sources = list_positions(places, self.name, url=self.url, fov=fov, bands=options.bands)
        CLIENT.limit(connections)
        for source in bring_ahead(sources, connections=connections):
            try:
                yield read_cutout(source, options=options)
            except GalmorphError as error:
                warnings.warn(f"{source.object_id}: {error}", GalmorphWarning, stacklevel=2)
                yield None


def _to_positions(coords: Any) -> Iterator[Position]:
    if hasattr(coords, "icrs"):
        coords = np.stack([coords.icrs.ra.deg, coords.icrs.dec.deg], axis=-1)
    pairs = np.asarray(coords, dtype=float).reshape(-1, 2)
    return (Position(str(k), float(ra), float(dec)) for k, (ra, dec) in enumerate(pairs))


def save(source: Source, folder: Path, name: str) -> str:
    """Write the bytes of one, checked, under that name; the name with its suffix."""
    read_cutout(source, options=ReadOptions(bands=getattr(source, "bands", None)))
    data = source.fetch() if isinstance(source, SkyPosition) else b""
    file = name + (".fits" if data.startswith(b"SIMPLE") else ".jpg")
    (folder / file).write_bytes(data)
    return file
