"""docs/pixels.md names a test for each line of its tables; they must exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "pixels.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}


def find_tables(page: str) -> list[list[list[str]]]:
    """Rows of cells of each table, without its header."""
    tables = re.findall(r"((?:^\|.*\|$\n?)+)", page, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for table in tables
    ]


def test_named_tests_exist() -> None:
    assert NAMED <= DEFINED, NAMED - DEFINED


def test_every_line_names_a_test() -> None:
    lines = 0
    for header, _, *rows in find_tables(PAGE):
        if header[-1] == "test":
            lines += len(rows)
            assert all(re.fullmatch(r"`test_\w+`", row[-1]) for row in rows), rows
    assert lines > 60
