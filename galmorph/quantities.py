"""Values of astropy as the plain numbers and arrays that galmorph takes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

__all__ = ["strip_units", "to_masked"]


def strip_units(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options in arcseconds and degrees, without their units.

    Parameters
    ----------
    settings : mapping
        ``fov`` and ``pixel_scale`` may be a `~astropy.units.Quantity`, ``center`` a
        `~astropy.coordinates.SkyCoord` or two of them. All else is left as it is.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        The unit is no angle.

    Examples
    --------
    >>> from astropy import units
    >>> strip_units({"fov": 1 * units.arcmin, "pixel_scale": 0.4})
    {'fov': 60.0, 'pixel_scale': 0.4}
    """
    plain = dict(settings)
    for name, units in (("fov", ("arcsec",)), ("pixel_scale", ("arcsec", "arcsec/pix"))):
        if hasattr(plain.get(name), "to_value"):
            plain[name] = _to_value(name, plain[name], *units)
    center: Any = plain.get("center")
    if hasattr(center, "icrs"):
        center = (center.icrs.ra, center.icrs.dec)
    if hasattr(center, "to_value") and center.shape:
        center = tuple(center)
    if isinstance(center, (tuple, list)):
        plain["center"] = tuple(
            _to_value("center", angle, "deg") if hasattr(angle, "to_value") else angle
            for angle in center
        )
    return plain


def _to_value(name: str, quantity: Any, *wanted: str) -> float:
    if quantity.size != 1:
        raise ValueError(f"{name} must be one value, not {quantity!r}")
    for unit in wanted:
        with suppress(ValueError):  # astropy's UnitConversionError is one
            return float(quantity.reshape(()).to_value(unit))
    raise ValueError(f"{name} is in {quantity.unit}, which cannot be brought to {wanted[0]}")


def to_masked(item: Any) -> Any:
    """A `Masked` array or quantity of astropy as a masked array; anything else as it is."""
    if not hasattr(item, "unmasked"):
        return item
    return np.ma.MaskedArray(np.asarray(item.unmasked), np.asarray(item.mask))
