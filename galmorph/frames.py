"""Partitions of a large table: a frame of pandas in, its results out (Dask, LSDB, Ray, Spark)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from galmorph.api import saying_in_python
from galmorph.errors import CatalogueError
from galmorph.images.files import ImageFile
from galmorph.images.records import make_record_source
from galmorph.images.source import Source, replace_columns
from galmorph.inference.results import concatenate
from galmorph.run import Run, open_run
from galmorph.settings import ClassifyOptions, OutputOptions, say_in_python
from galmorph.tables.cells import normalize

if TYPE_CHECKING:
    from pandas import DataFrame

IMAGE_COLUMNS = ("image", "bytes")  # what Ray Data and Hugging Face call a column of images
_UNFIT = {"images", "catalogue", "part", "band_column", *(f.name for f in fields(OutputOptions))}


def partition(frame: DataFrame, *, image_column: str | None = None, **options: Any) -> DataFrame:
    """Classify the cutouts of a partition of a large table, as Dask, LSDB and Ray cut it.

    A plain function that can be pickled: for ``map_partitions``, with ``galmorph.partition`` of
    no rows as ``meta``. A process loads the model once.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each galaxy: its image, the path or URL of it, or a position. The index is kept.
    image_column : str, optional
        Column of images: bytes of files, arrays, or mappings of ``bytes`` and ``path``. By default
        ``image`` or ``bytes``, where there is one.
    **options
        Keywords of `galmorph.classify` on input, pixels, model and engine: ``path_column`` (by
        default ``path``), or ``survey`` or ``mosaic`` for positions; ``head``; ``workers=1``
        where partitions run side by side.

    Returns
    -------
    pandas.DataFrame
        A row for each row, in order: the columns that ``classify(catalogue=frame)`` gives. Rows
        that cannot be read have a flag and a message. ``object_id`` is by default the name of the
        file, else the index.

    Raises
    ------
    OptionError
        An option has a value that it cannot have.
    CatalogueError
        A column is not there.
    UnknownHeadError, WeightsError
        The head or the model cannot be had.
    """
    unfit = _UNFIT & options.keys()
    if unfit:
        raise TypeError(f"partition() takes no {', '.join(sorted(unfit))}")
    if image_column is None and not options.keys() & {"path_column", "survey", "mosaic"}:
        image_column = next((name for name in IMAGE_COLUMNS if name in frame), None)
    with saying_in_python():
        table = _make_catalogue(frame, image_column, options)
        run = open_run(ClassifyOptions(catalogue=table, **options))
    sources = run.inputs.bring(run.inputs.list_sources())
    if image_column is not None:
        sources = map(_put_in, sources, frame[image_column])
    return _fill(run, sources, frame)


def _make_catalogue(
    frame: DataFrame, image_column: str | None, options: dict[str, Any]
) -> DataFrame:
    """The frame without images, with a path and an identifier in each row."""
    table = frame
    if image_column is not None:
        if image_column not in frame:
            there = ", ".join(map(str, frame.columns))
            raise CatalogueError(f"the frame has no column {image_column}; there are: {there}")
        table = frame.drop(columns=image_column)
        if "path" not in table:
            table = table.assign(path="")
    if not options.keys() & {"survey", "mosaic"}:
        options.setdefault("path_column", "path")
    paths = options.get("path_column", ())
    by_file = all(name in frame for name in ([paths] if isinstance(paths, str) else paths))
    if not (paths and by_file) and "id_column" not in options and "object_id" not in table:
        table = table.assign(object_id=table.index.astype(str))
    return table


def _put_in(source: Source, image: Any) -> Source:
    if isinstance(image, str):
        return ImageFile(source.object_id, image, source.columns)
    gone = isinstance(image, float) or type(image).__name__ == "NAType"
    made = make_record_source(
        {"image": None if gone else image}, "image", name=source.object_id, address=source.address
    )
    return replace_columns(made, source.columns)


def _fill(run: Run, sources: Iterator[Source], frame: DataFrame) -> DataFrame:
    """The result of the sources, with the columns of the frame as they are there."""
    import pandas as pd

    plan = replace(run.plan, carried=())
    columns = concatenate([plan.fill(block) for block in run.pipeline.run(sources)])
    filled = {}
    for spec in plan.specs:
        values = normalize(columns.get(spec.name, ()), spec)
        values = list(values) if spec.shape else values
        dtype: Any = object if spec.shape else str if spec.is_text else spec.dtype
        filled[spec.name] = pd.Series(values, index=frame.index, dtype=dtype)
    filled["message"] = filled["message"].map(say_in_python)
    carried = run.inputs.catalogue.carried if run.inputs.catalogue is not None else ()
    kept = {spec.name: frame[name] for spec, name in carried if name in frame}
    return pd.DataFrame(filled | kept, index=frame.index)
