"""Where one cutout is to be read from: a light, picklable record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TABLE_ADVICE", "Region", "Source", "make_object_id", "make_printable"]

TABLE_ADVICE = "a catalogue? give it with --catalogue FILE --path-column NAME"
"""For messages on a table where an image is expected."""

COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".fz")


@dataclass(frozen=True, slots=True)
class Region:
    """A square of sky to cut out of a larger image.

    Attributes
    ----------
    ra, dec : float
        Centre in degrees, ICRS.
    fov : float
        Side in arcseconds; NaN for the shorter side of the image.
    """

    ra: float
    dec: float
    fov: float = float("nan")


@dataclass(frozen=True, slots=True)
class Source:
    """One row-to-be: an identifier and the place where its pixels are.

    Attributes
    ----------
    object_id : str
        Identifier of the row.
    path : str
        The file as the operating system knows it; "" for objects in memory.
    data : object, optional
        An object in memory (bytes, array, PIL image, HDU...), or an `ImageError` found while
        listing, which is raised when the source is read.
    member : str
        Name inside a container: tar member, HDF5 data set, npz array.
    columns : mapping
        Catalogue columns carried into the result.
    band_paths : tuple of (band, path)
        One file per band; empty where one file holds everything.
    offset, size : int
        Bytes of an uncompressed tar member; -1 where they do not apply.
    index : int
        Item of a stack (n, ...); -1 where it does not apply.
    region : Region, optional
        Part of the sky to cut out of the file.
    unpacked : mapping of str to str
        Temporary files that hold what is compressed in a path, where each row would have to
        unpack it again.
    """

    object_id: str
    path: str = ""
    data: Any = None
    member: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    band_paths: tuple[tuple[str, str], ...] = ()
    offset: int = -1
    size: int = -1
    index: int = -1
    region: Region | None = None
    unpacked: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Path as it goes into a table: ``shard.tar::name.jpg``, ``file.h5::images[12]``."""
        text = f"{self.path}::{self.member}" if self.member else self.path
        return f"{text}[{self.index}]" if self.index >= 0 else text

    @property
    def location(self) -> str:
        """The same as shown to people, on one line."""
        return make_printable(self.address)


def make_printable(name: str) -> str:
    r"""Escape what a line of text or a UTF-8 file cannot hold.

    Parameters
    ----------
    name : str
        A file name as the operating system gives it.

    Returns
    -------
    str
        The same with control characters and undecodable bytes as backslash escapes.

    Examples
    --------
    >>> make_printable("NGC 7331\n.fits")
    'NGC 7331\\n.fits'
    """
    if name.isprintable():
        return name
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in name
    )


def make_object_id(name: str) -> str:
    """Make an identifier from a file name: no folder, no suffix, printable.

    Parameters
    ----------
    name : str
        File name or path.

    Returns
    -------
    str
        The stem, without compression suffixes.

    Examples
    --------
    >>> make_object_id("cutouts/J0943+0123.fits.gz")
    'J0943+0123'
    """
    base = name.rstrip("/").rpartition("/")[2]
    lowered = base.lower()
    for suffix in COMPRESSION_SUFFIXES:
        if lowered.endswith(suffix):
            base = base[: -len(suffix)]
            break
    stem = base.rpartition(".")[0]
    return make_printable(stem or base)
