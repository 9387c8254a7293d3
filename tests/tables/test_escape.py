from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galmorph.tables.escape import escape_ascii, escape_line, readable, unescape
from tests.tables.table_cases import NASTY

NAMES = st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))


@given(NAMES)
def test_both_escapes_come_back(text):
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return  # no file name: a surrogate that stands for no byte
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
