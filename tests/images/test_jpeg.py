"""JPEG files by simplejpeg, and no more of them than will be seen: the bytes that Pillow gives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic import make_rgb

from galmorph.errors import UnreadableImageError
from galmorph.images.jpeg import decode_usual_jpeg, shorten_jpeg
from galmorph.images.raster import read_raster
from galmorph.images.read import read_cutout
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.settings import FieldOptions, ReadOptions

pytest.importorskip("simplejpeg", reason="the extra jpeg is not installed")

WHOLE = ReadOptions()


def pack(image: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def make_image(width: int = 97, height: int = 61) -> Image.Image:
    return Image.fromarray(make_rgb(max(width, height))[:height, :width])


def decode_with_pillow(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [50, 90, 100])
@pytest.mark.parametrize("size", [(97, 61), (64, 64), (1, 1), (424, 424)])
def test_same_bytes_as_pillow(
    size: tuple[int, int], quality: int, subsampling: str, progressive: bool
) -> None:
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    data = pack(make_image(*size), **options)
    found = decode_usual_jpeg(data, WHOLE)
    assert found is not None
    np.testing.assert_array_equal(found, decode_with_pillow(data))


@pytest.mark.parametrize(
    "data",
    [
        pack(make_image().convert("L")),
        pack(make_image().convert("CMYK")),
        pack(make_image(), keep_rgb=True),
        pack(make_image())[:-200],
        pack(make_image())[:40],
        b"\xff\xd8\xff\xe0nothing",
        b"",
    ],
    ids=["grey", "CMYK", "stored as RGB", "cut short", "header alone", "no JPEG", "nothing"],
)
def test_left_to_pillow(data: bytes) -> None:
    assert decode_usual_jpeg(data, WHOLE) is None


def test_left_to_pillow_where_it_may_be_reduced() -> None:
    data = pack(make_image(200, 300))
    assert decode_usual_jpeg(data, ReadOptions(min_side=100)) is None
    assert decode_usual_jpeg(data, ReadOptions(min_side=101)) is not None


def test_never_larger_than_allowed() -> None:
    data = pack(make_image(64, 64))
    assert decode_usual_jpeg(data, ReadOptions(max_pixels=3 * 64 * 64 - 1)) is None
    assert decode_usual_jpeg(data, ReadOptions(max_pixels=3 * 64 * 64)) is not None


def test_exif_orientation_is_ignored_here_as_well() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    data = pack(make_image(), exif=exif)
    found = decode_usual_jpeg(data, WHOLE)
    np.testing.assert_array_equal(found, decode_with_pillow(data))


@pytest.mark.parametrize("cut", [200, 1000])
def test_same_words_for_a_file_that_is_cut_short(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(make_image())[:-cut]
    said = []
    for library in ("simplejpeg", "Pillow"):
        if library == "Pillow":
            monkeypatch.setattr("galmorph.images.jpeg._import_simplejpeg", lambda: None)
        with pytest.raises(UnreadableImageError) as caught:
            read_raster(data, "JPEG", WHOLE)
        said.append(str(caught.value))
    assert said[0] == said[1]


PART = ReadOptions(seen=0.4)


@pytest.fixture(params=["simplejpeg", "Pillow"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Pillow":
        monkeypatch.setattr("galmorph.images.jpeg._import_simplejpeg", lambda: None)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", [(97, 161), (424, 424), (300, 200), (201, 203)])
def test_rows_below_the_field_are_left_out(
    size: tuple[int, int], subsampling: str, restart: int
) -> None:
    width, height = size
    data = pack(make_image(*size), subsampling=subsampling, restart_marker_rows=restart)
    cutout = read_raster(data, "JPEG", options=PART)
    assert cutout.frame == (height, width)
    rows = cutout.array.shape[1]
    assert (height + 0.4 * min(size)) / 2 <= rows - 2 and rows < height
    np.testing.assert_array_equal(cutout.array[:, :-2], decode_with_pillow(data)[:, : rows - 2])


def spoil_end(data: bytes) -> bytes:
    return data[:-200] + bytes(200)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("data", "options"),
    [
        (pack(make_image(200, 200), progressive=True), PART),
        (pack(make_image(200, 200)), ReadOptions(seen=0.9)),
        (pack(make_image(200, 200)), ReadOptions(seen=1.5)),
        (pack(make_image(200, 200)), WHOLE),
        (pack(make_image(40, 40)), PART),
        (pack(make_image(200, 200)) + b"\0", PART),
    ],
    ids=["progressive", "nearly all", "beyond the frame", "not told", "small", "more after it"],
)
def test_whole_files_where_nothing_can_be_left_out(data: bytes, options: ReadOptions) -> None:
    cutout = read_raster(data, "JPEG", options=options)
    assert cutout.frame is None
    np.testing.assert_array_equal(cutout.array, decode_with_pillow(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        pack(make_image(200, 200))[:-100] + b"\xff\xd9"[:1],
        pack(make_image(200, 200))[:30] + b"\xff\xd9",
        spoil_end(pack(make_image(200, 200))),
        b"\xff\xd8" + 50 * b"\xff" + b"\xff\xd9",
        b"\xff\xd8" + 50 * b"\xff\xe0\x00\x00" + b"\xff\xd9",
    ],
    ids=["nothing", "empty", "cut short", "header alone", "zeros", "fill bytes", "no lengths"],
)
def test_strange_files_are_not_shortened(data: bytes) -> None:
    assert shorten_jpeg(data, PART) is None


def test_a_large_file_is_reduced_and_not_shortened() -> None:
    data = pack(make_image(200, 300))
    assert shorten_jpeg(data, ReadOptions(seen=0.4, min_side=100)) is None
    assert shorten_jpeg(data, ReadOptions(seen=0.4, min_side=101)) is not None
    assert shorten_jpeg(data, ReadOptions(seen=0.4, max_pixels=3 * 200 * 300 - 1)) is None


def test_grey_files_are_shortened_too() -> None:
    data = pack(make_image(200, 200).convert("L"))
    cutout = read_raster(data, "JPEG", options=PART)
    whole = read_raster(data, "JPEG", options=WHOLE)
    assert cutout.frame == (200, 200) and whole.frame is None
    np.testing.assert_array_equal(cutout.array[:, :-2], whole.array[:, : cutout.array.shape[1] - 2])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("cut", [200, 1000, 4000])
def test_same_words_for_a_file_of_which_the_end_is_not_needed(cut: int) -> None:
    data = pack(make_image(400, 400), quality=95)[:-cut]
    said = []
    for options in (PART, WHOLE):
        with pytest.raises(UnreadableImageError) as caught:
            read_raster(data, "JPEG", options)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.usefixtures("library")
@pytest.mark.realdata
def test_same_field_of_survey_images(realdata: Path) -> None:
    steps = Preprocessing()
    options = steps.tell_reader(WHOLE, FieldOptions())
    shortened = 0
    for folder in ("gz2/test", "sdss/test", "decals"):
        for path in sorted((realdata / folder).rglob("*.jpg"))[::20]:
            part, whole = read_cutout(path, options=options), read_cutout(path)
            shortened += part.frame is not None
            seen, expected = steps.prepare(part), steps.prepare(whole)
            np.testing.assert_array_equal(seen.pixels, expected.pixels)
            assert (seen.crop, seen.flags) == (expected.crop, expected.flags)
    assert shortened > 200


@pytest.mark.realdata
def test_same_bytes_of_survey_images(realdata: Path) -> None:
    files = sorted((realdata / "gz2" / "test").rglob("*.jpg"))[::30]
    files += sorted((realdata / "sdss" / "test").rglob("*.jpg"))[::30]
    assert len(files) > 100
    for path in files:
        data = path.read_bytes()
        found = decode_usual_jpeg(data, WHOLE)
        assert found is not None
        np.testing.assert_array_equal(found, decode_with_pillow(data))
