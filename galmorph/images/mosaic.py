"""Cutouts on the fly: a large FITS image and a list of positions."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from galmorph.errors import BandError, UnreadableImageError, UnsupportedImageError
from galmorph.images.band_files import BandFiles
from galmorph.images.bands import UNKNOWN_BAND, find_band_names, sort_by_wavelength
from galmorph.images.compressed import find_unpacked
from galmorph.images.cutout import Cutout
from galmorph.images.files import read_head
from galmorph.images.fits import read_part
from galmorph.images.fits_files import open_fits, reading_fits
from galmorph.images.hdus import choose_hdus
from galmorph.images.sky import load_sky
from galmorph.images.source import FITS_MAGIC, Lost, Region, Source, naming
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
    """A position in a mosaic, which stays open for the next one; ``file`` may be unpacked."""

    object_id: str
    path: str
    file: str
    region: Region
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.path

    def read(self, options: ReadOptions) -> Cutout:
        """Read the part that is asked for, of a tile-compressed mosaic no further tile."""
        return read_part(self.file, options, self.region)

    def read_head(self, count: int) -> bytes:
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
    """List cutouts of a mosaic, or of one per band, at positions; nothing is read whole."""
    if not fov > 0:
        raise ValueError(f"fov must be positive arcseconds, not {fov}")
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    files = [os.fspath(path) for path in given]
    unpacked = list(map(_open_mosaic, files))
    names = _name_bands(unpacked, bands) if len(files) > 1 else [""]
    mosaics = list(zip(names, files, unpacked, strict=True))
    return (_cut_at(position, mosaics, fov) for position in positions)


def _open_mosaic(path: str) -> str:
    """The file, or what was unpacked of it; what no position can be cut out of is refused."""
    said = ""
    with naming(path):
        if not os.path.isfile(path):
            raise UnreadableImageError("there is no such file")
        file = find_unpacked(path)
        if read_head(file, 8).startswith(FITS_MAGIC):
            with reading_fits(file), closing(open_fits(file)) as hdus:
                for hdu in hdus:
                    wcs, remark = load_sky(hdu.header, hdus)
                    if wcs is not None:
                        return file
                    said = said or (f" ({remark})" if remark else "")
        raise UnsupportedImageError(f"a mosaic must be a FITS image with a WCS{said}")


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


def _name_bands(files: list[str], bands: Sequence[str] | None) -> list[str]:
    names = list(bands or ())
    for file in files if bands is None else ():
        with reading_fits(file), closing(open_fits(file)) as hdus:
            found = find_band_names(choose_hdus(hdus, None).hdus[0].header, 1)
        names.append(found[0] if found else UNKNOWN_BAND)
    if len(names) != len(files):
        raise BandError(f"{len(names)} bands for {len(files)} mosaics")
    if UNKNOWN_BAND in names or len(set(names)) < len(names):
        raise BandError(
            f"the mosaics are of the bands {', '.join(names)}; name them in the order of the "
            "files, one image per band (tiles of a field take a run each)"
        )
    if bands is None:
        sort_by_wavelength(names)  # says once what each row would say
    return names
