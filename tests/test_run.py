"""Python can all that the command line can."""

from __future__ import annotations

import inspect
import re
import warnings

import numpy as np
import pytest
from astropy.table import Table
from inference_model import make_model
from PIL import Image
from synthetic import make_flux, make_header, make_rgb, write_fits

import galmorph
from galmorph import settings
from galmorph.errors import GalmorphWarning, OptionError, ResumeError
from galmorph.inference import engine
from galmorph.tables.journal import partial_path

CPU = {"device": "cpu", "precision": "float32", "workers": 1}


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(5):
        Image.fromarray(make_rgb(100, seed=number)).save(tmp_path / "images" / f"g{number}.png")
    return tmp_path / "images"


def test_a_catalogue_is_carried(model, folder):
    (folder / "cat.csv").write_text("name,file,z\nNGC 1,g0.png,0.1\nNGC 2,none.png,0.2\n")
    options = {"path_column": "file", "id_column": "name", **CPU}
    table = model.classify(catalogue=folder / "cat.csv", head="test", **options)
    assert list(table["object_id"]) == ["NGC 1", "NGC 2"]
    assert list(table["z"]) == [0.1, 0.2]
    assert table["message"][1]
    with pytest.warns(GalmorphWarning, match=r"1 of 2 cutouts .*: NGC 2: .*none\.png"):
        assert model.embed(catalogue=str(folder / "cat.csv"), **options).shape == (2, 512)


def test_mosaics_of_several_bands_name_them_by_themselves(model, tmp_path):
    paths = []
    for band, plane in zip("grz", make_flux(side=120), strict=True):
        paths.append(write_fits(tmp_path / f"{band}.fits", plane, FILTER=band))
    catalogue = tmp_path / "c.csv"
    catalogue.write_text("object_id,ra,dec\na,150.1,2.2\n")
    options = {"mosaic": paths, "catalogue": str(catalogue), "fov": 20.0}
    result = model.classify(**options, head="test", stretch="legacysurvey", **CPU)
    assert "bands=g,r,z" in result["treatment"][0], result["treatment"]
    result = model.classify(**options, bands=("r", "g", "z"), head="test", stretch="lupton", **CPU)
    assert "bands=g,r,z" in result["treatment"][0], result["treatment"]


def test_positions_are_cut_out_of_a_mosaic(model, tmp_path):
    path = write_fits(tmp_path / "m.fits", make_flux(side=300), BANDS="grz", SURVEY="LegacySurvey")
    header = make_header()
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text(f"ra,dec\n{header['CRVAL1']},{header['CRVAL2']}\n")
    options = {"mosaic": path, "fov": 20.0, "head": "test", **CPU}
    table = model.classify(catalogue=str(catalogue), **options)
    assert table["fov"][0] == pytest.approx(20, rel=0.02)
    with pytest.raises(OptionError, match=r"^mosaic needs fov=ARCSEC"):
        model.classify(catalogue=str(catalogue), mosaic=str(path))


def test_one_file_per_band(model, tmp_path):
    flux = make_flux(("g", "r", "z"), side=90)
    for band, plane in zip("grz", flux, strict=True):
        write_fits(tmp_path / f"x_{band}.fits", plane, SURVEY="LegacySurvey")
    joined = model.classify(tmp_path, head="test", bands_from_name="{id}_{band}.fits", **CPU)
    (tmp_path / "cat.csv").write_text("a,b,c\nx_g.fits,x_r.fits,x_z.fits\n")
    columns = {"path_column": ["a", "b", "c"], "bands": "grz"}
    table = model.classify(catalogue=str(tmp_path / "cat.csv"), head="test", **columns, **CPU)
    assert list(joined["object_id"]) == ["x"]
    assert table["p_round"][0] == pytest.approx(joined["p_round"][0], abs=1e-6)


def interrupt_after(monkeypatch, blocks):
    original = engine.run_inference

    def run_inference(*arguments, **given):
        for done, block in enumerate(original(*arguments, **given)):
            if done == blocks:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr("galmorph.pipeline.run_inference", run_inference)


@pytest.mark.parametrize("suffix", ["fits", "csv", "parquet", "npz"])
@pytest.mark.parametrize("with_embedding", [False, True])
def test_a_run_is_resumed(model, folder, tmp_path, monkeypatch, suffix, with_embedding):
    if suffix == "npz" and not with_embedding:
        pytest.skip("npz is for embeddings")
    out = tmp_path / f"t.{suffix}"
    options = {"head": "test", "with_embedding": with_embedding, "batch_size": 1, **CPU}
    whole = model.classify(folder, **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 2)
        model.classify(folder, output=out, **options)
    assert partial_path(out).exists()
    with pytest.raises(OptionError, match="go on with resume, or start anew with overwrite"):
        model.classify(folder, output=str(out), **options)
    for _ in range(2):  # what is left; then the finished result
        table = model.classify(folder, output=str(out), resume=True, **options)
        assert list(table["object_id"]) == [f"g{n}" for n in range(5)]
        np.testing.assert_allclose(table["p_round"], whole["p_round"], rtol=1e-5)
    with pytest.raises(OptionError, match="is there already; replace it with overwrite"):
        model.classify(folder, output=str(out), **options)
    if suffix == "fits":
        with pytest.raises(ResumeError, match=r"field\.crop"):
            model.classify(folder, output=str(out), resume=True, crop=0.3, **options)


@pytest.mark.parametrize("suffix", ["npy", "npz", "fits", "csv"])
def test_embeddings_are_resumed(model, folder, tmp_path, monkeypatch, suffix):
    out = tmp_path / f"e.{suffix}"
    whole = model.embed(folder, batch_size=1, **CPU)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 2)
        model.embed(folder, output=out, batch_size=1, **CPU)
    for _ in range(2):
        found = model.embed(folder, output=out, resume=True, batch_size=1, **CPU)
        np.testing.assert_allclose(found, whole, rtol=1e-5)


def test_both_in_one_pass(model, folder):
    table = model.classify(folder, head="test", with_embedding=True, **CPU)
    np.testing.assert_array_equal(table["embedding"], model.embed(folder, **CPU))
    alone = model.classify(folder, head=None, with_embedding=True, **CPU)
    np.testing.assert_array_equal(alone["embedding"], table["embedding"])
    assert "label" not in alone.colnames


def test_the_result_can_be_written_by_the_names_of_the_package(model, folder, tmp_path):
    table = model.classify(folder, head="test", **CPU)
    galmorph.write_table(table, tmp_path / "t.vot")
    assert len(Table.read(tmp_path / "t.vot", format="votable")) == 5


def test_a_model_and_the_package_say_what_they_are(model):
    assert repr(model) == "Model('fused_fast', 512 features, heads: test)"
    assert galmorph.__version__.count(".") == 2


@pytest.mark.parametrize("function", [galmorph.classify, galmorph.embed])
def test_every_keyword_is_spelled_out_and_described(function):
    signature = inspect.signature(function)
    kinds = {p.kind for p in signature.parameters.values()}
    assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    assert next(iter(signature.parameters)) == "images"
    for name, parameter in signature.parameters.items():
        assert f"\n    {name} : " in function.__doc__
        assert parameter.annotation is not inspect.Parameter.empty
    for name in ("crop", "bands", "catalogue", "mosaic", "resume", "progress", "on_error"):
        assert name in signature.parameters
    assert not re.search("--[a-z]", function.__doc__)


def test_every_option_of_the_command_is_a_keyword():
    from galmorph.cli.classify import classify

    only_there = {"strict", "quiet", "debug", "images", "report", "samp"}
    only_there |= {"engine", "address"}  # galmorph.ray.classify
    names = {param.name for param in classify.params} - only_there
    assert names <= set(inspect.signature(galmorph.classify).parameters)
    assert names >= {each.name for each, option, _ in settings.list_options(
        settings.ClassifyOptions) if not option.only}  # fmt: skip


def test_no_warning_where_nothing_failed(model, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.embed(folder, **CPU)
