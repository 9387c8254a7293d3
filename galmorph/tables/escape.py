"""Strings that a format cannot hold as they are.

File names may contain line breaks, control characters, bytes that are no UTF-8, and letters of
any script. Where a format cannot hold those, they are **percent-encoded** as in a URL, by one
rule: a character that must not stand there becomes ``%XX`` for each byte of its UTF-8 form, and
a ``%`` that two hexadecimal digits follow becomes ``%25``. So `unescape` (that is
`urllib.parse.unquote`) always gives the original back, and names without such characters stay
as they are. FITS: everything but printable ASCII. ECSV: characters that are not printable. In
both, also a blank at either end, which readers strip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

STRINGS_KEY = "strings"
STRINGS_NOTE = "percent-encoded where a character is not printable, or % before two hex digits"
"""What the header of ECSV and FITS says, so that readers know."""

_PERCENT = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_NOT_ASCII = re.compile(r"[^\x20-\x7e]|^ +| +$")
_BLANK_ENDS = re.compile(r"^ +| +$")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _to_bytes(text: str) -> bytes:
    """The bytes that a name stands for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that no file name has
        return text.encode("utf-8", "backslashreplace")


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in _to_bytes(text))


def _percent_match(match: re.Match[str]) -> str:
    return _percent(match.group())


def escape_ascii(text: str) -> str:
    """Percent-encode everything but printable ASCII, for FITS.

    >>> escape_ascii("galáxia 1.jpg"), escape_ascii("50%.jpg")
    ('gal%C3%A1xia 1.jpg', '50%.jpg')
    """
    return _NOT_ASCII.sub(_percent_match, _PERCENT.sub("%25", text))


def escape_line(text: str) -> str:
    """Percent-encode what is not printable, so that a string stays within one line."""
    text = _BLANK_ENDS.sub(_percent_match, _PERCENT.sub("%25", text))
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _percent(char) for char in text)


def escape_lines(texts: Sequence[str]) -> Sequence[str]:
    """`escape_line` for a column."""
    return texts if is_plain(texts) else [escape_line(text) for text in texts]


def unescape(text: str) -> str:
    """Give back what `escape_ascii` or `escape_line` was given."""
    return unquote(text, errors="surrogateescape") if "%" in text else text


def unescape_all(cells: Sequence[str]) -> list[str]:
    """`unescape` for a column."""
    return list(cells) if "%" not in "".join(cells) else [unescape(cell) for cell in cells]


def is_plain(texts: Sequence[str]) -> bool:
    """Whether `escape_line` would change none of them, found without looking at each."""
    joined = "\n".join(["", *texts, ""])
    blank_ends = "\n " in joined or " \n" in joined
    return not blank_ends and "%" not in joined and "".join(texts).isprintable()


def readable(text: str) -> str:
    r"""Text that UTF-8 can hold: bytes of a name that are no UTF-8 appear as ``\xff``."""
    if text.isascii():
        return text
    return _to_bytes(text).decode("utf-8", "backslashreplace")


def xml_text(text: str) -> str:
    """Text that XML can hold: `readable`, with U+FFFD for control characters."""
    return _NOT_XML.sub("\ufffd", readable(text))
