"""A small result with everything that files find hard."""

from __future__ import annotations

from typing import Any

import numpy as np

from galmorph.tables import ColumnSpec

NASTY = [
    "plain",
    'with "quotes", and commas',
    "line\nbreak\r\nand\ttab",
    "galáxia 星系 😀",
    "#starts like a comment",
    "100%25 and %zz",
    "bytes that are no UTF-8: \udcff",
    "two  blanks inside",
    "separator\u2028and\x85next",
    "<&> xml",
    "",
    "nan",
]

META = {
    "galmorph": "0.1.0",
    "model": {"name": "wei2022", "sha256": "0123456789abcdef" * 4, "mean": [0.5, 0.25]},
    "tolerance": 1e-05,
    "note": 'é 😀 "quoted"\nsecond line',
    "offline": True,
    "seed": None,
}

CARRIED = (
    ColumnSpec("n_votes", "int64", description="Volunteers"),
    ColumnSpec("barred", "bool"),
    ColumnSpec("r_mag", "float64", unit="mag", ucd="phot.mag;em.opt.R", description="r < 17.8"),
)


def make_block(start: int, stop: int) -> dict[str, Any]:
    """Rows from `start` to `stop`, each a function of its number alone."""
    rows = np.arange(start, stop)
    nothing = rows % 5 == 3
    names = [f"{row}:{NASTY[row % len(NASTY)]}" for row in rows.tolist()]
    chance = np.where(nothing, np.nan, ((rows * 7919) % 1009) / 1009).astype(np.float32)
    return {
        "object_id": names,
        "path": [f"/d/{name}.jpg" for name in names],
        "ra": (rows * 0.1) % 360,
        "dec": np.where(rows % 2, np.nan, rows / 3 - 60),
        "label": [
            "" if gone else ("spiral", "smooth")[row % 2]
            for row, gone in zip(rows, nothing, strict=True)
        ],
        "confidence": chance,
        "p_smooth": chance,
        "p_spiral": (1 - chance).astype(np.float32),
        "embedding": np.outer(chance, [1, -1e-30, 3e30]).astype(np.float32),
        "atypicality": np.where(rows % 7 == 0, np.inf, rows / 9).astype(np.float32),
        "flags": rows.astype(np.int32),
        "message": ['cannot be read: <truncated> & "gone"' if gone else "" for gone in nothing],
        "n_votes": np.ma.MaskedArray(rows * 10**15, mask=rows % 4 == 1),
        "barred": np.ma.MaskedArray(rows % 2 == 0, mask=rows % 4 == 2),
        "r_mag": rows / 7,
    }
