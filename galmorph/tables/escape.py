r"""Strings that a format cannot hold as they are.

FITS and ECSV: percent-encoded as in a URL, and so is a ``%`` before two hex digits; `unescape`
gives the original back. CSV, JSON Lines, Parquet and VOTable: as Python spells it (``\xff`` for a
byte that is no UTF-8), and so is a backslash that would look like it; `restore` undoes that.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

STRINGS_KEY = "strings"
# What the header of ECSV and FITS says, so that readers know.
STRINGS_NOTE = "percent-encoded where a character is not printable, or % before two hex digits"
_PERCENT = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_NOT_ASCII = re.compile(r"[^\x20-\x7e]|^ +| +$")
_BLANK_ENDS = re.compile(r"^ +| +$")
_ENDS = re.compile(r"^\s+|\s+$")
_SPELLED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4})")
_LONE = re.compile("%5C%75((?:%[36][0-9]){4})")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_GUARDED = re.compile("'+[=+@\t\r-]")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that no file name has
        return text.encode("utf-8", "backslashreplace")


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in _to_bytes(text))


def escape_ascii(text: str) -> str:
    """Percent-encode everything but printable ASCII, for FITS: galáxia as gal%C3%A1xia."""
    return _NOT_ASCII.sub(lambda found: _percent(found[0]), _PERCENT.sub("%25", text))


def escape_line(text: str) -> str:
    """Percent-encode what is not printable, so that a string stays within one line."""
    text = _BLANK_ENDS.sub(lambda found: _percent(found[0]), _PERCENT.sub("%25", text))
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _percent(char) for char in text)


def escape_lines(texts: Sequence[str]) -> Sequence[str]:
    """`escape_line` for a column."""
    return texts if is_plain(texts) else [escape_line(text) for text in texts]


def unescape(text: str) -> str:
    """Give back what `escape_ascii` or `escape_line` was given."""
    if "%" not in text:
        return text
    lone = _LONE.sub(lambda match: chr(int(unquote(match[1]), 16)), text)
    return unquote(lone, errors="surrogateescape")


def is_plain(texts: Sequence[str]) -> bool:
    """Whether `escape_line` would change none of them, found without looking at each."""
    joined = "\n".join(["", *texts, ""])
    blank_ends = "\n " in joined or " \n" in joined
    return not blank_ends and "%" not in joined and "".join(texts).isprintable()


def readable(text: str) -> str:
    r"""Text that UTF-8 can hold: bytes of a name that are no UTF-8 appear as ``\xff``."""
    if "\\" in text:
        text = _SPELLED.sub(r"\\x5c\1", text)
    return text if text.isascii() else _to_bytes(text).decode("utf-8", "backslashreplace")


def xml_text(text: str) -> str:
    """Text that XML can hold: `readable`, and control characters spelled in the same way."""
    return _NOT_XML.sub(_spell, readable(text))


def xml_cell(text: str) -> str:
    """The same for a cell of VOTable, at whose ends readers strip blanks."""
    return _ENDS.sub(_spell, xml_text(text))


def _spell(match: re.Match[str]) -> str:
    return "".join(f"\\x{ord(c):02x}" if ord(c) < 0x80 else f"\\u{ord(c):04x}" for c in match[0])


def restore(text: str) -> str:
    """Give back what `readable` or `xml_text` was given."""
    return _SPELLED.sub(_spelled_char, text) if "\\" in text else text


def _spelled_char(match: re.Match[str]) -> str:
    code = int(match[1][1:], 16)
    return chr(code + 0xDC00 if match[1][0] == "x" and code > 0x7F else code)


def guard(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe before = + - @."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def guard_guarded(text: str) -> str:
    """The same of what looks as if it had been given one, so that `restore_cell` can tell."""
    return f"'{text}" if _GUARDED.match(text) else text


def restore_cell(text: str) -> str:
    """`restore` for a cell of CSV, which may be guarded."""
    return restore(text[1:] if _GUARDED.match(text) else text)
