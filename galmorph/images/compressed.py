"""gzip, bzip2 and xz, read forwards, with a bound on what comes out."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import Any, BinaryIO

from galmorph.errors import ImageError, ImageTooLargeError, UnreadableImageError
from galmorph.images.source import NEW_COPY

COMPRESSION_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
"""First bytes of a compressed file, and what `decompress` calls it."""

ALLOWANCE = 1 << 30
"""Bytes that may come out of a stream, however few went in."""

DEFLATE_RATIO = 1032
"""By which deflate can shrink anything at most (https://zlib.net/zlib_tech.html)."""

USUAL_RATIO = 32
"""By which a stream that is no attack shrinks its content at most; on top of the allowance."""

MAX_PARTS = 20_000
"""Concatenated streams in a file; blocked gzip writes one per 64 KiB."""

CHUNK = 1 << 15
PIECE = 1 << 20
"""Unpacked at once; larger pieces cost more time for their memory than for their bytes."""

LZMA_MEMORY = 256 << 20
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "zlib": zlib.MAX_WBITS, "deflate": -zlib.MAX_WBITS}


def find_method(head: bytes) -> str:
    """How a file is compressed, by its first bytes; "" where it is not."""
    found = (name for magic, name in COMPRESSION_MAGIC.items() if head.startswith(magic))
    return next(found, "")


def decompress(data: bytes, method: str, *, limit: int) -> bytes:
    """Decompress in memory; concatenated streams are joined."""
    unpacked = Unpacker(io.BytesIO(data), method, allowance=limit).read(limit + 1)
    if len(unpacked) > limit:
        raise ImageTooLargeError(f"more than {limit} bytes when decompressed")
    return unpacked


class Unpacker:
    """What comes out of a compressed file; it can only go forwards, and no bomb goes off in it."""

    def __init__(self, file: BinaryIO, method: str, *, allowance: int = ALLOWANCE) -> None:
        self.method = method
        self._file, self._allowance = file, allowance
        self._decoder: Any = None
        self._pending = b""
        self.taken = self._given = self._parts = 0

    def tell(self) -> int:
        """Bytes that have come out."""
        return self._given

    def seek(self, position: int) -> int:
        """Pass over what comes before a position."""
        while self._given < position and self._next(position - self._given):
            pass
        if self._given != position:
            raise self._refuse("cut short")
        return position

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end."""
        parts = []
        while size > 0 and (part := self._next(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _next(self, size: int) -> bytes:
        """Some bytes, at most so many; none at the end."""
        try:
            while self._find_part():
                if part := self._decode(min(size, PIECE)):
                    self._given += len(part)
                    if self._given > self._allowance + USUAL_RATIO * self.taken:
                        raise ImageTooLargeError(
                            f"{self.taken} bytes unpack to more than {self._given}"
                        )
                    return part
        except ImageError:
            raise
        except (zlib.error, lzma.LZMAError, ValueError, EOFError, OSError) as error:
            raise self._refuse("damaged") from error
        return b""

    def _find_part(self) -> bool:
        """Be inside a stream, the next one where the last is at its end; false after the last."""
        while self._decoder is None:
            self._pending = self._pending.lstrip(b"\0") or self._take()  # padding between streams
            if not self._pending:
                return False
            if self._pending.startswith(b"\0"):
                continue
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise ImageTooLargeError(f"more than {MAX_PARTS} {self.method} streams")
            self._decoder = _make_decoder(self.method)
        return True

    def _decode(self, size: int) -> bytes:
        part: bytes = self._decoder.decompress(self._pending, size)
        if self._decoder.eof:
            self._pending, self._decoder = self._decoder.unused_data, None
            return part
        self._pending = getattr(self._decoder, "unconsumed_tail", b"")  # zlib alone
        if not part and not self._pending:
            self._pending = self._take()
            if not self._pending:
                raise self._refuse("cut short")
        return part

    def _refuse(self, how: str) -> UnreadableImageError:
        return UnreadableImageError(f"the {self.method} stream is {how}; {NEW_COPY}")

    def _take(self) -> bytes:
        taken = self._file.read(CHUNK)
        self.taken += len(taken)
        return taken


def _make_decoder(method: str) -> Any:
    if method == "bzip2":
        return bz2.BZ2Decompressor()
    if method == "xz":
        return lzma.LZMADecompressor(memlimit=LZMA_MEMORY)
    return zlib.decompressobj(WINDOWS[method])
