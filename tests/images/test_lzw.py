"""Files of compress."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_flux, write_fits

from galmorph.errors import ImageTooLargeError, UnreadableImageError
from galmorph.images.compressed import unpack_lzw
from galmorph.images.discover import discover_sources
from galmorph.images.read import read_cutout

KINDS = {
    "text": b"abcabcabcabcabc" * 3000,
    "zeros": bytes(300_000),
    "noise": np.random.default_rng(0).integers(0, 256, 60_000, "u1").tobytes(),
    "one": b"x",
}


def pack_lzw(data: bytes, last: int = 16, clear_after: int = 1 << 30) -> bytes:
    """As compress does; the table is thrown away after so many codes."""
    out, bits, count, width = bytearray(b"\x1f\x9d" + bytes([0x80 | last])), 0, 0, 9
    table = {bytes([n]): n for n in range(256)}
    free, codes, word = 257, 0, b""

    def flush() -> None:
        nonlocal bits, count
        if count:
            out.extend(bits.to_bytes(width, "little"))
        bits = count = 0

    def put(code: int) -> None:
        nonlocal bits, count
        bits |= code << (count * width)
        count += 1
        if count == 8:
            flush()

    def widen() -> None:
        nonlocal width
        if free > (1 << width) - 1 and width < last:
            flush()
            width += 1

    for n in range(len(data)):
        byte = data[n : n + 1]
        if word + byte in table:
            word += byte
            continue
        put(table[word])
        codes += 1
        if free < 1 << last:
            widen()
            table[word + byte] = free
            free += 1
        word = byte
        if codes == clear_after:
            put(table[word])
            widen()
            put(256)
            flush()
            table, free = {bytes([k]): k for k in range(256)}, 257
            width, codes, word = 9, 0, b""
    if word:
        put(table[word])
    return bytes(out) + bits.to_bytes((count * width + 7) // 8, "little")


@pytest.mark.parametrize("clear_after", [1 << 30, 1000, 1001, 255])
@pytest.mark.parametrize("last", [16, 12])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_packed_comes_out(tmp_path: Path, kind: str, last: int, clear_after: int) -> None:
    packed = pack_lzw(KINDS[kind], last, clear_after)
    assert unpack_lzw(packed, limit=10**6) == KINDS[kind]
    if gzip := shutil.which("gzip"):  # the packer itself is right
        (tmp_path / "a.Z").write_bytes(packed)
        found = subprocess.run([gzip, "-dc", tmp_path / "a.Z"], capture_output=True, check=True)
        assert found.stdout == KINDS[kind]


def test_fits_of_compress_in_a_folder(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "a.fits", make_flux()[0])
    expected = read_cutout(path).array
    (tmp_path / "b.fits.Z").write_bytes(pack_lzw(path.read_bytes()))
    path.unlink()
    (source,) = discover_sources(tmp_path)
    assert source.object_id == "b"
    np.testing.assert_array_equal(read_cutout(source).array, expected)


def test_bounds_and_damage() -> None:
    packed = pack_lzw(KINDS["zeros"])
    with pytest.raises(ImageTooLargeError, match="more bytes than max_pixels"):
        unpack_lzw(packed, limit=1000)
    for damaged in (packed[:2], packed[:2] + b"\x05" + packed[3:], packed[:10] + b"\xff" * 40):
        with pytest.raises(UnreadableImageError, match="the compress stream is damaged"):
            unpack_lzw(damaged, limit=10**6)
