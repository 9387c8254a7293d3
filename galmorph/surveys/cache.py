"""What was downloaded, on disk: verified, bounded, written whole."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from galmorph.remote import find_cache
from galmorph.writing import say_unwritable, write_whole

MAX_BYTES = 4 << 30
CHECKED_EVERY = 512  # files that are written between two looks at the size of all
DIGEST_BYTES = 32


def find_folder() -> Path:
    """``galmorph/surveys`` in the user's cache."""
    return find_cache() / "surveys"


class Cache:
    """Bytes by address. A file is the sha256 of the bytes, and the bytes."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes, self._count = folder, max_bytes, 0

    def get(self, url: str) -> bytes | None:
        """What was kept of an address, where it is there and whole."""
        path = self._place(url)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if hashlib.sha256(data[DIGEST_BYTES:]).digest() == data[:DIGEST_BYTES]:
            return data[DIGEST_BYTES:]
        self.drop(url)
        return None

    def put(self, url: str, data: bytes) -> None:
        """Keep; the longest unused go where it becomes too much."""
        path = self._place(url)
        with say_unwritable(path.parent, "another folder by XDG_CACHE_HOME"):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(data).digest() + data)
        if self._count % CHECKED_EVERY == 0:
            self.shrink()
        self._count += 1

    def drop(self, url: str) -> None:
        """Forget what turned out to be no image."""
        self._place(url).unlink(missing_ok=True)

    def shrink(self) -> None:
        """Remove the longest unused beyond the bound."""
        held, files = 0, []
        for path in self.folder.glob("??/*"):
            with suppress(OSError):  # another run has removed it
                files.append((path.stat(), path))
        for status, path in sorted(files, key=lambda file: -file[0].st_mtime):
            held += status.st_size
            if held > self.max_bytes:
                path.unlink(missing_ok=True)

    def _place(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / name[:2] / name
