"""What is known of each service: the one place to change where a service does."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from galmorph.errors import OptionError
from galmorph.images.source import find_column

URL_VARIABLE = "GALMORPH_SURVEY_URL"
SCALED_SIDE = 424  # pixels of a frame of Galaxy Zoo 2 (Willett et al. 2013, MNRAS 435, 2835, 2.1)
RADII = {
    "petror90_r": 0.02,  # the same section: 0.02 times the Petrosian 90 % radius in r
    "shape_r": 0.0464,  # 2.318 half-light radii hold 90 % of the light of an exponential disk
}
"""Arcseconds per pixel of such a frame for a radius of 1 arcsec, by the name of its column."""

IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"SIMPLE")
_TITLE = re.compile(r'(?:<title>|"title"\s*:\s*")\s*([^<"]+)', re.IGNORECASE)
_MARKUP = re.compile(r"<[^>]*>|\s+")
MAX_SAID = 100


@dataclass(frozen=True, slots=True)
class Service:
    """One service; an empty `id` must be given."""

    name: str
    hosts: tuple[str, ...]  # the first is named in results; the others are asked where it fails
    picture: str  # address of a JPEG
    id: str  # layer, release or HiPS
    outside: str  # what comes where the survey has not looked
    sides: tuple[int, int]  # pixels; others are clamped without a word
    side: int = 256  # pixels of the usual frame
    scale: float = 0.262  # arcsec per pixel of it
    bands: str = ""  # of flux; others are ignored without a word, and all are sent
    flux: str = ""  # how the address of flux differs from that of the picture
    scaled: bool = False  # a radius in the catalogue scales the frame unasked
    treatment: str = ""  # what is done to each picture by itself


_ALL = (
    Service(
        "legacysurvey", ("https://www.legacysurvey.org",),
        "/viewer/cutout.jpg?ra={ra}&dec={dec}&layer={id}&pixscale={scale}&size={side}",
        "ls-dr10", "a flat JPEG; for FITS an error, as 500",
        sides=(16, 3000), bands="griz", flux=".fits",
    ),
    Service(
        "sdss", ("https://skyserver.sdss.org",),
        "/{id}/SkyServerWS/ImgCutout/getjpeg?ra={ra}&dec={dec}&scale={scale}"
        "&width={side}&height={side}",
        "dr18", "a black JPEG",
        sides=(64, 2048), side=SCALED_SIDE, scale=0.396127, scaled=True,
    ),
    Service(
        "hips", ("https://alasky.cds.unistra.fr", "https://alaskybis.cds.unistra.fr"),
        "/hips-image-services/hips2fits?hips={id}&width={side}&height={side}"
        "&projection=TAN&coordsys=icrs&ra={ra}&dec={dec}&fov={fov}&format=jpg",
        "", "a flat JPEG, or JSON with title and description",
        sides=(16, 4000), treatment="percentiles of each image by itself",
    ),
)  # fmt: skip
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


def check_bands(service: Service, bands: Sequence[str]) -> tuple[str, ...]:
    """The same, without any that the service would ignore, for those are refused."""
    if not service.bands:
        raise OptionError(f"--survey {service.name} has pictures alone: leave --bands out")
    if unknown := [band for band in bands if band not in tuple(service.bands)]:
        raise OptionError(
            f"--survey {service.name} has the bands {','.join(service.bands)}, not {unknown[0]!r}"
        )
    return tuple(bands)


class Frame(NamedTuple):
    """A square to ask for: arcseconds per pixel, pixels."""

    scale: float
    side: int


def choose_frame(
    service: Service, fov: float | Literal["auto"] | None, columns: Mapping[str, Any]
) -> Frame:
    """The frame of that side in arcsec; else by the galaxy's radius; else the usual one."""
    if fov is not None and fov != "auto":
        least, largest = service.sides
        side = min(max(round(fov / service.scale), least), largest)
        return Frame(fov / side, side)
    name = find_column(columns, RADII) if fov == "auto" or service.scaled else None
    radius = columns[name] if name else None
    if name and isinstance(radius, int | float) and 0 < radius < math.inf:
        return Frame(RADII[name.lower()] * radius, SCALED_SIDE)
    return Frame(service.scale, service.side)


def make_urls(
    service: Service, ra: float, dec: float, frame: Frame, bands: Sequence[str] | None
) -> tuple[str, ...]:
    """Addresses of one cutout, the one that is named first."""
    asked = service.picture.format(
        id=quote(service.id, safe="/"),
        ra=f"{ra:.6f}",
        dec=f"{dec:.6f}",
        scale=f"{frame.scale:.6g}",
        side=frame.side,
        fov=f"{frame.scale * frame.side / 3600:.8g}",
    )
    if bands is not None:
        asked = f"{asked.replace('.jpg', service.flux)}&bands={''.join(bands)}"
    return tuple(host + asked for host in service.hosts)


def say_answer(data: bytes) -> str:
    """What an answer says that is no image: the title of a page or of JSON, or its text."""
    text = data[:4096].decode("utf-8", "replace")
    found = _TITLE.search(text)
    said = " ".join(_MARKUP.sub(" ", found[1] if found else text).split())
    return "".join(char for char in said if char.isprintable())[:MAX_SAID]
