"""Values of astropy as the plain arrays that galmorph takes, and columns of positions by name."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

POSITION_NAMES = (  # also of VizieR, SExtractor, ObsCore, LSST and Euclid
    ("ra", "dec"),
    ("raj2000", "dej2000"),
    ("ra_icrs", "de_icrs"),
    ("_raj2000", "_dej2000"),
    ("alpha_j2000", "delta_j2000"),
    ("s_ra", "s_dec"),
    ("coord_ra", "coord_dec"),
    ("right_ascension", "declination"),
)


def list_positions(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of columns that may hold right ascension and declination, in any case."""
    lowered = {name.lower(): name for name in names}
    for ra, dec in POSITION_NAMES:
        if ra in lowered and dec in lowered:
            yield lowered[ra], lowered[dec]


def to_masked(item: Any) -> Any:
    """A `Masked` array or quantity of astropy as a masked array; anything else as it is."""
    if not hasattr(item, "unmasked"):
        return item
    return np.ma.MaskedArray(np.asarray(item.unmasked), np.asarray(item.mask))


def plain(value: Any) -> Any:
    """The value as JSON knows it: None also for NaN and infinities, str for what it knows not."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def to_degrees(value: Any, *, hours: bool) -> float:
    """Degrees of a number or sexagesimal text, perhaps of hours; NaN for all else."""
    if isinstance(value, float):
        return value
    text = "" if value is None else str(value).strip()
    with suppress(ValueError):
        return float(text or "nan")
    from astropy.coordinates import Angle

    try:
        return float(Angle(text, unit="hourangle" if hours else "deg").degree)
    except (ValueError, TypeError):  # what astropy raises for text that is no angle
        return math.nan
