from __future__ import annotations

import io
import pickle
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from inference_model import CLASSES, make_model
from PIL import Image
from synthetic import make_flux, make_rgb, write_fits

import galmorph
from galmorph.errors import (
    AmbiguousShapeError,
    GalmorphError,
    GalmorphWarning,
    UnknownModelError,
)
from galmorph.model import write_model
from galmorph.settings import PixelOptions, ReadOptions

CPU = {"device": "cpu", "precision": "float32", "workers": 1}


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        Image.fromarray(make_rgb(100, seed=number)).save(tmp_path / f"g{number}.png")
    (tmp_path / "g1.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return tmp_path


def forms():
    """One and the same image in every form in which it can be given."""
    from astropy.io import fits
    from astropy.nddata import CCDData, NDData

    rgb = make_rgb(100)
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    torch = pytest.importorskip("torch")
    up = planes[:, ::-1].astype(np.float32) / 255  # FITS counts rows from the bottom
    card = fits.Header({"BANDS": "RGB"})
    return {
        "array (y, x, 3)": rgb,
        "array (3, y, x)": planes,
        "stack": rgb[None],
        "list": [rgb],
        "floats": rgb / 255,
        "big-endian floats": (rgb / 255).astype(">f8"),
        "tensor": torch.from_numpy(planes.copy()),
        "PIL": Image.fromarray(rgb),
        "bytes": buffer.getvalue(),
        "file object": io.BytesIO(buffer.getvalue()),
        "generator": (item for item in [rgb]),
        "cutout": galmorph.Cutout(planes),
        "HDU": fits.PrimaryHDU(up, card),
        "HDUList": fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(up, card)]),
        "NDData": NDData(up, meta=dict(card)),
        "CCDData": CCDData(up, unit="adu", meta=card),
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_of_an_image_gives_the_same(model, form):
    expected = galmorph.embed(make_rgb(100), model=model, **CPU)
    found = galmorph.embed(forms()[form], model=model, **CPU)
    assert found.shape == (1, 512)
    assert found.dtype == np.float32
    # Floats are not rounded on the way to the network's size, bytes are.
    cosine = (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.9999


def test_paths_folders_and_globs_come_in_order(model, folder):
    settings = {"model": model, **CPU}
    with pytest.warns(GalmorphWarning, match=r"1 of 3 cutouts .* g1: .*g1\.png"):
        galmorph.embed(folder, **settings)
    warnings.simplefilter("ignore", GalmorphWarning)
    by_folder = galmorph.embed(folder, **settings)
    by_glob = galmorph.embed(str(folder / "*.png"), **settings)
    by_list = galmorph.embed([folder / f"g{n}.png" for n in range(3)], **settings)
    by_iterator = galmorph.embed(iter(sorted(folder.iterdir())), **settings)
    for found in (by_glob, by_list, by_iterator):
        np.testing.assert_array_equal(found, by_folder)
    assert np.isnan(by_folder[1]).all()
    assert np.isfinite(by_folder[[0, 2]]).all()


def test_what_fails_is_flagged_unless_it_is_to_raise(model, folder):
    with pytest.raises(OSError, match=r"g1\.png"):
        galmorph.embed(folder, model=model, on_error="raise", **CPU)
    table = galmorph.classify(folder, head="test", model=model, **CPU)
    assert list(table["object_id"]) == ["g0", "g1", "g2"]
    assert table["label"][1] == ""
    assert galmorph.decode_flags(table["flags"][1]) == ["read_failed"]
    with pytest.raises(GalmorphError, match=r"g1\.png"):
        galmorph.classify(folder, head="test", model=model, on_error="raise", **CPU)


def test_probabilities_are_those_of_the_head(model):
    image = make_rgb(100, seed=4)
    table = galmorph.classify(image, head="test", model=model, **CPU)
    embedding = galmorph.embed(image, model=model, **CPU)
    head = model.heads["test"]
    logits = (embedding @ head.weight.T + head.bias) / head.temperature
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    found = np.array([table[f"p_{name}"][0] for name in CLASSES])
    np.testing.assert_allclose(found, expected[0], atol=1e-6)
    assert table["label"][0] == CLASSES[int(found.argmax())]


def test_nothing_in_gives_an_empty_result(model):
    assert galmorph.embed([], model=model, **CPU).shape == (0, 512)
    table = galmorph.classify(iter([]), head="test", model=model, **CPU)
    assert len(table) == 0
    assert "p_spiral" in table.colnames


def test_a_model_may_be_given_by_its_path(model, tmp_path):
    path = tmp_path / "m.safetensors"
    write_model(path, model)
    image = make_rgb(100)
    np.testing.assert_allclose(
        galmorph.embed(image, model=path, **CPU),
        galmorph.embed(image, model=model, **CPU),
        atol=1e-6,
    )
    assert galmorph.load_model(path) is galmorph.load_model(path)  # read once
    assert len(galmorph.load_model(path).provenance["sha256"]) == 64


def test_provenance_and_units_are_in_the_table(model):
    table = galmorph.classify(make_rgb(100), head="test", model=model, crop=0.5, **CPU)
    assert table.meta["model"] == model.name
    assert table.meta["field"]["crop"] == 0.5
    flux = make_flux(side=100) * 10
    options = {"bands": ("g", "r", "z"), "pixel_scale": 0.3, "stretch": "lupton"}
    table = galmorph.classify(flux, head="test", model=model, **options, **CPU)
    assert table.meta["reading"]["bands"] == ["g", "r", "z"]
    assert table.meta["reading"]["pixel_scale"] == 0.3
    assert str(table["ra"].unit) == "deg"


def test_flux_needs_bands_and_takes_them(model, tmp_path):
    flux = make_flux(side=100) * 10
    with pytest.raises(ValueError, match='bands="g,r,z"'):
        galmorph.embed(flux, model=model, on_error="raise", **CPU)
    with pytest.warns(GalmorphWarning, match='bands="g,r,z"'):
        galmorph.embed(flux, model=model, **CPU)
    found = galmorph.embed(flux, model=model, bands=("g", "r", "z"), stretch="lupton", **CPU)
    path = write_fits(tmp_path / "f.fits", flux, BANDS="grz")
    expected = galmorph.embed(path, model=model, stretch="lupton", **CPU)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for bands in ("grz", "g,r,z", ["g", "r", "z"], np.array(["g", "r", "z"])):
        same = galmorph.embed(flux, model=model, bands=bands, stretch="lupton", **CPU)
        np.testing.assert_array_equal(same, found)


def test_angles_may_be_of_astropy(model, tmp_path):
    from astropy import units
    from astropy.coordinates import SkyCoord

    path = write_fits(tmp_path / "f.fits", make_flux(side=100), BANDS="grz")
    expected = galmorph.embed(path, model=model, center=(150.1, 2.2), fov=15, **CPU)
    sky = SkyCoord(150.1, 2.2, unit="deg")
    found = galmorph.embed(path, model=model, center=sky, fov=0.25 * units.arcmin, **CPU)
    np.testing.assert_array_equal(found, expected)
    auto = galmorph.embed(path, model=model, center=sky, fov=15, crop="auto", **CPU)
    assert np.isfinite(auto).all() and not np.allclose(auto, expected)
    one = SkyCoord([150.1], [2.2], unit="deg")
    array = [150.1, 2.2] * units.deg
    for same in (sky.galactic, [sky.ra, sky.dec], (sky.ra.to("rad"), 2.2), one, array):
        assert PixelOptions(center=same).center == pytest.approx((150.1, 2.2))
    image = make_rgb(100)
    expected = galmorph.embed(image, model=model, pixel_scale=0.5, fov=30, **CPU)
    for scale in (0.5 * units.arcsec, 0.5 * units.arcsec / units.pix):
        found = galmorph.embed(image, model=model, pixel_scale=scale, fov=30, **CPU)
        np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_meant_is_refused(model):
    from astropy import units

    with pytest.raises(AmbiguousShapeError, match="band axis"):
        galmorph.embed(np.zeros((3, 50, 3)), model=model, on_error="raise", **CPU)
    with pytest.raises(TypeError, match="no option 'strech'; 'stretch' is one"):
        galmorph.embed(make_rgb(50), model=model, strech="asinh", **CPU)
    with pytest.raises(ValueError, match="on_error"):
        galmorph.embed(make_rgb(50), model=model, on_error="ignore", **CPU)
    with pytest.raises(ValueError, match="crop"):
        galmorph.embed(make_rgb(50), model=model, crop=0.5, fov=10, **CPU)
    assert ReadOptions(center=np.array([150.1, 2.2])).center == (150.1, 2.2)
    assert ReadOptions(pixel_scale=np.array(0.4), fov=np.float32(3)).fov == 3
    for wrong in ("0.4", -1, 0.4 * units.m, [0.4, 0.4] * units.arcsec):
        with pytest.raises(ValueError, match="pixel_scale"):
            galmorph.embed(make_rgb(50), model=model, pixel_scale=wrong, **CPU)
    for wrong in ((10,), 10, 10 * units.deg, ("10", "20"), (10 * units.kg, 20)):
        with pytest.raises(ValueError, match="center is"):
            galmorph.embed(make_rgb(50), model=model, center=wrong, **CPU)
    for wrong in (2.5, "2", 0):
        with pytest.raises(ValueError, match="batch_size must be a whole number"):
            galmorph.embed(make_rgb(50), model=model, device="cpu", batch_size=wrong)
    with pytest.raises(KeyError, match="no head 'gz9'"):
        galmorph.classify(make_rgb(50), head="gz9", model=model, **CPU)
    with pytest.raises(UnknownModelError, match="no model 'resnet'"):
        galmorph.load_model("resnet")


def test_an_iterator_is_consumed_lazily(model):
    alive = []

    def images():
        for number in range(200):
            alive.append(number)
            yield make_rgb(90, seed=number % 3)

    seen = []
    galmorph.embed(
        images(), model=model, batch_size=8, progress=lambda n: seen.append((n, len(alive))), **CPU
    )
    assert seen[-1] == (200, 200)
    first_done, first_taken = seen[0]
    assert first_done == 8
    assert first_taken <= 8 * 5


def test_threads_share_a_model(model):
    image = make_rgb(100)
    expected = galmorph.embed(image, model=model, **CPU)
    found = [None] * 4

    def work(place):
        found[place] = galmorph.embed([image] * 5, model=model, **CPU)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in found:
        np.testing.assert_allclose(result, np.repeat(expected, 5, axis=0), atol=1e-5)


def test_a_model_can_be_pickled(model):
    copy = pickle.loads(pickle.dumps(model))
    image = make_rgb(100)
    np.testing.assert_array_equal(
        galmorph.embed(image, model=copy, **CPU), galmorph.embed(image, model=model, **CPU)
    )


def test_read_cutout_is_public(tmp_path):
    path = write_fits(tmp_path / "f.fits", make_flux(side=40), BANDS="grz")
    cutout = galmorph.read_cutout(Path(path))
    assert cutout.bands == ("g", "r", "z")
    assert cutout.array.shape == (3, 40, 40)


def test_the_default_model_is_listed_first():
    names = galmorph.list_models()
    assert len(names) == len(set(names)) > 0
    from galmorph.weights.manifest import load_manifest

    if load_manifest().default_model is not None:
        assert names[0] == load_manifest().default_model


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "vot", "parquet", "hdf5"])
@pytest.mark.filterwarnings("ignore")  # astropy says at length what FITS cannot hold
def test_astropy_writes_the_table(model, folder, tmp_path, suffix):
    from astropy.table import Table, vstack

    if suffix == "parquet":
        pytest.importorskip("pandas", reason="astropy reads and writes Parquet with pandas")
    table = galmorph.classify(folder, model=model, head="test", **CPU)
    path = tmp_path / f"out.{suffix}"
    options = {"format": "votable"} if suffix == "vot" else {}
    options |= {"path": "t", "serialize_meta": True} if suffix == "hdf5" else {}
    vstack([table, table]).write(path, **options)
    read = Table.read(path, **({"path": "t"} if suffix == "hdf5" else {}))
    assert len(read) == 6
    np.testing.assert_array_equal(read["p_round"], np.tile(table["p_round"], 2))


def test_parquet_has_no_null_text_which_astropy_cannot_read(model, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    from galmorph.tables import write_table

    table = galmorph.classify(folder, model=model, head="test", **CPU)
    write_table(table, tmp_path / "out.parquet")
    read = parquet.read_table(tmp_path / "out.parquet")
    for name in ("object_id", "path", "label", "treatment", "message"):
        assert read[name].null_count == 0
        assert read[name].to_pylist() == list(table[name])
    assert "" in read["message"].to_pylist()


def test_reading_one_cutout_speaks_of_keywords(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(3, 32, 32)))
    with pytest.raises(GalmorphError, match=r'as in bands="g,r,z"'):
        galmorph.read_cutout(np.load(tmp_path / "a.npy"))
