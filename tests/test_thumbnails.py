"""Images of a result, shown again: from files, containers and mosaics."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from galmorph.images.source import Lost
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.tables.provenance import flatten_meta
from galmorph.thumbnails import Pictures, to_data_uri

RUN = {
    "preprocessing": {"img_size": 84, "crop": 0.5},
    "field": {"crop": None, "fov": None},
    "rendering": {"stretch": "auto", "zeropoint": None},
    "reading": {"max_pixels": 27_000_000},
}


def row(path: object, **more: object) -> dict[str, object]:
    return {"object_id": Path(str(path)).stem, "path": str(path), **more}


@pytest.fixture
def picture() -> Image.Image:
    ramp = np.linspace(0, 250, 168).astype(np.uint8)
    return Image.fromarray(np.stack([np.tile(ramp, (168, 1))] * 3, axis=-1))


def test_the_whole_and_what_the_network_was_given(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.png")
    pictures = Pictures.of(RUN)
    (source,) = pictures.find([row(tmp_path / "a.png")])
    cutout = pictures.open(source)
    assert pictures.show_whole(cutout, 100).size == (100, 100)
    seen = np.asarray(pictures.show_seen(cutout))
    expected = np.asarray(picture)[42:126, 42:126]
    np.testing.assert_allclose(seen.astype(int), expected, atol=1)


def test_settings_survive_flat_provenance() -> None:
    preprocessing = Preprocessing(img_size=60, crop=0.3, mean=(0.1, 0.2, 0.3))
    meta = {"preprocessing": preprocessing.to_dict(), "rendering": {"zeropoint": None}}
    assert Pictures.of(flatten_meta(meta)) == Pictures.of(meta)
    assert Pictures.of(meta).preprocessing == preprocessing


def test_flat_provenance_says_the_same() -> None:
    flat = {"preprocessing.crop": 0.5, "preprocessing.mean": "[0.1, 0.2, 0.3]", "field.crop": "",
            "reading.bands": '["g", "r", "z"]'}  # fmt: skip
    pictures = Pictures.of(flat)
    assert pictures.preprocessing.mean == (0.1, 0.2, 0.3)
    assert pictures.preprocessing.crop == 0.5
    assert pictures.read.bands == ("g", "r", "z")
    assert pictures.field.crop is None


def test_members_of_containers_are_found(tmp_path: Path, picture: Image.Image) -> None:
    np.save(tmp_path / "stack.npy", np.stack([np.full((20, 20, 3), n, np.uint8) for n in range(4)]))
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.png", "b.png"):
            buffer = io.BytesIO()
            picture.rotate(90 if name == "b.png" else 0).save(buffer, "PNG")
            member = tarfile.TarInfo(name)
            member.size = buffer.tell()
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
    paths = [f"{tmp_path}/s.tar::b.png", f"{tmp_path}/stack.npy[3]", f"{tmp_path}/s.tar::a.png"]
    pictures = Pictures.of(RUN)
    found = pictures.find([row(path) for path in paths])
    assert [source.address for source in found] == paths
    turned, three, plain = (pictures.open(source).array for source in found)
    assert (three == 3).all()
    np.testing.assert_array_equal(np.rot90(plain[0]), turned[0])


def test_what_has_moved_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", np.zeros((2, 20, 20, 3), np.uint8))
    paths = [f"{tmp_path}/gone.jpg", f"{tmp_path}/stack.npy[7]", f"{tmp_path}/gone.tar::a.jpg"]
    pictures = Pictures.of(RUN)
    for path, source in zip(paths, pictures.find(map(row, paths)), strict=True):
        with pytest.raises(OSError, match="o such file|no longer there"):
            pictures.open(source)
        assert source.address == path
    assert isinstance(source, Lost)


def test_positions_of_a_mosaic(tmp_path: Path) -> None:
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0}
    cards |= {"CRPIX1": 50.5, "CRPIX2": 50.5, "CD1_1": -1e-4, "CD2_2": 1e-4}
    cards |= {"CD1_2": 0.0, "CD2_1": 0.0}
    sky = np.zeros((100, 100), np.float32)
    sky[40:60, 40:60] = 5
    mosaic = tmp_path / "m.fits"
    fits.PrimaryHDU(sky, fits.Header(cards)).writeto(mosaic)
    pictures = Pictures.of({**RUN, "inputs": {"mosaic": [str(mosaic)], "fov": 7.2}})
    (source,) = pictures.find([row(mosaic, ra=10.0, dec=20.0)])
    assert (pictures.open(source).array == 5).all()


def test_several_files_of_one_galaxy(tmp_path: Path) -> None:
    for number, band in enumerate("grz"):
        fits.PrimaryHDU(np.full((20, 20), number, np.float32)).writeto(tmp_path / f"x_{band}.fits")
    inputs = {"paths": [str(tmp_path)], "bands_from_name": "{id}_{band}.fits"}
    pictures = Pictures.of({**RUN, "inputs": inputs})
    here, lost = pictures.find([row(tmp_path / "x_g.fits"), row(tmp_path / "y_g.fits")])
    assert pictures.open(here).array.shape == (3, 20, 20)
    assert isinstance(lost, Lost)


def test_a_picture_is_an_address(picture: Image.Image) -> None:
    address = to_data_uri(picture)
    assert address.startswith("data:image/jpeg;base64,")
    again = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert again.size == picture.size
