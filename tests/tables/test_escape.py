from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galmorph.saved import SavedRun
from galmorph.tables import list_suffixes, open_writer, read_catalogue
from galmorph.tables.escape import (
    escape_ascii,
    escape_line,
    guard,
    guard_guarded,
    readable,
    restore,
    restore_cell,
    unescape,
    xml_cell,
)
from tests.tables.table_cases import NASTY, make_block

NAMES = st.text(st.characters()) | st.binary().map(
    lambda data: data.decode("utf-8", "surrogateescape")
)


@given(NAMES)
def test_both_escapes_come_back(text):
    assert unescape(escape_ascii(text)) == text
    assert unescape(escape_line(text)) == text


@given(st.text(st.characters(codec="utf-8")))
def test_the_rule_is_that_of_urls(text):
    assert unquote(escape_ascii(text)) == text


@given(st.text())
def test_fits_gets_printable_ascii_without_blank_ends(text):
    escaped = escape_ascii(text)
    assert all(" " <= char <= "~" for char in escaped)
    assert escaped == escaped.strip(" ")


@given(st.text())
def test_a_line_stays_one_line(text):
    escaped = escape_line(text)
    assert escaped.isprintable()
    assert escaped == escaped.strip()
    assert len(("x" + escaped).splitlines()) == 1


@pytest.mark.parametrize("name", ["a b.jpg", "50%.jpg", "NGC_1300-r.fits", "%", "%g1"])
def test_ordinary_names_stay(name):
    assert escape_ascii(name) == escape_line(name) == name


def test_every_script_stays_in_lines():
    assert escape_line("星系 galáxia 😀") == "星系 galáxia 😀"


@pytest.mark.parametrize("name", [*NASTY, "\ud83d lone"])
def test_readable_text_can_be_utf8(name):
    readable(name).encode("utf-8")


def test_readable_shows_bytes_that_are_no_utf8():
    assert readable("a\udcff") == "a\\xff"
    assert readable("é") == "é"


WITH_NAMES = [form for form in list_suffixes("embed") if form != ".npy"]
HARD = (
    *NASTY, "\udcff\udc80 bytes", r"a literal \xff, \u0041 and \x5cx41",
    "both \udce9 and \\xe9", " blanks at both ends ", "\ttab\n", "control \x01\x0b\x7f\x85",
    "\ufffe", "=1+2", "'=1+2", "''@", "'plain", "-5", '"', "'", "\\", "%41", "50%", "null", "None",
    "1.10", "007", "\ud800 lone \udfff\\ud800 \ud83d\ude00", "%5C%75%64%38%30%30",
)  # fmt: skip


@pytest.mark.parametrize(("form", "safe"), [*((f, False) for f in WITH_NAMES), (".csv", True)])
def test_every_name_comes_back_from_every_format(form, safe, tmp_path, specs):
    if form == ".parquet":
        pytest.importorskip("pyarrow")
    block = make_block(0, len(HARD))
    block |= {"object_id": list(HARD), "path": [f"/d/{name}" for name in HARD]}
    path = tmp_path / f"out{form}"
    with open_writer(path, specs, csv_safe=safe) as writer:
        writer.append(block)
    found = SavedRun(path).columns(["object_id", "path"])
    assert found["object_id"] == block["object_id"]
    assert found["path"] == block["path"]
    if form != ".npz":
        rows = list(read_catalogue(path, path_column="path", root=""))
        assert [row.object_id for row in rows] == block["object_id"]
        assert [row.path for row in rows] == block["path"]
    keys = list(zip(block["object_id"], block["path"], strict=True))
    with open_writer(path, specs, csv_safe=safe, resume=True) as writer:
        assert list(writer.skip_done(keys, key=lambda key: key)) == []


def test_text_of_another_catalogue_stays_as_it_is(tmp_path):
    (tmp_path / "cat.csv").write_text("file,note\na.jpg,'=1 \\xff\n")
    (row,) = read_catalogue(tmp_path / "cat.csv", path_column="file")
    assert row.columns["note"] == "'=1 \\xff"


@given(NAMES)
def test_what_is_spelled_comes_back(name):
    assert restore(readable(name)) == name
    assert restore(xml_cell(name)) == name
    assert restore_cell(guard(guard_guarded(readable(name)))) == name
