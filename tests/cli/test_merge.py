from __future__ import annotations

from galmorph.tables import open_writer, result_columns
from galmorph.tables.columns import class_columns


def write(path, name):
    specs = result_columns(class_columns(["smooth"]))
    with open_writer(path, specs) as writer:
        row = {s.name: [""] if s.is_text else [0] for s in specs}
        writer.append(row | {"object_id": ["a"], "path": [name]})
    return path


def test_parts_are_joined_and_nothing_is_replaced_unasked(run, tmp_path):
    parts = [write(tmp_path / f"{name}.csv", f"{name}.jpg") for name in "xy"]
    out = tmp_path / "all.csv"
    result = run("merge", *parts, "-o", out)
    assert result.exit_code == 0
    assert "2 rows of 2 tables; 1 share an object_id" in result.stderr
    before = out.read_bytes()
    assert before.count(b"\n") == 3
    result = run("merge", *parts, "-o", out)
    assert (
        result.exit_code == 2 and "is there already; replace it with --overwrite" in result.stderr
    )
    assert run("merge", *parts, "-o", out, "--overwrite").exit_code == 0
    assert out.read_bytes() == before


def test_a_row_that_is_there_twice_is_refused(run, tmp_path):
    part = write(tmp_path / "x.csv", "x.jpg")
    result = run("merge", part, part, "-o", tmp_path / "all.csv")
    assert result.exit_code != 0 and "is there in an earlier row as well" in result.stderr
    assert "Traceback" not in result.stderr
