"""What a column of a result is: name, type, unit, UCD and meaning; those of a catalogue in it."""

import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from galmorph.errors import GalmorphWarning

DTYPES = ("str", "bool", "int16", "int32", "int64", "float32", "float64")  # every format holds
STANDARD_NAMES = (  # besides one ``p_<class>`` per class
    *("object_id", "path", "ra", "dec", "label", "confidence", "embedding", "atypicality"),
    *("fov", "crop", "treatment", "flags", "message"),
)
SUFFIX = "_catalogue"
_RESERVED = re.compile(r"p_.*|e_[0-9]{3,}|provenance")  # what formats add
MAX_NAMED = MAX_SHOWN = 100  # columns that a message names, and letters of each
_NEAREST = {
    **{"int8": "int16", "uint8": "int16", "uint16": "int32", "uint32": "int64"},
    "uint64": "str",  # mostly identifiers; no format but Parquet holds them as numbers
    **{"float16": "float32", "float128": "float64", "string": "str"},
}


def nearest_dtype(name: str) -> str:
    """The type of `DTYPES` that holds a type of a catalogue; the name itself where none does."""
    return _NEAREST.get(name, name)


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column: unit as astropy spells it, UCD1+, shape () or (d,) for a vector of numbers."""

    name: str
    dtype: str
    unit: str = ""
    ucd: str = ""
    description: str = ""
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a column needs a name")
        if self.dtype not in DTYPES:
            raise ValueError(f"column {self.name}: dtype {self.dtype!r}; use one of {DTYPES}")
        if self.shape and (len(self.shape) > 1 or self.shape[0] < 1 or self.dtype in DTYPES[:2]):
            raise ValueError(
                f"column {self.name}: shape {self.shape} of {self.dtype}; "
                "only vectors of numbers can be held, as (d,)"
            )

    @property
    def is_text(self) -> bool:
        """Whether the values are strings."""
        return self.dtype == "str"

    @property
    def is_float(self) -> bool:
        """Whether a missing value can be NaN."""
        return self.dtype.startswith("float")

    @property
    def kind(self) -> str:
        """Type and shape in one word, as "float32[512]"."""
        return self.dtype + (f"[{self.shape[0]}]" if self.shape else "")


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def make_printable_name(name: str) -> str:
    """A name as one line: line breaks and other control characters as one blank."""
    return _CONTROL.sub(" ", name)


def probability_name(class_name: str) -> str:
    """Name of the column of a class, as p_edge_on_disk: no program needs quotes for it."""
    return "p_" + re.sub(r"\W+", "_", class_name, flags=re.ASCII).strip("_").lower()


_FIRST = ColumnSpec("object_id", "str", "", "meta.id;meta.main", "Identifier of the cutout")
_MASK = "Bit mask of what was wrong with the cutout or done to it"
_MIDDLE = (
    ColumnSpec("flags", "int32", "", "meta.code.qual", _MASK),
    ColumnSpec("path", "str", "", "meta.id;meta.file", "File that the cutout was read from"),
    *(
        ColumnSpec(
            name, "float64", "deg", f"pos.eq.{name};meta.main", f"{said} of the centre, ICRS"
        )
        for name, said in (("ra", "Right ascension"), ("dec", "Declination"))
    ),
)
_VECTOR = "Output of the encoder; NaN where the cutout could not be encoded"
_RANK = (
    "0 to 100: above 99 what is unlike the galaxies that the model was checked on, below it a rank "
    "among them"
)
_ATYPICALITY = ColumnSpec("atypicality", "float32", "", "stat.rank", _RANK)
_LAST = ColumnSpec("message", "str", "", "meta.note", "Why there is no label, or a remark")


def class_columns(class_names: Sequence[str]) -> tuple[ColumnSpec, ...]:
    """Label, confidence and probabilities of a head of classes."""
    best = "Most probable class; empty where the cutout could not be classified"
    kind, chance, of = "src.morph.type", "stat.probability", "Probability of"
    return (
        ColumnSpec("label", "str", "", f"meta.code.class;{kind}", best),
        ColumnSpec("confidence", "float32", "", chance, f"{of} the label"),
        *(
            ColumnSpec(
                probability_name(c), "float32", "", f"{chance};{kind}", f"{of} the class {c}"
            )
            for c in class_names
        ),
    )


def result_columns(
    head: Iterable[ColumnSpec] = (),
    *,
    embedding_dim: int | None = None,
    atypicality: bool = True,
    extra: Iterable[ColumnSpec] = (),
    carried: Iterable[ColumnSpec] = (),
) -> tuple[ColumnSpec, ...]:
    """Columns of a result, in the order in which they are written: the answer first.

    Parameters
    ----------
    head : iterable of ColumnSpec
        Columns of the head; none for embeddings alone.
    embedding_dim : int, optional
        Adds the vector column ``embedding`` of that length.
    atypicality : bool
        Adds the column ``atypicality``.
    extra : iterable of ColumnSpec
        Further columns of galmorph itself, between ``atypicality`` and ``message``.
    carried : iterable of ColumnSpec
        Columns of the catalogue, at the end.

    Returns
    -------
    tuple of ColumnSpec

    Raises
    ------
    ValueError
        Where two columns have the same name (compared without case, as FITS does).

    Examples
    --------
    >>> from galmorph.tables.columns import class_columns, result_columns
    >>> [c.name for c in result_columns(class_columns(["smooth", "spiral"]))][:6]
    ['object_id', 'label', 'confidence', 'p_smooth', 'p_spiral', 'flags']
    """
    shape = () if embedding_dim is None else (embedding_dim,)
    vector = ColumnSpec("embedding", "float32", "", "src.morph.param", _VECTOR, shape)
    own = (*[vector] * bool(shape), *[_ATYPICALITY] * atypicality, *extra)
    specs = (_FIRST, *head, *_MIDDLE, *own, _LAST, *carried)
    check_names(specs)
    return specs


def check_names(specs: Iterable[ColumnSpec]) -> None:
    """Refuse two columns of one name, compared without case, and names of several lines."""
    seen: set[str] = set()
    for spec in specs:
        if _CONTROL.search(spec.name):
            raise ValueError(f"the name of a column holds a control character: {spec.name!r}")
        if spec.name.lower() in seen:
            raise ValueError(f"two columns are named {spec.name!r}")
        seen.add(spec.name.lower())


def carried_columns(
    specs: Mapping[str, ColumnSpec | None], same: Collection[str]
) -> list[tuple[ColumnSpec, str]]:
    """Specs as in the result, each with its name in the catalogue, but for those of `same`."""
    refused = [name for name, spec in specs.items() if spec is None]
    if refused:
        warnings.warn(
            f"the columns {join_names(refused)} are of types that a result cannot hold; left out",
            GalmorphWarning,
            stacklevel=4,
        )
    kept = [spec for name, spec in specs.items() if spec is not None and name not in same]
    taken = {name.lower() for name in (*STANDARD_NAMES, *map(make_printable_name, specs))}
    carried, seen = [], set[str]()
    for spec in kept:
        printable = make_printable_name(spec.name)
        low = printable.lower()
        clash = low in STANDARD_NAMES or low in seen or _RESERVED.fullmatch(low)
        name = f"{printable}{SUFFIX}" if clash else printable
        for number in count(2) if clash else ():
            if name.lower() not in taken:
                break
            name = f"{printable}{SUFFIX}{number}"
        taken.add(name.lower())
        seen.add(low)
        carried.append((replace(spec, name=name), spec.name))
    return carried


def pick_column(columns: Mapping[str, Any], name: str) -> Any:
    """Value in a row's ``columns`` by the name that the column has in the table itself."""
    name = make_printable_name(name)
    renamed = f"{name}{SUFFIX}"
    return columns[renamed if renamed in columns else name]


def list_columns(columns: Mapping[str, Any]) -> list[str]:
    """Names of a row's ``columns`` as they stand in the table itself."""
    return [name.removesuffix(SUFFIX) for name in columns]


def join_names(names: Iterable[str], most: int = MAX_NAMED) -> str:
    """Names of columns for a message."""
    listed = [make_printable_name(name)[:MAX_SHOWN] for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
