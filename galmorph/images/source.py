"""Where one cutout is to be read from: light, picklable records with one way to read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, cast

from galmorph.errors import (
    AmbiguousShapeError,
    BandError,
    GalmorphError,
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
)
from galmorph.quantities import list_positions

if TYPE_CHECKING:
    from galmorph.images.cutout import Cutout
    from galmorph.settings import ReadOptions


NEW_COPY = "copy or download the file again"
TABLE_ADVICE = "a catalogue? give it with --catalogue FILE --path-column NAME"
HDU_ADDRESS = re.compile(
    r"(?P<file>.+\.(?:fits?|fts)(?:\.\w+)?)\[(?P<hdu>[^/]+)\]", re.IGNORECASE | re.DOTALL
)
"""``path.fits[SCI]``, ``path.fits.gz[3]``, ``path.fits[SCI,2]``; a section is part of the HDU."""

COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".fz", ".z")
FITS_MAGIC = (b"SIMPLE", b"XTENSION")
ID_NAMES = (  # columns taken for identifiers, in any case; the first that is there
    *("object_id", "id", "id_str", "dr8_id", "iauname", "name", "ids", "names", "__key__"),
    *("objid", "object_ids", "objectid", "source_id", "sourceid", "targetid", "target_id"),
)


@dataclass(frozen=True, slots=True)
class Region:
    """A square of sky: centre in degrees, ICRS; side in arcseconds, NaN for the whole image's."""

    ra: float
    dec: float
    fov: float = float("nan")


class Source(Protocol):
    """One row-to-be. Each kind is a frozen dataclass with slots beside the code that lists it."""

    @property
    def object_id(self) -> str:
        """Identifier of the row."""

    @property
    def address(self) -> str:
        """Path as it goes into a table, ``shard.tar::a.jpg``; "" for objects in memory."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """Catalogue columns carried into the result."""

    def read(self, options: ReadOptions) -> Cutout:
        """Read the pixels; `galmorph.images.read.read_cutout` is the door for callers."""

    def read_head(self, count: int) -> bytes:
        """First bytes of the file, or member, that holds the pixels; b"" where none can be had."""


@contextmanager
def naming(address: str) -> Iterator[None]:
    """Name the file in what is said against it, where nobody has."""
    shown = make_printable(address)
    try:
        yield
    except ImageError as error:
        if error.path or not shown:
            raise
        raise type(error)(error.reason, shown) from error
    except (BandError, AmbiguousShapeError) as error:
        if shown in str(error):
            raise
        raise type(error)(f"{shown}: {error}") from error
    except MissingExtraError as error:
        if shown in error.purpose or not error.purpose.startswith("to read"):
            raise
        purpose = f"{error.purpose} such as {shown}"
        raise MissingExtraError(error.package, error.extra, purpose) from error
    except MemoryError as error:
        reason = "not enough memory: it is damaged, or larger than a run allows"
        raise ImageTooLargeError(reason, shown or None) from error


def is_source(item: object) -> TypeGuard[Source]:
    """Whether it is one; to ask the protocol itself takes as long as to read a header."""
    return hasattr(item, "read_head") and hasattr(item, "object_id")


@dataclass(frozen=True, slots=True)
class Lost:
    """What cannot be read, as was found while listing; or what was, and is kept for its name."""

    object_id: str
    address: str
    error: GalmorphError
    columns: Mapping[str, Any] = field(default_factory=dict)

    def read(self, options: ReadOptions) -> Cutout:
        raise self.error

    def read_head(self, count: int) -> bytes:
        return b""


def replace_columns(source: Source, columns: Mapping[str, Any]) -> Source:
    """The same source with other columns."""
    return cast("Source", replace(cast("Any", source), columns=columns))


def find_column(names: Iterable[str], wanted: Iterable[str] = ID_NAMES) -> str | None:
    """The first column of some names, in any case; without them the one that names the rows."""
    lowered = {name.lower(): name for name in names}
    return next((lowered[name] for name in wanted if name in lowered), None)


def place_columns(columns: dict[str, Any]) -> dict[str, Any]:
    """The same columns, with those of a position as ``ra`` and ``dec``."""
    # without a unit beside them, those of LSST may be radians
    pairs = (pair for pair in list_positions(columns) if pair[0].lower() != "coord_ra")
    ra, dec = next(pairs, ("", ""))
    return {**columns, "ra": columns[ra], "dec": columns[dec]} if ra else columns


def make_printable(name: str) -> str:
    r"""Escape what a line of text or a UTF-8 file cannot hold.

    >>> make_printable("NGC 7331\n.fits")
    'NGC 7331\\n.fits'
    """
    if name.isprintable():
        return name
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in name
    )


def to_text(value: bytes | str) -> str:
    """Text of a file as it can be printed, whatever its bytes are."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return make_printable(text)


def make_object_id(name: str) -> str:
    """Make an identifier from a file name: no folder, no suffix, printable.

    >>> make_object_id("cutouts/J0943+0123.fits.gz"), make_object_id("a.fits[SCI,2]")
    ('J0943+0123', 'a_SCI_2')
    """
    if hdu := HDU_ADDRESS.fullmatch(name):
        return f"{make_object_id(hdu['file'])}_{make_printable(hdu['hdu'].replace(',', '_'))}"
    base = name.rstrip("/").rpartition("/")[2]
    if base.lower().endswith(COMPRESSION_SUFFIXES):
        base = base.rpartition(".")[0]
    return make_printable(base.rpartition(".")[0] or base)
