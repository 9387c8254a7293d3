"""What is known of each service: the one place to change where a service does."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from galmorph.errors import OptionError

URL_VARIABLE = "GALMORPH_SURVEY_URL"

ARCSEC_PER_DEGREE = 3600


@dataclass(frozen=True, slots=True)
class Service:
    """One service. An empty `id` must be given; flux in `bands` comes where there is an address."""

    name: str
    hosts: tuple[str, ...]  # the first is named in results; the others are asked where it fails
    picture: str  # address of a JPEG
    id: str  # layer, release or HiPS
    scale: float  # arcsec per pixel
    side: int  # pixels
    sides: tuple[int, int]  # others are clamped without a word
    outside: str  # what comes where the survey has not looked
    flux: str = ""  # address of a FITS file
    bands: str = ""  # others are ignored without a word, and all are sent
    radius: tuple[str, float, int] | None = None  # column; arcsec per pixel for 1 arcsec; pixels
    treatment: str = ""  # what is done to each picture by itself


_ALL = (
    Service(
        name="legacysurvey",
        hosts=("https://www.legacysurvey.org",),
        picture="/viewer/cutout.jpg?ra={ra}&dec={dec}&layer={id}&pixscale={scale}&size={side}",
        flux="/viewer/cutout.fits?ra={ra}&dec={dec}&layer={id}&pixscale={scale}&size={side}"
        "&bands={bands}",
        id="ls-dr10",
        scale=0.262,
        side=256,
        sides=(16, 3000),
        bands="griz",
        outside="a flat JPEG; for FITS an error, as 500",
    ),
    Service(
        name="sdss",
        hosts=("https://skyserver.sdss.org",),
        picture="/{id}/SkyServerWS/ImgCutout/getjpeg?ra={ra}&dec={dec}&scale={scale}"
        "&width={side}&height={side}",
        id="dr18",
        scale=0.396127,
        side=424,
        sides=(64, 2048),
        outside="a black JPEG",
        radius=("petroR90_r", 0.02, 424),  # Willett et al. 2013, MNRAS 435, 2835, section 2.1
    ),
    Service(
        name="hips",
        hosts=("https://alasky.cds.unistra.fr", "https://alaskybis.cds.unistra.fr"),
        picture="/hips-image-services/hips2fits?hips={id}&width={side}&height={side}"
        "&projection=TAN&coordsys=icrs&ra={ra}&dec={dec}&fov={fov}&format=jpg",
        id="",
        scale=0.262,
        side=256,
        sides=(16, 4000),
        outside="a flat JPEG, or JSON with title and description",
        treatment="percentiles of each image by itself",
    ),
)
SERVICES = {service.name: service for service in _ALL}


def find_service(survey: str, url: str | None = None) -> Service:
    """The service of ``NAME`` or ``NAME:ID``, perhaps at another place."""
    name, _, found = survey.partition(":")
    if name not in SERVICES:
        raise OptionError(f"--survey is one of {', '.join(SERVICES)}, or NAME:ID, not {survey!r}")
    service = SERVICES[name]
    if not (found or service.id):
        raise OptionError(f"--survey {name} needs the HiPS, as hips:CDS/P/SDSS9/color")
    url = url or os.environ.get(URL_VARIABLE)
    hosts = (_check_url(url),) if url else service.hosts
    return replace(service, id=found or service.id, hosts=hosts)


def _check_url(url: str) -> str:
    """The address without the last slash; it goes into tables, and must hold no secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionError("--survey-url is not like https://HOST")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise OptionError("--survey-url is a host and a path alone, without user, password or ?")
    return url.rstrip("/")


def check_bands(service: Service, bands: Sequence[str] | None) -> None:
    """Refuse bands that the service would ignore."""
    if bands is None:
        return
    if not service.flux:
        raise OptionError(f"--survey {service.name} has pictures alone: leave --bands out")
    unknown = [band for band in bands if band not in tuple(service.bands)]
    if unknown:
        raise OptionError(
            f"--survey {service.name} has the bands {','.join(service.bands)}, not {unknown[0]!r}"
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """A square to ask for: arcseconds per pixel, pixels."""

    scale: float
    side: int


def choose_frame(service: Service, fov: float | None, columns: Mapping[str, Any]) -> Frame:
    """The frame of that side in arcsec; else by the galaxy's radius; else the usual one."""
    if fov is not None:
        least, largest = service.sides
        side = min(max(round(fov / service.scale), least), largest)
        return Frame(fov / side, side)
    if service.radius is not None:
        name, factor, side = service.radius
        radius = next((v for key, v in columns.items() if key.lower() == name.lower()), None)
        if isinstance(radius, int | float) and 0 < radius < math.inf:
            return Frame(factor * radius, side)
    return Frame(service.scale, service.side)


def make_urls(
    service: Service, ra: float, dec: float, frame: Frame, bands: Sequence[str] | None
) -> tuple[str, ...]:
    """Addresses of one cutout, the one that is named first."""
    form = service.picture if bands is None else service.flux
    asked = form.format(
        id=quote(service.id, safe="/"),
        ra=f"{ra:.6f}",
        dec=f"{dec:.6f}",
        scale=f"{frame.scale:.6g}",
        side=frame.side,
        fov=f"{frame.scale * frame.side / ARCSEC_PER_DEGREE:.8g}",
        bands="".join(bands or ()),
    )
    return tuple(host + asked for host in service.hosts)


IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"SIMPLE")
_TITLE = re.compile(r'(?:<title>|"title"\s*:\s*")\s*([^<"]+)', re.IGNORECASE)
_MARKUP = re.compile(r"<[^>]*>|\s+")
MAX_SAID = 100


def say_answer(data: bytes) -> str:
    """What an answer says that is no image: the title of a page or of JSON, or its text."""
    text = data[:4096].decode("utf-8", "replace")
    found = _TITLE.search(text)
    said = " ".join(_MARKUP.sub(" ", found[1] if found else text).split())
    return "".join(char for char in said if char.isprintable())[:MAX_SAID]
