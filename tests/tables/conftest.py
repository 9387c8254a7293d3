"""Fixtures of the tests of tables."""

from __future__ import annotations

from typing import Any

import pytest

from galmorph.tables import ColumnSpec, result_columns
from galmorph.tables.columns import class_columns
from tests.tables.table_cases import CARRIED, make_block


@pytest.fixture
def specs() -> tuple[ColumnSpec, ...]:
    return result_columns(class_columns(["smooth", "spiral"]), embedding_dim=3, carried=CARRIED)


@pytest.fixture
def block() -> dict[str, Any]:
    return make_block(0, 40)
