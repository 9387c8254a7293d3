"""Each line of the tables of docs/inputs.md and docs/pixels.md has a test, in pixels_page.tsv."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = "".join(
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("inputs.md", "pixels.md")
)
NOTE = (ROOT / "docs" / "notes" / "damaged_files.md").read_text(encoding="utf-8")
PAIRS = [
    line.split("\t")
    for line in Path(__file__).with_name("pixels_page.tsv").read_text("utf-8").splitlines()
]
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}


def list_rows(page: str) -> list[list[str]]:
    """Rows of cells of all tables, without their headers."""
    tables = re.findall(r"((?:^\|.*\|$\n?)+)", page, re.MULTILINE)
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for table in tables
        for line in table.splitlines()[2:]
    ]


def test_every_line_has_a_test_that_exists() -> None:
    assert [row[0] for row in list_rows(PAGE)] == [line for line, _ in PAIRS]
    assert len(PAIRS) > 150
    assert {test for _, test in PAIRS} <= DEFINED


def test_the_note_on_damaged_files_names_tests_that_exist() -> None:
    rows = list_rows(NOTE)
    assert len(rows) > 10
    assert {row[-1].strip("`") for row in rows} <= DEFINED
