"""gzip, bzip2 and xz with a bound on what comes out."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from galmorph.errors import ImageTooLargeError, UnreadableImageError

__all__ = ["COMPRESSION_MAGIC", "decompress"]

COMPRESSION_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
"""First bytes of a compressed file, and what `decompress` calls it."""

GZIP_WINDOW = 16 + zlib.MAX_WBITS
LZMA_MEMORY = 256 << 20


def decompress(data: bytes, method: str, *, limit: int, path: str = "") -> bytes:
    """Decompress in memory, and stop at a bound.

    Parameters
    ----------
    data : bytes
        Compressed file; several concatenated streams are joined.
    method : {"gzip", "bzip2", "xz"}
        As the first bytes say.
    limit : int
        Largest number of bytes that may come out.
    path : str
        For messages.

    Returns
    -------
    bytes

    Raises
    ------
    ImageTooLargeError
        More than `limit` bytes would come out (no more than that is ever held).
    UnreadableImageError
        Damaged or cut short.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while data:
            stream = _make_stream(method)
            part, data = _run(stream, data, limit - size + 1, method)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise ImageTooLargeError(f"more than {limit} bytes when decompressed", path)
            if not getattr(stream, "eof", True):
                raise UnreadableImageError(f"the {method} stream is cut short", path)
            data = data.lstrip(b"\0")  # padding after the last stream
    except (zlib.error, lzma.LZMAError, ValueError, EOFError) as error:
        raise UnreadableImageError(f"the {method} stream is damaged ({error})", path) from error
    except OSError as error:
        if isinstance(error, (ImageTooLargeError, UnreadableImageError)):
            raise
        raise UnreadableImageError(f"the {method} stream is damaged ({error})", path) from error
    return b"".join(parts)


def _make_stream(method: str) -> Any:
    if method == "gzip":
        return zlib.decompressobj(GZIP_WINDOW)
    if method == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(memlimit=LZMA_MEMORY)


def _run(stream: Any, data: bytes, limit: int, method: str) -> tuple[bytes, bytes]:
    part = stream.decompress(data, limit)
    return part, stream.unused_data
