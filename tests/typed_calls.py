"""What type checkers say of calls: checked by mypy in CI, never run."""

from __future__ import annotations

from pathlib import Path

import galmorph


def check() -> None:
    table = galmorph.classify("x", crop=0.5, bands="grz", output=Path("a.fits"), resume=True)
    table.write("x.fits")
    vectors = galmorph.embed(["a", "b"], bands=["g", "r"], on_error="raise", progress=print)
    vectors.mean()
    galmorph.classify(catalogue="c.csv", path_column=["a", "b"], with_embedding=True)
    galmorph.classify("x", strech="asinh")  # type: ignore[call-arg]
    galmorph.classify("x", crop="wide")  # type: ignore[arg-type]
    galmorph.embed("x", "y")  # type: ignore[call-arg]
