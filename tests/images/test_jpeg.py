"""JPEG files by simplejpeg: the bytes that Pillow gives, or left to Pillow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic import make_rgb

from galmorph.errors import UnreadableImageError
from galmorph.images.jpeg import decode_usual_jpeg
from galmorph.images.options import ReadOptions
from galmorph.images.raster import read_raster

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
            read_raster(data, "JPEG", options=WHOLE, path="a.jpg")
        said.append(str(caught.value))
    assert said[0] == said[1]


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
