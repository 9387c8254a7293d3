"""The public surface is written by hand; this says that it is what is there."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

import pytest

import galmorph

MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(galmorph.__path__, "galmorph.")
    if name not in ("galmorph.__main__", "galmorph.timm")
)


def test_the_names_of_the_package():
    assert galmorph.__all__ == sorted(galmorph.__all__)
    assert dir(galmorph) == galmorph.__all__
    assert set(galmorph._HOMES) == set(galmorph.__all__)
    for name in galmorph.__all__:
        assert getattr(galmorph, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        _ = galmorph.clasify


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(galmorph.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.name for node in guarded.body for alias in node.names}
    assert names == set(galmorph.__all__)
    assert (Path(galmorph.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", MODULES)
def test_every_module_exports_what_it_has(name):
    if name.startswith("galmorph.explorer."):
        pytest.importorskip("panel", reason="the explorer needs the extra explore (panel)")
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), f"{name}.{exported}"


@pytest.mark.parametrize("name", galmorph.__all__)
def test_public_names_are_described(name):
    found = getattr(galmorph, name)
    assert found.__doc__, name
    assert name in vars(sys.modules[found.__module__])


def test_every_error_is_a_builtin_too():
    from galmorph import errors

    kinds = {n: k for n, k in vars(errors).items() if isinstance(k, type)}
    assert len(kinds) > 25
    for name, kind in kinds.items():
        assert kind.__doc__, name
        builtins = [base for base in kind.__mro__ if base.__module__ == "builtins"]
        assert len(builtins) > 3 or kind in (errors.GalmorphError, errors.GalmorphWarning), name
