"""Cutouts on the fly: a large FITS image and a list of positions."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from galmorph.errors import BandError, UnreadableImageError, UnsupportedImageError
from galmorph.images.band_files import BandFiles
from galmorph.images.bands import UNKNOWN_BAND, sort_by_wavelength
from galmorph.images.cutout import Cutout
from galmorph.images.files import read_head
from galmorph.images.fits import open_fits, reading_fits
from galmorph.images.hdus import choose_hdus
from galmorph.images.open_fits import read_part
from galmorph.images.sky import load_sky
from galmorph.images.source import FITS_MAGIC, Lost, Region, Source, make_printable
from galmorph.images.unpacked import find_unpacked
from galmorph.settings import ReadOptions


@dataclass(frozen=True, slots=True)
class Position:
    """One row of a catalogue of positions, in degrees, ICRS; further columns are carried."""

    object_id: str
    ra: float
    dec: float
    columns: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class MosaicPosition:
    """A position in a mosaic, which stays open for the next one.

    ``file`` is the mosaic itself, or what was unpacked of it.
    """

    object_id: str
    path: str
    file: str
    region: Region
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """That of the mosaic."""
        return self.path

    def read(self, options: ReadOptions) -> Cutout:
        """Read the part that is asked for, of a tile-compressed mosaic no further tile."""
        shown = make_printable(self.path)
        return read_part(self.file, options, self.object_id, shown, region=self.region)

    def read_head(self, count: int) -> bytes:
        """First bytes of what holds the pixels."""
        return read_head(self.file, count)


def region_of(source: Source) -> Region | None:
    """The part of a mosaic that a source shows; None for sources of other kinds."""
    first = source.files[0][1] if isinstance(source, BandFiles) else source
    return first.region if isinstance(first, MosaicPosition) else None


def mosaic_sources(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    positions: Iterable[Position],
    *,
    fov: float,
    bands: Sequence[str] | None = None,
) -> Iterator[Source]:
    """List cutouts of a mosaic at given positions.

    The mosaic is never read whole: each cutout is read from the memory-mapped file when its turn
    comes, of a tile-compressed one only the tiles that it touches. A file in gzip, bzip2 or xz is
    unpacked once, before anything else, into the temporary folder (`galmorph.images.unpacked`).
    A position outside the mosaic gives a row with an error.
    """
    if not fov > 0:
        raise ValueError(f"fov must be positive arcseconds, not {fov}")
    names = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [os.fspath(name) for name in names]
    for file in files:
        if not os.path.isfile(file):
            raise UnreadableImageError("there is no such file", make_printable(file))
    found = {file: find_unpacked(file) for file in files}
    for file, other in found.items():
        _check_image(other, make_printable(file))
    named = _name_bands(files, bands, found) if len(files) > 1 else (("", files[0]),)
    mosaics = [(band, file, found[file]) for band, file in named]
    return (_cut_at(position, mosaics, fov) for position in positions)


def _check_image(file: str, shown: str) -> None:
    """Refuse what no position can be cut out of."""
    said = ""
    with open(file, "rb") as stream:
        is_fits = stream.read(8).startswith(FITS_MAGIC)
    if is_fits:
        with reading_fits(shown, file), open_fits(file, shown) as hdus:
            for hdu in hdus:
                wcs, remark = load_sky(hdu.header, hdus)
                if wcs is not None:
                    return
                said = said or (f" ({remark})" if remark else "")
    raise UnsupportedImageError(f"a mosaic must be a FITS image with a WCS{said}", shown)


def _cut_at(position: Position, mosaics: list[tuple[str, str, str]], fov: float) -> Source:
    object_id = position.object_id
    columns = {"ra": position.ra, "dec": position.dec, **(position.columns or {})}
    if math.isnan(position.ra) or math.isnan(position.dec):
        error = UnsupportedImageError("the catalogue has no position here")
        return Lost(object_id, mosaics[0][1], error, columns)
    region = Region(position.ra, position.dec, fov)
    if len(mosaics) == 1:
        ((_, path, file),) = mosaics
        return MosaicPosition(object_id, path, file, region, columns)
    files = ((band, MosaicPosition(object_id, path, file, region)) for band, path, file in mosaics)
    return BandFiles(object_id, tuple(files), columns)


def _name_bands(
    files: list[str], bands: Sequence[str] | None, found: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    given = bands is not None
    if bands is None:
        bands = [_find_band(found[file], make_printable(file)) for file in files]
    names = list(bands)
    if len(names) != len(files):
        raise BandError(f"{len(names)} bands for {len(files)} mosaics")
    if UNKNOWN_BAND in names or len(set(names)) < len(names):
        raise BandError(
            f"the mosaics are of the bands {', '.join(names)}; name them in the order of the "
            "files, one image per band (tiles of a field take a run each)"
        )
    if not given:
        sort_by_wavelength(names)  # says once what each row would say
    return tuple(zip(names, files, strict=True))


def _find_band(file: str, shown: str) -> str:
    from galmorph.images.bands import find_band_names

    with reading_fits(shown, file), open_fits(file, shown) as hdus:
        header = choose_hdus(hdus, None, shown).hdus[0].header
        names = find_band_names(header, 1)
    return names[0] if names else UNKNOWN_BAND
