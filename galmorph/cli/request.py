"""What a user asked for, checked, before anything heavy is imported."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import click

from galmorph.cli.outputs import find_file, refuse_image

if TYPE_CHECKING:
    from galmorph.images.options import ReadOptions
    from galmorph.images.source import Source
    from galmorph.tables.catalogue import Catalogue, CatalogueRow
    from galmorph.tables.columns import ColumnSpec

__all__ = ["Inputs", "Request", "open_inputs"]

INPUT_OPTIONS = (
    "paths",
    "recursive",
    "bands_from_name",
    "catalogue",
    "path_column",
    "id_column",
    "ra_column",
    "dec_column",
    "mosaic",
    "part",
)
"""Options that say which cutouts there are."""

WHOLE = (1, 1)
NOT_GIVEN = (None, (), "", WHOLE)


@dataclass(frozen=True)
class Request:
    """The options of ``classify`` and ``embed``, as click parsed them.

    Raises
    ------
    click.UsageError
        Options that do not go together.
    """

    kind: Literal["classify", "embed"]
    output: str
    paths: tuple[str, ...] = ()
    recursive: bool = True
    catalogue: str | None = None
    path_column: tuple[str, ...] = ()
    id_column: str | None = None
    ra_column: str | None = None
    dec_column: str | None = None
    mosaic: tuple[str, ...] = ()
    bands_from_name: str | None = None
    part: tuple[int, int] = WHOLE
    hdu: int | str | tuple[int | str, ...] | None = None
    bands: tuple[str, ...] | None = None
    stretch: str = "auto"
    zeropoint: float | None = None
    nan: Literal["interpolate", "zero", "refuse"] = "interpolate"
    crop: float | Literal["auto"] | None = None
    fov: float | None = None
    pixel_scale: float | None = None
    center: tuple[float, float] | None = None
    max_pixels: int | None = None
    model: str | None = None
    head: str | None = None
    device: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    precision: str = "auto"
    backend: Literal["torch", "onnx"] = "torch"
    resume: bool = False
    strict: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if bool(self.paths) == bool(self.catalogue):
            raise click.UsageError("Give PATHs, or --catalogue FILE with --path-column NAME.")
        self._check_catalogue()
        if self.crop is not None and self.fov is not None and not self.cuts_out:
            raise click.UsageError("Give --crop or --fov: each of them sets the field of view.")
        self._check_output()

    def _check_output(self) -> None:
        if self.output == "-":
            if self.resume:
                raise click.UsageError("Only a file can be resumed: name it with -o.")
            return
        place = os.path.realpath(self.output)
        if self._is_read(place):
            raise click.UsageError(
                f"{self.output} is an input and the output; name another file with -o."
            )
        whole = {
            "catalogue": (self.catalogue,) if self.catalogue else (),
            "mosaic": self.mosaic,
        }
        for what, files in whole.items():
            if place in map(os.path.realpath, files):
                raise click.UsageError(
                    f"{self.output} is the {what} and the output; name another file with -o."
                )
        refuse_image(self.output)

    def _is_read(self, place: str) -> bool:
        """Whether a PATH is the file at that place.

        One of several images may be, because a glob of the shell also finds the result of before.
        """
        same = [path for path in self.paths if find_file(path) == place]
        if not same or len(self.paths) == 1:
            return bool(same)
        from galmorph.images.containers import is_container

        return any(map(is_container, same))

    def _check_catalogue(self) -> None:
        if self.catalogue is None:
            needs = {
                "--path-column": self.path_column,
                "--id-column": self.id_column,
                "--ra-column": self.ra_column,
                "--dec-column": self.dec_column,
                "--mosaic": self.mosaic,
            }
            lonely = [name for name, value in needs.items() if value]
            if lonely:
                raise click.UsageError(f"{lonely[0]} needs --catalogue FILE.")
        elif self.bands_from_name is not None:
            raise click.UsageError(
                "--bands-from-name joins the files of PATHs; with --catalogue give one "
                "--path-column per band."
            )
        elif self.mosaic:
            if self.path_column:
                raise click.UsageError("Give --mosaic or --path-column, not both.")
            if self.center is not None:
                raise click.UsageError("Give --mosaic or --center: the catalogue has the centres.")
            if self.fov is None:
                raise click.UsageError("--mosaic needs --fov ARCSEC, the side of each cutout.")
        elif not self.path_column:
            raise click.UsageError("--catalogue needs --path-column NAME, or --mosaic FILE.")
        if len(self.path_column) > 1 and len(self.bands or ()) != len(self.path_column):
            raise click.UsageError(
                f"{len(self.path_column)} path columns need as many names: "
                "--bands g,r,z in the same order."
            )

    @property
    def runs_with(self) -> Literal["torch", "onnx"]:
        """What computes: an exported model leaves no choice."""
        return "onnx" if str(self.model).endswith(".onnx") else self.backend

    @property
    def cuts_out(self) -> bool:
        """Whether the reader cuts the field of view out of a larger image by its WCS."""
        return bool(self.mosaic) or (self.center is not None and self.fov is not None)

    def read_options(self) -> ReadOptions:
        """How files are read."""
        from galmorph.images.options import ReadOptions

        given: dict[str, Any] = {
            "hdu": self.hdu,
            "bands": self.bands,
            "center": self.center,
            "pixel_scale": self.pixel_scale,
        }
        if self.max_pixels is not None:
            given["max_pixels"] = self.max_pixels
        if self.center is not None:
            given["fov"] = self.fov
        return ReadOptions(**given)


@dataclass(frozen=True)
class Inputs:
    """Where the cutouts come from; can be listed more than once.

    Attributes
    ----------
    request : Request
    catalogue : Catalogue or None
    """

    request: Request
    catalogue: Catalogue | None = None

    @property
    def carried(self) -> tuple[ColumnSpec, ...]:
        """Columns of the catalogue that go into the result."""
        return self.catalogue.specs if self.catalogue is not None else ()

    def list_sources(self) -> Iterator[Source]:
        """List the cutouts in order, lazily; those of this part alone."""
        number, count = self.request.part
        return islice(self._list_all(), number - 1, None, count)

    def check_pattern(self) -> None:
        """Refuse a pattern of names that joins nothing; looks no further than the first match.

        Raises
        ------
        click.UsageError
            Names the first file.
        """
        from galmorph.images.band_files import BandFiles
        from galmorph.images.source import make_printable

        pattern = self.request.bands_from_name
        first = next(self._list_all(), None) if pattern is not None else None
        if first is None or any(isinstance(source, BandFiles) for source in self._list_all()):
            return
        raise click.UsageError(
            f"no file matches the pattern {pattern!r} of --bands-from-name; the first is "
            f"{make_printable(first.address)}"
        )

    def _list_all(self) -> Iterator[Source]:
        if self.catalogue is not None and self.request.mosaic:
            return self._list_positions(self.catalogue)
        if self.catalogue is not None:
            return (self._from_row(row) for row in self.catalogue)
        from galmorph.images.discover import discover_sources

        found = discover_sources(
            self.request.paths,
            recursive=self.request.recursive,
            bands_from_name=self.request.bands_from_name,
        )
        return found if self.request.output == "-" else _pass_over(self.request.output, found)

    def _list_positions(self, catalogue: Catalogue) -> Iterator[Source]:
        from galmorph.images.mosaic import Position, mosaic_sources

        request = self.request
        positions = (
            Position(row.object_id, row.ra, row.dec, columns=row.columns) for row in catalogue
        )
        bands = request.bands if len(request.mosaic) > 1 else None
        return mosaic_sources(request.mosaic, positions, fov=request.fov or 0.0, bands=bands)

    def _from_row(self, row: CatalogueRow) -> Source:
        from galmorph.images.band_files import BandFiles
        from galmorph.images.files import ImageFile
        from galmorph.images.source import make_object_id

        columns: Mapping[str, Any] = {"ra": row.ra, "dec": row.dec, **row.columns}
        request = self.request
        bands = tuple(zip(request.bands or (), row.band_paths, strict=False))
        path = bands[0][1] if bands and row.band_paths else row.path
        named = self.catalogue is not None and self.catalogue.id_column is not None
        use = (named and row.object_id) or not path
        object_id = row.object_id if use else make_object_id(path)
        if bands and row.band_paths:
            return BandFiles.of(object_id, bands, columns)
        return ImageFile(object_id, path, columns)

    def describe(self) -> dict[str, Any]:
        """For provenance and for the comparison on resuming."""
        request = self.request
        described = {name: getattr(request, name) for name in INPUT_OPTIONS}
        if request.mosaic:
            described["fov"] = request.fov
        if request.catalogue is not None:
            described["catalogue_sha256"] = _digest(request.catalogue)
        return {
            name: value for name, value in described.items() if value not in (None, (), "", (1, 1))
        }


def _pass_over(output: str, sources: Iterable[Source]) -> Iterator[Source]:
    """Leave out the result and what stands beside it meanwhile, perhaps among the images."""
    from galmorph.images.band_files import BandFiles
    from galmorph.tables.journal import list_written

    written = (output, *(os.fspath(path) for path in list_written(output)))
    places = set(map(os.path.realpath, written))
    names = set(map(os.path.basename, (*written, *places)))

    def is_written(path: str) -> bool:  # the name first, which asks no file system
        return os.path.basename(path) in names and os.path.realpath(path) in places

    for source in sources:
        if not isinstance(source, BandFiles):
            if not is_written(source.address):
                yield source
        elif kept := tuple(pair for pair in source.files if not is_written(pair[1].address)):
            yield source if len(kept) == len(source.files) else replace(source, files=kept)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_inputs(request: Request) -> Inputs:
    """Check that what the command line names is there.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Inputs

    Raises
    ------
    UnreadableImageError
        A path that names nothing.
    CatalogueError
        The catalogue or a column of it cannot be used.
    click.UsageError
        A pattern of names that joins nothing.
    """
    if request.catalogue is None:
        inputs = Inputs(request)
        inputs.list_sources()  # looks at the arguments, not yet into them
        inputs.check_pattern()
        return inputs
    from galmorph.tables.catalogue import read_catalogue

    single = len(request.path_column) == 1
    inputs = Inputs(
        request,
        read_catalogue(
            request.catalogue,
            path_column=request.path_column[0] if single else None,
            id_column=request.id_column,
            ra_column=request.ra_column,
            dec_column=request.dec_column,
            band_columns=() if single else request.path_column,
        ),
    )
    inputs.list_sources()  # looks at the mosaics
    return inputs
