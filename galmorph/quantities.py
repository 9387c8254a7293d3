"""Values of astropy as the plain arrays that galmorph takes, and columns of positions by name."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

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
