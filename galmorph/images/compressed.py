"""gzip, bzip2, xz and compress (.Z), read forwards, with a bound on what comes out."""

import bz2
import io
import lzma
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, BinaryIO

from galmorph.errors import ImageError, ImageTooLargeError, UnreadableImageError
from galmorph.images.source import FITS_MAGIC, NEW_COPY

# First bytes of a compressed file, and what `decompress` calls it.
COMPRESSION_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
ALLOWANCE = 1 << 30  # bytes that may come out of a stream, however few went in
DEFLATE_RATIO = 1032  # the most that deflate can shrink (https://zlib.net/zlib_tech.html)
USUAL_RATIO = 32  # the most of a stream that is no attack, on top of the allowance
MAX_PARTS = 20_000  # concatenated streams in a file; blocked gzip writes one per 64 KiB
CHUNK = 1 << 15
PIECE = 1 << 20  # unpacked at once; larger pieces cost more time for their memory
DECODERS: dict[str, Callable[[], Any]] = {
    "bzip2": bz2.BZ2Decompressor,
    "xz": partial(lzma.LZMADecompressor, memlimit=256 << 20),
    "gzip": partial(zlib.decompressobj, 16 + zlib.MAX_WBITS),
    "zlib": partial(zlib.decompressobj, zlib.MAX_WBITS),
    "deflate": partial(zlib.decompressobj, -zlib.MAX_WBITS),
}
MAX_UNPACKED_BYTES = 32 << 30  # largest unpacked mosaic: 92,000 x 92,000 float32 pixels
KEPT_FREE_BYTES = 1 << 30  # what is left free on the disk in any case
CHUNK_BYTES = 16 << 20
NAME = "mosaic.fits"
_lock = threading.Lock()
_folders: dict[tuple[str, int, int], tempfile.TemporaryDirectory[str]] = {}
LZW_MAGIC = b"\x1f\x9d"
FIRST_WIDTH, LAST_WIDTH = 9, 16  # bits of a code
CLEAR = 256


def unpack_lzw(data: bytes, *, limit: int) -> bytes:
    """Unpack a whole file, whose codes of one width come in groups of eight."""
    last, clears = data[2] & 31 if len(data) > 3 else 0, bool(data[2:3] >= b"\x80")
    if not FIRST_WIDTH <= last <= LAST_WIDTH:
        raise UnreadableImageError("the compress stream is damaged")
    first = [bytes([n]) for n in range(256)] + [b""] * clears
    table, previous, width, at = list(first), b"", FIRST_WIDTH, 3
    parts: list[bytes] = []
    while group := data[at : at + width]:
        at += width
        bits = int.from_bytes(group, "little")
        for shift in range(0, 8 * len(group) - width + 1, width):
            code = bits >> shift & (1 << width) - 1
            if code == CLEAR and clears:
                table, previous, width = list(first), b"", FIRST_WIDTH
                break  # what is left of the group says nothing
            if code > len(table) - (not previous):
                raise UnreadableImageError("the compress stream is damaged")
            entry = table[code] if code < len(table) else previous + previous[:1]
            if previous and len(table) < 1 << last:
                table.append(previous + entry[:1])
            parts.append(entry)
            limit -= len(entry)
            previous = entry
            if len(table) == 1 << width < 1 << last:
                width += 1
                break
        if limit < 0:
            raise ImageTooLargeError("more bytes than max_pixels allows for")
    return b"".join(parts)


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
        self._file, self._method, self._allowance = file, method, allowance
        self._pieces, self._piece = self._unpack(), memoryview(b"")
        self.taken = self._given = 0

    def tell(self) -> int:
        """Bytes that have come out."""
        return self._given

    def seek(self, position: int) -> int:
        """Pass over what comes before a position."""
        while self._given < position and self.read(min(position - self._given, PIECE)):
            pass
        if self._given != position:
            raise self._refuse("cut short")
        return position

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end."""
        parts = []
        while size > 0 and (piece := self._piece or memoryview(next(self._pieces, b""))):
            parts.append(piece[:size])
            self._piece = piece[size:]
            size -= len(parts[-1])
        self._given += sum(map(len, parts))
        return b"".join(parts)

    def _unpack(self) -> Iterator[bytes]:
        parts, made, pending = 0, 0, b""
        while pending := pending.lstrip(b"\0") or self._take():  # padding between streams
            if pending.startswith(b"\0"):
                continue
            parts += 1
            if parts > MAX_PARTS:
                raise ImageTooLargeError(f"more than {MAX_PARTS} {self._method} streams")
            decoder = DECODERS[self._method]()
            while not decoder.eof:
                try:
                    part = decoder.decompress(pending, PIECE)
                except (zlib.error, lzma.LZMAError, ValueError, EOFError, OSError) as error:
                    raise self._refuse("damaged") from error
                made += len(part)
                if made > self._allowance + USUAL_RATIO * self.taken:
                    raise ImageTooLargeError(f"{self.taken} bytes unpack to more than {made}")
                if part:
                    yield part
                pending = getattr(decoder, "unconsumed_tail", b"")  # zlib alone
                if not part and not pending and not decoder.eof:
                    pending = self._take()
                    if not pending:
                        raise self._refuse("cut short")
            pending = decoder.unused_data

    def _refuse(self, how: str) -> UnreadableImageError:
        return UnreadableImageError(f"the {self._method} stream is {how}; {NEW_COPY}")

    def _take(self) -> bytes:
        taken = self._file.read(CHUNK)
        self.taken += len(taken)
        return taken


def find_unpacked(path: str) -> str:
    """Give the file itself, or what is in it, where it is compressed."""
    try:
        with open(path, "rb") as file:
            if not (method := find_method(file.read(8))):
                return path
            status = os.fstat(file.fileno())
            key = (os.path.realpath(path), status.st_mtime_ns, status.st_size)
            with _lock:
                if key not in _folders:
                    file.seek(0)
                    _folders[key] = _unpack(Unpacker(file, method))
                return os.path.join(_folders[key].name, NAME)
    except OSError as error:
        if isinstance(error, ImageError):
            raise
        raise UnreadableImageError(f"cannot be unpacked ({error.strerror})") from error


def _unpack(stream: Unpacker) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="galmorph_")
    try:
        with open(os.path.join(folder.name, NAME), "wb") as out:
            _copy(stream, out)
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _copy(stream: Unpacker, out: IO[Any]) -> None:
    while chunk := stream.read(CHUNK_BYTES):
        if not out.tell() and not chunk.startswith(FITS_MAGIC):
            raise UnreadableImageError("what is compressed in it is no FITS")
        if stream.tell() > MAX_UNPACKED_BYTES:
            raise ImageTooLargeError(f"more than {MAX_UNPACKED_BYTES} bytes when unpacked")
        if shutil.disk_usage(out.name).free < KEPT_FREE_BYTES + len(chunk):
            raise ImageTooLargeError(
                f"no room in {tempfile.gettempdir()} to unpack it; set TMPDIR to a larger disk, or "
                "unpack it yourself"
            )
        out.write(chunk)
