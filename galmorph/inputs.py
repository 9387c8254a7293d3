"""From options to the cutouts of a run, and the files that its result must not replace."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any

from galmorph.errors import OptionError
from galmorph.images.ahead import bring_ahead, list_hdus
from galmorph.images.band_files import BandFiles
from galmorph.images.containers import is_container, split_address
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.inputs import to_sources
from galmorph.images.memory import list_copied
from galmorph.images.mosaic import Position, mosaic_sources
from galmorph.images.raster import sniff_raster
from galmorph.images.source import FITS_MAGIC, Source, find_column, make_object_id, make_printable
from galmorph.origin import hide_home
from galmorph.remote import CONNECTIONS as URLS_AT_ONCE
from galmorph.remote import Copy, allow, fetch, is_url, to_path
from galmorph.settings import InputOptions, RunOptions
from galmorph.tables.catalogue import Catalogue, CatalogueRow, digest_catalogue, read_catalogue
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.journal import list_written

HEAD_BYTES = 1 << 20  # where the mark of our FITS tables stands, after however many columns
OWN_FITS_MARK = b"GALMORPH= "


@dataclass(frozen=True)
class Inputs:
    """Where the cutouts come from; `keep_missing` makes rows of paths that name nothing."""

    options: RunOptions
    paths: tuple[str, ...] = ()
    keep_missing: bool = False
    catalogue: Catalogue | None = None
    copies: dict[str, Copy] = field(default_factory=dict)  # of mosaics that are elsewhere

    @property
    def carried(self) -> tuple[ColumnSpec, ...]:
        """Columns of the catalogue that go into the result."""
        return self.catalogue.specs if self.catalogue is not None else ()

    @property
    def can_be_counted(self) -> bool:
        """Whether they can be listed without being used up, or fetched twice."""
        return self.catalogue is not None or (bool(self.paths) and not any(map(is_url, self.paths)))

    def list_sources(self, passed_over: Counter[str] | None = None) -> Iterator[Source]:
        """List the cutouts in order, lazily; those of this part alone."""
        number, count = self.options.part
        found = self._list_all(passed_over)
        if self.options.hdu == "each":
            found = list_hdus(
                found,
                connections=self.options.connections or URLS_AT_ONCE,
                within=self.options.within,
            )
        return islice(found, number - 1, None, count)

    def check_pattern(self) -> None:
        """Refuse a pattern of names that joins nothing; looks no further than the first match."""
        pattern = self.options.bands_from_name
        first = next(self._list_all(), None) if pattern is not None else None
        if first is None or any(isinstance(source, BandFiles) for source in self._list_all()):
            return
        raise OptionError(
            f"no file matches the pattern {pattern!r} of --bands-from-name; the first is "
            f"{make_printable(first.address)}"
        )

    def _list_all(self, passed_over: Counter[str] | None = None) -> Iterator[Source]:
        if self.catalogue is not None and self.options.survey:
            return self._list_sky(self.catalogue, self.options.survey)
        if self.catalogue is not None and self.options.mosaic:
            return self._list_positions(self.catalogue)
        if self.catalogue is not None and self.options.band_column is not None:
            return self._join_rows(self.catalogue, self.options.band_column)
        if self.catalogue is not None:
            return (self._from_row(row) for row in self.catalogue)
        if not self.paths:
            options = self.options
            return to_sources(options.images, recursive=options.recursive, within=options.within)
        found = discover_sources(
            self.paths,
            recursive=self.options.recursive,
            bands_from_name=self.options.bands_from_name,
            keep_missing=self.keep_missing,
            passed_over=passed_over,
            within=self.options.within,
        )
        return _pass_over(self.options.file, found) if self.options.file else found

    def _list_positions(self, catalogue: Catalogue) -> Iterator[Source]:
        options = self.options
        positions = (Position(row.object_id, row.ra, row.dec, row.columns) for row in catalogue)
        bands = options.bands if len(options.mosaic) > 1 else None
        files = tuple(map(self._find_here, options.mosaic))
        found = mosaic_sources(files, positions, fov=float(options.fov or 0), bands=bands)
        return reduce(list_copied, self.copies.values(), found)

    def _find_here(self, file: str) -> str:
        """The file, or the copy of what a URL names, which stays as long as these inputs."""
        url = to_path(file)
        if not is_url(url):
            return url
        if url not in self.copies:
            allow(url)
            self.copies[url] = fetch(url)
        return self.copies[url].path

    def _list_sky(self, catalogue: Catalogue, survey: str) -> Iterator[Source]:
        from galmorph.surveys.cutouts import list_positions
        from galmorph.surveys.services import RADII

        options = self.options
        names = [spec.name for spec in catalogue.specs]
        if options.fov == "auto" and find_column(names, RADII) is None:
            raise OptionError(
                f"--fov auto needs a column {' or '.join(RADII)}; the catalogue has "
                f"{', '.join(names)}"
            )
        positions = (Position(row.object_id, row.ra, row.dec, row.columns) for row in catalogue)
        return list_positions(
            positions, survey, url=options.survey_url, fov=options.fov, bands=options.bands
        )

    def allow(self) -> None:
        """Let the buckets and hosts that are named be asked, in this process."""
        options = self.options
        for named in (*self.paths, options.catalogue, options.within, options.survey_url):
            if is_url(named):
                allow(str(named))

    def bring(self, sources: Iterator[Source]) -> Iterator[Source]:
        """The same, with what lies elsewhere downloaded ahead of the work."""
        given = self.options.connections
        if not self.options.survey:
            count = given or URLS_AT_ONCE
            return bring_ahead(sources, connections=count, within=self.options.within)
        from galmorph.surveys.client import CONNECTIONS
        from galmorph.surveys.cutouts import CLIENT

        CLIENT.limit(given or CONNECTIONS)
        return bring_ahead(sources, connections=given or CONNECTIONS)

    @staticmethod
    def _join_rows(catalogue: Catalogue, column: str) -> Iterator[Source]:
        """One galaxy of the rows of each identifier, in the order of its first row."""
        rows: dict[str, list[CatalogueRow]] = {}
        for row in catalogue:
            rows.setdefault(row.object_id, []).append(row)
        for object_id, members in rows.items():
            first = members[0]
            paths = [(str(row.columns[column]).strip(), row.path) for row in members]
            columns = {"ra": first.ra, "dec": first.dec, **first.columns}
            named = isinstance(first.columns[column], str)
            columns |= {column: ",".join(band for band, _ in paths)} if named else {}
            yield BandFiles.of(object_id, paths, columns)

    def _from_row(self, row: CatalogueRow) -> Source:
        columns: Mapping[str, Any] = {"ra": row.ra, "dec": row.dec, **row.columns}
        bands = tuple(zip(self.options.bands or (), row.band_paths, strict=False))
        path = bands[0][1] if bands else row.path
        named = self.catalogue is not None and self.catalogue.id_column is not None
        use = (named and row.object_id) or not path
        object_id = row.object_id if use else make_object_id(path)
        if bands:
            return BandFiles.of(object_id, bands, columns)
        return ImageFile(object_id, path, columns)

    def describe(self) -> dict[str, Any]:
        """For provenance and for the comparison on resuming."""
        given = {f.name: getattr(self.options, f.name) for f in fields(InputOptions)}
        del given["connections"]
        described = {"paths": tuple(map(hide_home, self.paths))} | given | {"images": None}
        if self.options.mosaic or self.options.survey:
            described["fov"] = self.options.fov
        if isinstance(self.options.catalogue, str) and self.catalogue is not None:
            described["catalogue_sha256"] = digest_catalogue(self.catalogue.path)
        elif self.options.catalogue is not None:
            described["catalogue"] = "a table in memory"
        return {k: v for k, v in described.items() if v not in (None, (), "", (1, 1))}


def _pass_over(output: str, sources: Iterable[Source]) -> Iterator[Source]:
    """Leave out the result and what stands beside it meanwhile, perhaps among the images."""
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


def open_inputs(options: RunOptions, *, keep_missing: bool = False) -> Inputs:
    """Check that what the options name is there, and that the output replaces none of it."""
    paths, one = _find_paths(options.images)
    Inputs(options, paths).allow()
    if not options.has_images and options.catalogue is None:
        raise OptionError("Give PATHs, or --catalogue FILE with --path-column NAME.")
    if options.file:
        _check_output(options, paths)
    if options.catalogue is None:
        inputs = Inputs(options, paths, keep_missing and not one)
        if paths:
            inputs.list_sources()  # looks at the arguments, not yet into them
            inputs.check_pattern()
        return inputs
    single = len(options.path_columns) == 1
    catalogue = read_catalogue(
        options.catalogue,
        path_column=options.path_columns[0] if single else None,
        id_column=options.id_column,
        ra_column=options.ra_column,
        dec_column=options.dec_column,
        band_columns=() if single else tuple(options.path_columns),
    )
    _check_bands(catalogue, options.band_column)
    inputs = Inputs(options, catalogue=catalogue)
    inputs.list_sources()  # looks at the mosaics, or the name of the survey
    return inputs


def _check_bands(catalogue: Catalogue, column: str | None) -> None:
    if column is None:
        return
    names = [spec.name for spec in catalogue.specs]
    if column not in names:
        raise OptionError(f"--band-column {column}: the catalogue has {', '.join(names)}")
    if catalogue.id_column is None:
        raise OptionError("--band-column joins rows by their identifier: give --id-column NAME")


def _find_paths(images: Any) -> tuple[tuple[str, ...], bool]:
    """Paths where that is what the images are, and whether there is one alone."""
    one = isinstance(images, str | os.PathLike)
    given = (images,) if one else images
    if not isinstance(given, list | tuple):
        return (), False
    if not all(isinstance(path, str | os.PathLike) for path in given):
        return (), False
    return tuple(_clean(to_path(os.fspath(path))) for path in given), one


def _clean(path: str) -> str:
    """``./im`` and ``im/`` as ``im``: one input, however it is typed."""
    while path.startswith("./") and path.strip("./"):
        path = path[2:].lstrip("/")
    return path.rstrip("/") or path


def _check_output(options: RunOptions, paths: tuple[str, ...]) -> None:
    place = os.path.realpath(options.target)
    read: dict[str, Sequence[Any]] = {
        "an input": [options.target] if _is_read(place, paths) else [],
        "the catalogue": [options.catalogue] if isinstance(options.catalogue, str) else [],
        "the mosaic": options.mosaic,
    }
    for what, files in read.items():
        if place in map(os.path.realpath, files):
            raise OptionError(
                f"{options.target} is {what} and the output; name another file with -o."
            )
    refuse_image(options.target)


def _is_read(place: str, paths: tuple[str, ...]) -> bool:
    """Whether a PATH is the file at that place; of several, one may be, by a glob of the shell."""
    same = [path for path in paths if find_file(path) == place]
    return bool(same) and (len(paths) == 1 or any(map(is_container, same)))


def find_file(path: str) -> str:
    """Real path of the file that an input names: of the stack, where it names an item in one."""
    if not os.path.lexists(path):
        path = split_address(path)[0]
    return os.path.realpath(path)


def refuse_image(path: str) -> None:
    """Refuse to replace a file that is an image, and perhaps one of those to be read."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:  # not there, or not to be read: whoever writes it says so
        return
    kind = sniff_raster(head)
    if not kind and head.startswith(FITS_MAGIC) and OWN_FITS_MARK not in head:
        kind = "FITS"
    if kind:
        raise OptionError(
            f"{path} is there already, a {kind} file that is no result of galmorph: it is not "
            "replaced. Name another file with -o, or remove this one."
        )
