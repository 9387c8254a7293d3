"""The one door: hostile files, bounded memory, clear errors."""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import random
import tarfile
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutants import make_seeds, mutate
from synthetic import make_flux, make_header, write_fits, write_jpeg

from galmorph.errors import (
    AmbiguousShapeError,
    BandError,
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.compressed import decompress
from galmorph.images.cutout import Cutout
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.library import quiet
from galmorph.images.memory import InMemory
from galmorph.images.read import read_cutout
from galmorph.images.source import Lost
from galmorph.settings import ReadOptions

ALLOWED = (ImageError, BandError, AmbiguousShapeError, MissingExtraError)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", UnreadableImageError, "the file is empty"),
        (b"hello, world", UnreadableImageError, "not an image: its bytes are none of JPEG"),
        (b"GIF89a" + bytes(50), UnsupportedImageError, "this is a GIF"),
        (b"PK\x03\x04" + bytes(50), UnsupportedImageError, r"it must be named \*\.zip, or \*\.npz"),
        (b"\x89HDF\r\n\x1a\n", UnsupportedImageError, r"as in file\.h5::images"),
        (b"\xff\xd8\xff\xe0nothing", UnreadableImageError, "the JPEG is damaged"),
        (b"SIMPLE  = nonsense", UnreadableImageError, "no END card"),
        (b"\x1f\x8bnot gzip at all", UnreadableImageError, "the gzip stream is damaged"),
        (b"BZh9nothing", UnreadableImageError, "the bzip2 stream is"),
        (b"#ASDF 1.0.0\n", UnsupportedImageError, r"ASDF file; it must be named \*\.asdf"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", UnsupportedImageError, "JPEG 2000"),
        (b"version https://git-lfs.github.com/spec/v1\n", UnsupportedImageError, "git lfs pull"),
        (
            b"\n<!DOCTYPE html><html><title>500 Internal Server Error</title></html>",
            UnsupportedImageError,
            r"a web page \(500 Internal Server Error\); download the file again",
        ),
        (b"<html><title>my secrets</title>", UnsupportedImageError, "a web page; download"),
        (b"\xef\xbb\xbf<html>", UnsupportedImageError, "a web page; download"),
        (b"<!-- from a cache -->\n<html>", UnsupportedImageError, "a web page; download"),
        (b"<head><title>403 Forbidden</title>", UnsupportedImageError, r"page \(403 Forbidden\)"),
        (b"Error: no such position\n", UnreadableImageError, "it is a text: the answer"),
        (bytes(5000), UnreadableImageError, "it holds zeros alone"),
        (b'{"error": "no such field"}', UnsupportedImageError, "a text in XML or JSON: an error"),
        (b'<?xml version="1.0"?><VOTABLE>', UnsupportedImageError, "a text in XML or JSON"),
        (b"\0\0\0\x18ftypheic" + bytes(50), UnsupportedImageError, "a HEIC or AVIF image"),
        (b"/annex/objects/SHA256E-s1--0.jpg\n", UnsupportedImageError, "git annex get"),
    ],
)
def test_files_that_are_no_images(
    tmp_path: Path, data: bytes, error: type[Exception], message: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(error, match=rf"a\.jpg: .*{message}"):
        read_cutout(tmp_path / "a.jpg")
    if data:
        with pytest.raises(error, match=message):
            read_cutout(data)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"none\.jpg: there is no such file"):
        read_cutout(tmp_path / "none.jpg")
    with pytest.raises(UnreadableImageError, match="no file is named here"):
        read_cutout(ImageFile("a", ""))  # an empty cell of a catalogue
    with pytest.raises(OSError, match="no such file"):  # also a builtin
        read_cutout(tmp_path / "none.jpg")


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="this is a folder"):
        read_cutout(tmp_path)


def test_null_byte_in_the_name() -> None:
    with pytest.raises(UnreadableImageError, match=r"a\\x00b: the file cannot be opened"):
        read_cutout("a\0b")


def test_name_that_is_too_long() -> None:
    with pytest.raises(UnreadableImageError, match="the file cannot be opened"):
        read_cutout("x" * 5000 + ".jpg")


def test_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnsupportedImageError, match="not a regular file"):
        read_cutout(tmp_path / "pipe.jpg")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jpeg(tmp_path / "a.jpg")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("galmorph.images.files.os.open", refuse)
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: this file may not be read"):
        read_cutout(tmp_path / "a.jpg")


def test_gzip_bomb_is_stopped_at_the_bound(tmp_path: Path) -> None:
    packer_input = bytes(1 << 20)
    with gzip.open(tmp_path / "bomb.fits.gz", "wb", compresslevel=9) as file:
        for _ in range(64):
            file.write(packer_input)
    options = ReadOptions(max_pixels=10_000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLargeError, match="bytes when decompressed"):
            read_cutout(tmp_path / "bomb.fits.gz", options=options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * options.max_bytes


def test_gzip_inside_gzip_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(gzip.compress(b"x" * 100)))
    with pytest.raises(UnreadableImageError, match="not an image"):
        read_cutout(tmp_path / "a.gz")


def test_concatenated_and_truncated_gzip() -> None:
    data = gzip.compress(b"abc") + gzip.compress(b"def")
    assert decompress(data, "gzip", limit=100) == b"abcdef"
    assert decompress(data + bytes(10), "gzip", limit=100) == b"abcdef"
    with pytest.raises(UnreadableImageError, match="the gzip stream is cut short"):
        decompress(data[:-4], "gzip", limit=100)
    with pytest.raises(ImageTooLargeError, match="more than 5 bytes"):
        decompress(data, "gzip", limit=5)


def test_errors_of_sources_are_raised_when_read() -> None:
    error = UnreadableImageError("lost", "x.tar")
    with pytest.raises(UnreadableImageError, match=r"x\.tar: lost"):
        read_cutout(Lost("x", "x.tar", error))


def test_cutouts_and_errors_are_picklable(tmp_path: Path) -> None:
    cutout = read_cutout(write_fits(tmp_path / "a.fits", make_flux(), BANDS="grz"))
    again = pickle.loads(pickle.dumps(cutout))
    np.testing.assert_array_equal(again.array, cutout.array)
    assert again.notes == cutout.notes
    with pytest.raises(ImageError) as caught:
        read_cutout(tmp_path / "none")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_warnings_do_not_leak(tmp_path: Path) -> None:
    header = make_header(RADECSYS="ICRS", OBSGEO="odd")
    path = tmp_path / "a.fits"
    from astropy.io import fits

    fits.PrimaryHDU(make_flux()[0], header).writeto(path)
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_cutout(path)
    assert caught == []
    assert list(warnings.filters) == before


def test_quiet_restores_filters_when_threads_overlap() -> None:
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with quiet():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=stay)
    with quiet():
        thread.start()
        inside.wait(5)
    assert list(warnings.filters) != before  # the other one is still inside
    leave.set()
    thread.join()
    assert list(warnings.filters) == before


def test_fits_in_many_threads(tmp_path: Path) -> None:
    flux = make_flux()
    paths = [write_fits(tmp_path / f"{n}.fits", flux + n, BANDS="grz") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        cutouts = list(pool.map(read_cutout, paths * 10))
    for n, cutout in enumerate(cutouts):
        np.testing.assert_array_equal(cutout.array, flux + n % 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_pixels": 0}, "max_pixels must be a whole number of at least 1"),
        ({"min_side": 0}, "min_side must be a whole number of at least 1"),
        ({"seen": 0.0}, "seen must be positive"),
        ({"fov": -1.0}, "fov must be a positive number"),
        ({"bands": "ggz"}, "bands is not a list of different names"),
        ({"bands": ("g", "g")}, "bands is not a list of different names"),
        ({"center": (0.0, 95.0)}, "not within -90 to 90"),
        ({"center": (float("nan"), 5.0)}, "the right ascension is nan"),
    ],
)
def test_options_check_themselves(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReadOptions(**values)  # type: ignore[arg-type]


SEEDS = make_seeds()


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_are_readable(name: str) -> None:
    options = ReadOptions(bands=("g", "r", "z")) if "unnamed" in name else ReadOptions()
    assert read_cutout(SEEDS[name], options=options).array.size > 0


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_give_a_cutout_or_a_clear_error(name: str) -> None:
    rng = random.Random(name)
    for _ in range(25):
        check_mutant(mutate(SEEDS[name], rng))


def check_mutant(data: bytes) -> None:
    start = time.perf_counter()
    with contextlib.suppress(*ALLOWED):
        cutout = read_cutout(data)
        assert isinstance(cutout, Cutout)
        assert cutout.array.ndim == 3 and cutout.array.size > 0
    assert time.perf_counter() - start < 5


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(
    st.sampled_from(sorted(SEEDS)),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
    st.floats(0.3, 1),
)
def test_hypothesis_finds_no_way_through(
    name: str, patches: list[tuple[float, bytes]], keep: float
) -> None:
    data = bytearray(SEEDS[name])
    for place, patch in patches:
        start = int(place * max(0, len(data) - len(patch)))
        data[start : start + len(patch)] = patch
    check_mutant(bytes(data[: int(keep * len(data))]))


@pytest.mark.parametrize(
    ("bands", "names"),
    [("i", ("i",)), ("grz", ("g", "r", "z")), ("g, r", ("g", "r")), ("F814W", ("F814W",))],
)
def test_bands_may_stand_in_one_string(bands: str, names: tuple[str, ...]) -> None:
    assert ReadOptions(bands=bands).bands == names


@pytest.mark.parametrize("name", ["a.csv", "a.XML", "a.jpg"])
def test_a_table_in_place_of_an_image(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("path,ra,dec\na.jpg,1,2\n")
    with pytest.raises(
        UnreadableImageError, match="it is a text: .*--catalogue FILE --path-column"
    ):
        read_cutout(tmp_path / name)


def test_the_first_bytes_of_every_kind_without_reading_it(tmp_path: Path) -> None:
    jpeg = write_jpeg(tmp_path / "a.jpg").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "a.jpg")
    np.save(tmp_path / "a.npy", np.zeros((2, 9, 9), dtype=np.uint8))
    os.mkfifo(tmp_path / "pipe.jpg")
    starts = {"a.jpg": jpeg, "a.tar": jpeg, "a.npy": b"\x93NUMPY", "pipe.jpg": b""}
    for name, start in starts.items():
        assert next(discover_sources(tmp_path / name)).read_head(6) == start[:6]
    assert InMemory("a", jpeg).read_head(6) == jpeg[:6]
    assert ImageFile("a", str(tmp_path / "none.jpg")).read_head(6) == b""
