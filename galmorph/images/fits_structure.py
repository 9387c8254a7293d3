"""A walk over the headers of a FITS file ahead of astropy, which believes what they say."""

import math
import re
from collections.abc import Iterator

from galmorph.errors import UnreadableImageError

BLOCK = 2880
CARD = 80
END_CARD = b"END     "
MAX_HEADER_BLOCKS = 1456  # 4 MiB; the largest real ones hold 0.3 MiB
MAX_HDUS = 256
MAX_COUNT = 999  # of axes and table columns (FITS 4.0, 4.4.1.1 and 7.3.1)
UNREAD = "UNREAD"  # card in place of one: its name, and as comment what stood there
COUNT_KEYS = (b"NAXIS   ", b"ZNAXIS  ", b"TFIELDS ")
NO_HEAP = {b"PCOUNT  ": 0, b"GCOUNT  ": 1}
SIZE_KEYS = {b"BITPIX  ": 8, **NO_HEAP}
WHOLE = re.compile(rb"[+-]?\d+")
NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed] ?[+-]?\d+)?")
OPTIONAL_KEYS = {  # without them an HDU can be read; None: text
    **dict.fromkeys((b"BSCALE  ", b"BZERO   "), NUMBER),
    **dict.fromkeys((b"BLANK   ", b"ZBLANK  ", b"EXTVER  ", b"EXTLEVEL"), WHOLE),
    **dict.fromkeys((b"EXTNAME ", b"XTENSION"), None),
}
VALUE = re.compile(rb" *(?:(?P<text>'(?:[^']|'')*')|(?P<bare>[^/]*)) *(?:/.*)?", re.DOTALL)


def check_structure(raw: memoryview) -> dict[int, bytes]:
    """Refuse headers that would keep astropy busy for minutes; cards to replace, by offset."""
    patches: dict[int, bytes] = {}
    seen = 0  # bytes of pixels
    try:
        for _, size in _walk(raw, patches):
            seen += size
    except _NoNumberError as error:
        if not seen:
            raise UnreadableImageError(f"{error}, so the image has no size") from None
    return patches


def find_cut(raw: memoryview) -> str:
    """Which HDU is not there as a whole, in words; "" where all are."""
    end = 0
    try:
        for number, (start, size) in enumerate(_walk(raw, {})):
            end = start + -(-size // BLOCK) * BLOCK
            if start + size > len(raw):
                return f"HDU {number} lacks {start + size - len(raw)} of {size} bytes"
    except (UnreadableImageError, _NoNumberError):
        return ""
    return "a header ends early" if end < len(raw) else ""


class _NoNumberError(Exception):
    """A size that cannot be read."""


def _walk(raw: memoryview, patches: dict[int, bytes]) -> Iterator[tuple[int, int]]:
    """Start and length of the data of each HDU, in bytes; what is to be mended is added."""
    position = 0
    for number in range(MAX_HDUS):
        header = read_header(raw, position, MAX_HEADER_BLOCKS)
        if not header:
            if number == 0:
                raise UnreadableImageError("the FITS header has no END card")
            return
        size = _check_header(header, position, patches)
        position += -(-len(header) // BLOCK) * BLOCK
        yield position, size
        position += -(-size // BLOCK) * BLOCK


def read_header(raw: memoryview, position: int, most: int) -> bytes:
    """Blocks up to that of the END card, the last perhaps cut short; none without such a card."""
    header = b""
    for _ in range(most):
        start = position + len(header)
        block = bytes(raw[start : start + BLOCK])
        header += block
        end = block.find(END_CARD)
        while end >= 0 and end % CARD:
            end = block.find(END_CARD, end + 1)
        if end >= 0 or len(block) < BLOCK:
            return header if end >= 0 else b""
    return b""


def _check_header(header: bytes, position: int, patches: dict[int, bytes]) -> int:
    axes: list[int] = []
    sizes = dict(SIZE_KEYS)
    for start in range(0, len(header), CARD):
        key = header[start : start + 8]
        if key == END_CARD:
            break
        card = header[start : start + CARD]
        if key in OPTIONAL_KEYS:
            mended = _mend_card(key, card)
            if mended != card:
                patches[position + start] = mended
        elif key in COUNT_KEYS or key in sizes or key.startswith(b"NAXIS"):
            value = _read_integer(key, card, NO_HEAP.get(key))
            if not WHOLE.fullmatch(_find_value(card)):
                patches[position + start] = _make_card(key, b"%20d" % value)
            if key in COUNT_KEYS and value > MAX_COUNT:
                name = key.decode().strip()
                raise UnreadableImageError(f"{name} = {value} is more than a FITS file may have")
            if key in sizes:
                sizes[key] = value
            elif key not in COUNT_KEYS:
                axes.append(value)
    pixels = math.prod(max(length, 0) for length in axes) if axes else 0
    total = abs(sizes[b"BITPIX  "]) // 8 * sizes[b"GCOUNT  "] * (sizes[b"PCOUNT  "] + pixels)
    return max(total, 0)


def _find_value(card: bytes) -> bytes:
    """What stands there as value, with its quotes; b"" for none."""
    found = VALUE.match(card, 10)
    return (found["text"] or found["bare"]).strip() if found else b""


def _make_card(key: bytes, value: bytes, comment: bytes = b"") -> bytes:
    said = b" / " + comment if comment else b""
    return (key + b"= " + value + said)[:CARD].ljust(CARD)


def _mend_card(key: bytes, card: bytes) -> bytes:
    """The same card where its value is what it must be."""
    value, form = _find_value(card), OPTIONAL_KEYS[key]
    inner = value[1:-1].strip() if value.startswith(b"'") else value
    if form is None:
        return card if value.startswith(b"'") or not inner else _make_card(key, b"'%s'" % inner)
    if form is WHOLE and re.fullmatch(rb"[+-]?\d+\.0*", inner):
        inner = inner.partition(b".")[0]
    if not form.fullmatch(inner):
        return _make_card(UNREAD.encode().ljust(8), b"'%s'" % key, inner.replace(b"'", b"")[:40])
    return card if inner == value else _make_card(key, inner.rjust(20))


def _read_integer(key: bytes, card: bytes, default: int | None) -> int:
    value = _find_value(card).strip(b"' ")
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        if default is not None:
            return default
        shown = f"{key.decode('ascii', 'replace').strip()} = {value.decode('ascii', 'replace')}"
        raise _NoNumberError(f"{shown} is no number") from None
