"""Examples in docstrings and pages do what they say."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest
from test_exported_members import MODULES

ROOT = Path(__file__).resolve().parents[1]
OWN_PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    if name.startswith("galmorph.explorer."):
        pytest.importorskip("panel", reason="the explorer needs the extra explore (panel)")
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


@pytest.mark.parametrize("page", OWN_PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
