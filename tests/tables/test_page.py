"""docs/tables.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from galmorph.flags import NO_LABEL, Flags
from galmorph.inference.results import TREATMENT_COLUMNS
from galmorph.tables import list_suffixes, result_columns
from galmorph.tables.columns import class_columns

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"


def rows_of_table(heading):
    lines = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_columns_are_those_of_a_result():
    described = {row[0].strip("`"): row[1:] for row in rows_of_table("Columns")}
    specs = result_columns(class_columns(["<class>"]), embedding_dim=512, extra=TREATMENT_COLUMNS)
    assert [name for name in described] == [
        "p_<class>" if spec.name == "p_class" else spec.name for spec in specs
    ]
    for spec in specs:
        kind, unit, ucd, meaning = described["p_<class>" if spec.name == "p_class" else spec.name]
        assert kind == (f"{spec.dtype} vector" if spec.shape else spec.dtype)
        assert (unit, ucd.strip("`")) == (spec.unit, spec.ucd)
        assert spec.name == "p_class" or meaning == spec.description


def test_the_flags_are_those_of_the_code():
    rows = rows_of_table("Flags")
    found = {int(row[0]): row[1].strip("`") for row in rows}
    assert found == {flag.value: flag.name.lower() for flag in Flags if flag}
    without = {int(row[0]) for row in rows if "**no label**" in row[2]}
    assert sum(without) == NO_LABEL.value


def test_the_suffixes_are_those_of_the_formats():
    text = " ".join(row[0] for row in rows_of_table("Formats"))
    found = [word.strip("`,") for word in text.split() if word.startswith("`")]
    assert found == list_suffixes("embed")
