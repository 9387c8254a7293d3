"""URLs in place of paths, through fsspec: listed, copied to this machine, and written.

A copy lies in the temporary folder and goes with the last that refers to it. Whatever a library
says of a failure is not repeated, for it may hold a key; requests that may pass are asked again.
"""

from __future__ import annotations

import os
import random
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from galmorph.errors import (
    GalmorphError,
    ImageError,
    MissingExtraError,
    NotAnsweredError,
    OptionError,
    UnreadableImageError,
    UnsupportedImageError,
)

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

CONNECTIONS = 16
TRIES = 5
FIRST_PAUSE_S = 1.0
SILENCE_S = 60.0  # of one request
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 4
UPLOAD_BYTES_PER_S = 1 << 18  # a slower upload has failed
URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
WEB = ("http", "https")
SECRET = re.compile(r"sig|token|secret|key|cred|auth|pass|policy", re.IGNORECASE)
LASTING = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(ValueError, TypeError, NotImplementedError),
)
NOTHING_THERE = 416  # what a part of an empty file is answered with
HIDDEN = "://***"
PASSING = frozenset({408, 425, 429})  # statuses below 500 that may be others a little later
_named: set[str] = set()


def is_url(path: object) -> bool:
    """Whether it is like ``s3://bucket/name``."""
    return isinstance(path, str) and "://" in path and URL.match(path) is not None


def to_path(name: str) -> str:
    """What galmorph calls it: ``file:///a`` is ``/a``; a URL is refused where it holds a secret."""
    if (found := URL.match(name)) is None:
        return name
    scheme, rest = found.groups()
    if scheme in ("file", "local"):
        return str(rest)
    place, _, query = rest.partition("?")
    user, at, _ = place.partition("/")[0].rpartition("@")
    if (at and (":" in user or scheme in WEB)) or (scheme in WEB and SECRET.search(query)):
        raise OptionError(
            f"a {scheme} URL holds a user, password or signature, and addresses go into tables: "
            "give credentials as the tools of the service take them (environment, configuration)"
        )
    if ".." in place.split("/"):
        raise OptionError(f"a {scheme} URL goes up by '..': name the place itself")
    return name


def hide_secret(cell: str) -> str:
    """A cell of a table, of which only the service is left where it holds a secret."""
    try:
        return to_path(cell.strip()) if is_url(cell.strip()) else cell
    except OptionError:
        return cell.strip().partition("://")[0] + HIDDEN


def is_web(url: str) -> bool:
    """Whether it names one file, of a server that lists nothing."""
    return url.partition("://")[0] in WEB


def _find_root(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def allow(url: str) -> None:
    """Let URLs of this bucket or host be opened, since the command names it."""
    _named.add(_find_root(url))


def check_named(url: str, within: str | None) -> None:
    """Refuse what no command has named, or what lies outside a folder; cells hold anything."""
    if url.endswith(HIDDEN):
        reason = "the URL holds a user, password or signature, or goes up by '..': it is not used"
        raise UnsupportedImageError(reason, url)
    if within is not None and not url.startswith(within.rstrip("/") + "/"):
        raise UnsupportedImageError("this URL lies outside of --within", url)
    if _find_root(url) not in _named:
        raise UnsupportedImageError(
            "a URL in a table is opened only where the command names its bucket or host, as by "
            f"--within {_find_root(url)}",
            url,
        )


def find_name(url: str) -> str:
    """The last part of a URL, as a file may be called."""
    place = url.partition("?")[0] if is_web(url) else url
    name = re.sub(r"[^\w.+-]", "_", place.rstrip("/").rpartition("/")[2])
    return name.lstrip(".")[-100:] or "file"


@cache
def _get_system(scheme: str, process: int) -> Any:
    """The one of this process: after a fork the connections of the other are of no use."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError("fsspec", "remote", f"for {scheme}:// URLs") from error
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        package = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
        needed = package.get(scheme, "aiohttp" if scheme in WEB else f"a library for {scheme}")
        raise MissingExtraError(needed, "remote", f"for {scheme}:// URLs") from error
    except ValueError as error:
        raise OptionError(f"{scheme}://: fsspec knows no such service") from error


class Passing(Exception):  # noqa: N818 (goes no further than `ask`)
    """What may be different the next time, in words of our own, and how long not to ask."""

    def __init__(self, said: str, pause: float = 0.0) -> None:
        super().__init__(said)
        self.pause = pause


def ask(url: str | None, call: Callable[[], T], stopped: threading.Event | None = None) -> T:
    """What a call gives, made again where that may help; an ImageError in words of our own."""
    waiting, said = stopped or threading.Event(), ""
    for attempt in range(TRIES):
        if attempt and waiting.wait(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)):
            raise NotAnsweredError("the run was stopped", url)
        try:
            return call()
        except FileNotFoundError as error:
            raise UnreadableImageError("there is no such file", url) from error
        except PermissionError:
            reason = "this may not be read or written (no permission; are credentials set?)"
            raise UnreadableImageError(reason, url) from None
        except GalmorphError:
            raise
        except Passing as error:
            said = str(error)
        except Exception as error:  # every service has its own
            status = _find_status(error)
            said = f"{type(error).__name__}, {status}" if status else type(error).__name__
            if isinstance(error, LASTING) or (0 < status < 500 and status not in PASSING):
                raise NotAnsweredError(f"the service refuses ({said})", url) from None
            said = f"no answer ({said})"
    raise NotAnsweredError(f"asked {TRIES} times: {said}", url)


def _ask(url: str, method: str, *first: Any, limit: float = 0, **words: Any) -> Any:
    """What a method of fsspec gives for a URL."""
    return ask(url, partial(_call, url, method, *first, limit=limit, **words))


def _read(url: str, start: int, end: int) -> bytes:
    try:
        return bytes(_call(url, "cat_file", start=start, end=end))
    except Exception as error:
        if _find_status(error) == NOTHING_THERE:
            return b""
        raise


def _find_status(error: BaseException) -> int:
    """Status of the answer that a library turned into an error, of HTTP; 0 where it had none."""
    answer = getattr(error.__cause__, "response", {})
    status = getattr(error, "status", answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return status if isinstance(status, int) else 0


def _call(url: str, method: str, *first: Any, limit: float = 0, **words: Any) -> Any:
    system = _get_system(url.partition("://")[0], os.getpid())
    place = system._strip_protocol(url)
    if not system.async_impl:
        return getattr(system, method)(*first, place, **words)
    from fsspec.asyn import sync

    function = getattr(system, f"_{method}")
    return sync(system.loop, function, *first, place, timeout=limit or SILENCE_S, **words)


def make_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Threads; what they need is not imported where no URL is given."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads, name)


class Copy:
    """A copy of what a URL names, in a folder that goes with it (but not with a pickle of it)."""

    def __init__(self, url: str) -> None:
        import shutil
        import tempfile

        folder = tempfile.mkdtemp(prefix="galmorph_")
        self.url, self.path = url, os.path.join(folder, find_name(url))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def rename(self, text: str) -> str:
        """A text with the URL in place of the copy."""
        return text.replace(self.path, self.url)

    def rename_error(self, error: GalmorphError) -> None:
        """Have an error name the URL."""
        error.args = (self.rename(str(error)), *error.args[1:])
        if isinstance(error, ImageError):
            error.reason = self.rename(error.reason)
            error.path = error.path and self.rename(error.path)

    @contextmanager
    def naming(self) -> Iterator[str]:
        """The path of the copy; errors name the URL."""
        try:
            yield self.path
        except GalmorphError as error:
            self.rename_error(error)
            raise


def fetch(url: str, stopped: threading.Event | None = None) -> Copy:
    """Copy a file to this machine; a small one takes one request."""
    first = ask(url, partial(_read, url, 0, PART_BYTES), stopped)
    try:
        copy = Copy(url)
        with open(copy.path, "wb") as file:
            file.write(first)
            if len(first) == PART_BYTES:
                _fetch_rest(url, file.fileno(), stopped)
    except OSError as error:
        if isinstance(error, ImageError):
            raise
        import tempfile

        said = f"no copy can be made in {tempfile.gettempdir()} ({error.strerror}); set TMPDIR"
        raise UnreadableImageError(said, url) from error
    return copy


def _fetch_rest(url: str, descriptor: int, stopped: threading.Event | None) -> None:
    size = int(_ask(url, "info")["size"] or 0)

    def bring(start: int) -> None:
        if stopped is not None and stopped.is_set():
            raise NotAnsweredError("the run was stopped", url)
        end = min(start + PART_BYTES, size)
        part = ask(url, partial(_read, url, start, end), stopped)
        if len(part) != end - start:
            raise NotAnsweredError(f"{len(part)} bytes came, not {end - start}", url)
        os.pwrite(descriptor, part, start)

    with make_pool(PARTS_AT_ONCE, "galmorph-part") as pool:
        try:
            list(pool.map(bring, range(PART_BYTES, size, PART_BYTES)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def fetch_tree(url: str, suffixes: tuple[str, ...]) -> Copy:
    """Copy the files of these suffixes in a folder and those below it."""
    copy = Copy(url)
    found = map(to_path, list_urls(url, "find"))  # none goes up and out of the copy
    names = [name for name in found if name.lower().endswith(suffixes)]

    def bring(name: str) -> None:
        target = os.path.join(copy.path, name[len(url.rstrip("/")) + 1 :])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = fetch(name)
        os.replace(part.path, target)

    with make_pool(CONNECTIONS, "galmorph-part") as pool:
        list(pool.map(bring, names))
    return copy


def list_urls(url: str, method: str) -> list[str]:
    """URLs of what a service lists by name."""
    scheme = url.partition("://")[0]
    return [f"{scheme}://{name.lstrip('/')}" for name in _ask(url, method)]


def list_folder(url: str) -> list[tuple[str, bool]]:
    """URLs in a folder, and whether each is a folder itself; a file is its own list."""
    found, scheme = _ask(url, "ls", detail=True), url.partition("://")[0]
    return [(f"{scheme}://{e['name'].strip('/')}", e["type"] == "directory") for e in found]


def exists(path: str) -> bool:
    """Whether there is such a file, here or elsewhere."""
    if not is_url(path):
        return os.path.isfile(path)
    with suppress(UnreadableImageError):
        return bool(_ask(path, "info")["type"] == "file")
    return False


_ahead: dict[str, tuple[Future[Copy], threading.Event]] = {}  # begun before they are asked for
_ahead_pool = cache(partial(make_pool, 1, "galmorph-ahead"))


def expect(url: str) -> None:
    """Begin to fetch, one after the other."""
    stopped = threading.Event()
    _ahead[url] = _ahead_pool().submit(fetch, url, stopped), stopped


def take(url: str) -> Copy:
    """The copy, once it is there."""
    future, _ = _ahead.pop(url, (None, None))
    return fetch(url) if future is None else future.result()


def forget() -> None:
    """Stop what was begun."""
    while _ahead:
        _, (future, stopped) = _ahead.popitem()
        stopped.set()
        future.cancel()


def find_cache() -> Path:
    """The folder of galmorph in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "galmorph"


def find_place(path: str | os.PathLike[str]) -> Path:
    """Where an output is made before it is sent: its own place, or one in the user's cache."""
    name = os.fspath(path)
    if not is_url(name):
        return Path(name)
    import hashlib

    key = hashlib.sha256(name.encode()).hexdigest()[:16]
    return find_cache() / "outputs" / key / find_name(name)


def send(place: Path, url: str) -> None:
    """Write a file to a URL and see that it is there whole; it stays here."""
    size = place.stat().st_size
    _ask(url, "put_file", os.fspath(place), limit=SILENCE_S + size / UPLOAD_BYTES_PER_S)
    if _ask(url, "info")["size"] != size:
        raise NotAnsweredError("it is not there whole", url)


def remove(url: str) -> None:
    """Remove a file."""
    _ask(url, "rm_file")
