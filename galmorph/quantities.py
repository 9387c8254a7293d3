"""Angles of astropy as the plain numbers that galmorph's options take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["strip_units"]


def strip_units(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options in arcseconds and degrees, without their units.

    Parameters
    ----------
    settings : mapping
        ``fov`` and ``pixel_scale`` may be a `~astropy.units.Quantity`, ``center`` a
        `~astropy.coordinates.SkyCoord` or a pair of them. All else is left as it is.

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
    if hasattr(plain.get("fov"), "to_value"):
        plain["fov"] = _to_value("fov", plain["fov"], "arcsec")
    if hasattr(plain.get("pixel_scale"), "to_value"):
        plain["pixel_scale"] = _to_value(
            "pixel_scale", plain["pixel_scale"], "arcsec", "arcsec/pix"
        )
    center: Any = plain.get("center")
    if hasattr(center, "icrs"):
        center = (center.icrs.ra, center.icrs.dec)
    if isinstance(center, (tuple, list)):
        plain["center"] = tuple(
            _to_value("center", angle, "deg") if hasattr(angle, "to_value") else angle
            for angle in center
        )
    return plain


def _to_value(name: str, quantity: Any, *wanted: str) -> float:
    for unit in wanted:
        try:
            return float(quantity.to_value(unit))
        except ValueError:  # astropy's UnitConversionError is one
            continue
        except TypeError as error:
            raise ValueError(f"{name} must be one value, not {quantity!r}") from error
    raise ValueError(f"{name} is in {quantity.unit}, which cannot be brought to {wanted[0]}")
