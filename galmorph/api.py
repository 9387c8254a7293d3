"""The functions that a user's own program calls."""

import inspect
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError, GalmorphWarning
from galmorph.flags import NO_LABEL
from galmorph.images import read
from galmorph.images.cutout import Cutout
from galmorph.inference.engine import Block, Row
from galmorph.inference.results import concatenate
from galmorph.progress import show_progress
from galmorph.run import Run, open_run
from galmorph.settings import ClassifyOptions, RunOptions, list_options, say_in_python
from galmorph.tables.build import build_table

if TYPE_CHECKING:
    from astropy.table import Table

MAX_NAMED = 5  # failed cutouts that a warning names; the table of `classify` has all
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@contextmanager
def saying_in_python() -> Iterator[None]:
    """Errors speak of keywords, not of options."""
    try:
        yield
    except GalmorphError as error:
        error.args = (say_in_python(str(error)),)
        raise


@wraps(read.read_cutout)
def read_cutout(*args: Any, **given: Any) -> Cutout:
    """Read one cutout; see `galmorph.images.read.read_cutout`."""
    with saying_in_python():
        return read.read_cutout(*args, **given)


def _spell_out(options: Callable[P, RunOptions]) -> Callable[[Callable[[Any], R]], Callable[P, R]]:
    """Give a function of options their keywords, with types, defaults and descriptions."""

    def decorate(function: Callable[[Any], R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            for name in given.keys() - signature.parameters.keys():
                near = get_close_matches(name, signature.parameters, 1)
                advice = f"; {near[0]!r} is one" if near else ""
                raise TypeError(f"there is no option {name!r}{advice}")
            with saying_in_python():
                return function(options(*args, **given))

        names = ["images", *(each.name for each, _, _ in _list_keywords(options))]
        signature = inspect.signature(options)  # in the order in which keywords are described
        signature = signature.replace(parameters=[signature.parameters[name] for name in names])
        returned = inspect.signature(function).return_annotation
        described: Any = call
        described.__signature__ = signature.replace(return_annotation=returned)
        call.__doc__ = (function.__doc__ or "").replace("    {options}", _describe(options))
        del described.__wrapped__
        return call

    return decorate


def _list_keywords(options: Any) -> Iterator[tuple[Any, Any, str]]:
    return (found for found in list_options(options) if found[1].only != "command")


def _describe(options: Any) -> str:
    """Parameters as numpydoc has them."""
    lines = []
    for each, option, _ in _list_keywords(options):
        said, _, words = say_in_python(option.help).partition(" [default: ")
        if words:
            said += f". By default {words}".replace("].", ".")
        elif each.default not in (None, ()):
            said += f" By default {each.default!r}."
        lines.append(f"    {each.name} : {each.type}\n        {said}")
    return "\n".join(lines)


def _warn_of_failures(rows: Sequence[Row]) -> None:
    """One warning for all rows of NaN, with identifiers and reasons of the first."""
    failed = [row for row in rows if row.flags & NO_LABEL]
    if failed:
        reasons = "; ".join(f"{row.object_id}: {row.message}" for row in failed[:MAX_NAMED])
        more = f"; and {len(failed) - MAX_NAMED} more" if len(failed) > MAX_NAMED else ""
        text = f"{len(failed)} of {len(rows)} cutouts have no embedding, but NaN: {reasons}{more}"
        warnings.warn(say_in_python(text), GalmorphWarning, stacklevel=4)


def _watch(
    run: Run, results: Generator[T, None, None], get_block: Callable[[T], Block]
) -> Iterator[T]:
    """Pass results on, with progress; raise the first error where that is wanted."""
    countable = run.inputs.list_sources() if run.inputs.can_be_counted else ()
    done = failed = 0
    # Closed here, since its threads cannot be waited for where garbage happens to be collected.
    with closing(results), show_progress(run.options.progress, items=countable) as report:
        for result in results:
            block = get_block(result)
            for row in block.rows:
                if row.error is not None and run.options.on_error == "raise":
                    raise row.error
            done += len(block.rows)
            failed += sum(bool(row.flags & NO_LABEL) for row in block.rows)
            report(run.resumed + done, run.resumed_failed + failed, run.resumed)
            yield result


@_spell_out(RunOptions)
def embed(options: RunOptions) -> npt.NDArray[np.float32]:
    """Embed cutouts.

    Parameters
    ----------
    images : object
        One or many of: path, glob, folder, bytes, file object, PIL image, array (y, x),
        (y, x, 3), (3, y, x) or (n, ...), torch tensor, `astropy.nddata` object, HDU or HDUList.
        A list of HDUs is many. An iterator is consumed lazily but ahead of the result: what it
        gave must stay as it is, and open.
    {options}

    Returns
    -------
    ndarray of float32, shape (n, num_features)
        One row per cutout, in order; 512 features for galmorph's own encoders.

    Raises
    ------
    ImageError, BandError, PixelError
        With ``on_error="raise"``: a cutout cannot be embedded.
    WeightsError
        The model's weights cannot be had.
    """
    run = open_run(options, keep_missing=True)
    rows: list[Row] = []
    embeddings = [np.empty((0, run.pipeline.model.num_features), dtype=np.float32)]
    blocks = run.blocks() if not options.output else (block for block, _ in run.results())
    for block in _watch(run, blocks, lambda block: block):
        embeddings.append(block.embeddings)
        rows.extend(block.rows)
    _warn_of_failures(rows)
    if not run.resumed:
        return np.concatenate(embeddings)
    return np.asarray(run.read_back()["embedding"], dtype=np.float32)


@_spell_out(ClassifyOptions)
def classify(options: ClassifyOptions) -> "Table":
    """Classify cutouts.

    Parameters
    ----------
    images : object
        As in `embed`.
    {options}

    Returns
    -------
    astropy.table.Table
        One row per cutout, in order: ``object_id``, ``path``, ``ra``, ``dec``, ``label``,
        ``confidence``, ``p_<class>``, ``flags`` and ``message`` among others, and the columns of a
        catalogue; provenance in ``meta``.

    Raises
    ------
    UnknownHeadError
        The model has no such head.
    ImageError, BandError, PixelError
        With ``on_error="raise"``: a cutout cannot be classified.
    WeightsError
        The model's weights cannot be had.
    """
    run = open_run(options, keep_missing=True)
    blocks = [columns for _, columns in _watch(run, run.results(), lambda result: result[0])]
    specs = run.plan.specs
    empty: dict[str, Any] = {spec.name: [] for spec in specs}
    columns = run.read_back() if run.resumed else concatenate(blocks) or empty
    columns["message"] = [say_in_python(message) for message in columns["message"]]
    return build_table(specs, columns, run.describe())
