"""Paths, folders, globs and containers to an ordered, lazy list of sources."""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from galmorph.errors import (
    ImageError,
    MissingExtraError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.band_files import BandPattern
from galmorph.images.containers import (
    FOLDER_SUFFIXES,
    SEARCHED_SUFFIXES,
    expect_container,
    is_container,
    list_container,
    split_address,
)
from galmorph.images.files import IMAGE_SUFFIXES, ImageFile
from galmorph.images.hdus import split_hdu
from galmorph.images.records import METADATA, read_metadata
from galmorph.images.source import NEW_COPY, Lost, Source, make_object_id, make_printable, naming
from galmorph.remote import allow, forget, is_url, is_web, list_folder, list_urls, to_path

MEMBER_MARK = "::"
SHARDS = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
CACHE = re.compile(r"cache-.*\.arrow")  # beside a data set of Hugging Face, none of its files
GLOB_CHARACTERS = "*?["


def discover_sources(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    recursive: bool = True,
    bands_from_name: str | None = None,
    keep_missing: bool = False,
    passed_over: Counter[str] | None = None,
    within: str | None = None,
) -> Iterator[Source]:
    """List cutouts of files, sorted folders, globs, containers, lazily; faults are sources too."""
    arguments = _expand(paths, keep_missing=keep_missing)
    pattern = BandPattern(bands_from_name) if bands_from_name else None
    passed_over = Counter() if passed_over is None else passed_over
    return _walk_arguments(arguments, _Walk(recursive, passed_over, within, pattern))


def _expand(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, keep_missing: bool
) -> list[str | Source]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    expanded: list[str | Source] = []
    for path in paths:
        name = to_path(os.fspath(path))
        try:
            expanded.extend(_expand_one(name))
        except UnreadableImageError as error:
            if not keep_missing:
                raise
            expanded.append(Lost(make_object_id(name), name, error))
    return expanded


def _expand_one(path: str) -> Sequence[str]:
    elsewhere, inside = is_url(path), split_address(path)[0] != path or split_hdu(path)[1]
    if elsewhere:
        allow(path)
    elif os.path.lexists(path) or os.path.exists(split_address(path)[0]) or split_hdu(path)[1]:
        return [path]
    if SHARDS.search(path):
        return [found for shard in _list_shards(path) for found in _expand_one(shard)]
    has_glob = any(char in path for char in GLOB_CHARACTERS)
    if elsewhere and (is_web(path) or inside or not has_glob):
        return [path]
    if has_glob:
        listed = glob.glob(path, recursive=True) if not elsewhere else []  # noqa: PTH207 (strings)
        if found := sorted(list_urls(path, "glob") if elsewhere else listed):
            return found
        raise UnreadableImageError("no file matches this pattern", make_printable(path))
    if MEMBER_MARK in path and os.path.exists(path.partition(MEMBER_MARK)[0]):
        return [path]
    raise UnreadableImageError("there is no such file or folder", make_printable(path))


def _is_folder(path: str) -> bool:
    lowered = path.rstrip("/").lower()
    if lowered.endswith(FOLDER_SUFFIXES):
        return False
    if not is_url(path):
        return os.path.isdir(path)
    named = lowered.endswith(IMAGE_SUFFIXES) or is_container(path) or split_hdu(path)[1]
    return not named and not is_web(path)


def _list_shards(path: str) -> Iterator[str]:
    """Names of ``shard-{000..999}.tar``, of which one is tried after the other."""
    if (found := SHARDS.search(path)) is None:
        yield path
        return
    first, last = int(found[1]), int(found[2])
    for number in range(first, last + 1):
        text = f"{number:0{len(found[1])}}"
        yield from _list_shards(path[: found.start()] + text + path[found.end() :])


@dataclass(frozen=True, slots=True)
class _Walk:
    """How folders are searched, what was left out in them, and what is said of their files."""

    recursive: bool
    passed_over: Counter[str]
    within: str | None
    pattern: BandPattern | None
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    def group(self, files: Iterable[str]) -> Iterator[Source]:
        """The galaxies in files that belong together."""
        if self.pattern is not None:
            return self.pattern.group(files)
        return (ImageFile.of(path, self.metadata.get(path)) for path in files)


def _walk_arguments(arguments: list[str | Source], walk: _Walk) -> Iterator[Source]:
    # files of one galaxy may lie in many folders
    across = walk.pattern is not None and "/" in walk.pattern.pattern
    gathered: list[str] = []
    for item in _list_arguments(arguments, walk):
        if not isinstance(item, list):
            yield item
        elif across:
            gathered.extend(item)
        else:
            yield from walk.group(item)
    yield from walk.group(gathered)


def _list_arguments(arguments: list[str | Source], walk: _Walk) -> Iterator[list[str] | Source]:
    """Files that are grouped together, and what stands for itself."""
    for is_file, group in groupby(enumerate(arguments, 1), lambda pair: _is_file(pair[1])):
        if is_file:
            yield [str(path) for _, path in group]
            continue
        for number, path in group:
            if not isinstance(path, str):
                yield path
            elif _is_folder(path):
                yield from _walk_folder(path, walk)
            else:
                opened = _open_container(path, walk.within, alone=len(arguments) == 1)
                yield from _in_turn(opened, arguments[number : number + 1])


def _is_file(path: str | Source) -> bool:
    if not isinstance(path, str) or _is_folder(path) or is_container(path):
        return False
    return MEMBER_MARK not in path or os.path.lexists(path)


def _walk_folder(top: str, walk: _Walk) -> Iterator[list[str] | Source]:
    # A stack of our own, not recursion: folders may be deeper than Python's call stack.
    pending = [(top, frozenset[tuple[int, int]]())]
    while pending:
        folder, parents = pending.pop()
        try:
            status = None if is_url(folder) else os.stat(folder)
            identity = (status.st_dev, status.st_ino) if status else (0, hash(folder))
            if identity in parents:  # a symbolic link back to a parent
                continue
            files, shards, folders = _list_folder(folder, walk)
        except OSError as error:
            said = error.reason if isinstance(error, ImageError) else error.strerror
            lost = UnreadableImageError(f"the folder cannot be listed: {said}")
            yield Lost(make_object_id(folder), folder, lost)
            continue
        yield files
        for number, shard in enumerate(shards, 1):
            yield from _in_turn(_open_container(shard, walk.within), shards[number : number + 1])
        if walk.recursive:
            seen = parents | {identity}
            pending.extend((name, seen) for name in reversed(folders))


def _in_turn(opened: Iterator[Source], following: Sequence[str | Source]) -> Iterator[Source]:
    """What is in a container, while the next one is on its way."""
    waiting = [path for path in following if isinstance(path, str)]
    try:
        for source in opened:
            while waiting:
                expect_container(waiting.pop())
            yield source
    except GeneratorExit:
        forget()
        raise


def _list_folder(folder: str, walk: _Walk) -> tuple[list[str], list[str], list[str]]:
    files, shards, folders = [], [], []
    for path, is_folder in _scan(folder):
        lowered = path.rpartition("/")[2].lower()
        if lowered.startswith(".") or CACHE.fullmatch(lowered):
            continue
        if lowered.endswith(IMAGE_SUFFIXES) or path == folder:
            files.append(path)
        elif lowered.endswith(SEARCHED_SUFFIXES):
            shards.append(path)
        elif is_folder():
            folders.append(path)
        elif lowered == METADATA and (is_url(path) or os.path.isfile(path)):
            walk.metadata.update(read_metadata(path))
        else:
            walk.passed_over[os.path.splitext(lowered)[1] or "no suffix"] += 1
    return sorted(files), sorted(shards), sorted(folders)


def _scan(folder: str) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Paths in a folder, and how to ask whether each is one."""
    if is_url(folder):
        yield from ((url, partial(bool, is_folder)) for url, is_folder in list_folder(folder))
        return
    with os.scandir(folder) as entries:
        yield from ((entry.path, entry.is_dir) for entry in entries)


def _open_container(path: str, within: str | None, *, alone: bool = False) -> Iterator[Source]:
    """What is in it; of several, others go on where a library is missing for one."""
    count = 0
    try:
        with naming(path):
            for count, source in enumerate(list_container(path, within), 1):  # noqa: B007
                yield source
            if not count:
                raise UnsupportedImageError("it holds no image")
    except MissingExtraError as error:
        if alone:
            raise
        yield Lost(make_object_id(path), path, error)
    except ImageError as error:
        yield Lost(make_object_id(path), path, error)
    except Exception:  # a damaged file may raise nearly anything inside a library
        lost = UnreadableImageError(f"it is damaged, what may follow is lost; {NEW_COPY}")
        yield Lost(make_object_id(path), path, lost)
