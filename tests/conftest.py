"""Fixtures and marks that all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# For the helpers beside the tests, and what maintainers run.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]


def find_real_data() -> Path | None:
    """Folder of real survey images: GALMORPH_DATA, else ../shared/data beside the project."""
    folder = Path(os.environ.get("GALMORPH_DATA", ROOT / ".." / "shared" / "data")).resolve()
    return folder if (folder / "fits").is_dir() else None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "realdata: needs real survey images (GALMORPH_DATA)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_real_data() is not None:
        return
    reason = "no real images: set GALMORPH_DATA to the folder that holds fits/ and gz2/"
    for item in items:
        if item.get_closest_marker("realdata"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of real survey images; only for tests marked ``realdata``."""
    folder = find_real_data()
    if folder is None:
        pytest.skip("no real images: set GALMORPH_DATA")
    return folder
