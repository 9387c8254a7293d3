"""A partition of a larger table gives what `classify` gives of the whole."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from inference_model import make_model
from PIL import Image
from synthetic import make_rgb

import galmorph
from galmorph.errors import CatalogueError, OptionError

pd = pytest.importorskip("pandas", reason="partitions are frames of pandas")

CPU = {"device": "cpu", "precision": "float32", "workers": 1, "head": "test"}


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """Seven images and a file that is none, with columns of many kinds, and an index of its own."""
    folder = tmp_path_factory.mktemp("frame")
    paths = [str(folder / f"g{number}.png") for number in range(8)]
    for number, path in enumerate(paths[:-1]):
        Image.fromarray(make_rgb(100, seed=number)).save(path)
    (folder / "g7.png").write_bytes(b"no image")
    rows = {
        "path": paths,
        "z": pd.array([1, None, 3, 4, 5, 6, 7, 8], dtype="Int64"),
        "ra": 150 + 0.1 * np.arange(8),
        "dec": np.full(8, 2.0),
        "label": list("abcdefgh"),
    }
    return pd.DataFrame(rows, index=pd.Index(range(100, 108), name="_healpix_29"))


def as_bytes(frame):
    data = []
    for path in frame["path"]:
        with open(path, "rb") as file:
            data.append(file.read())
    return frame.assign(bytes=data)


def test_columns_and_values_are_those_of_classify(frame, model):
    table = galmorph.classify(catalogue=frame, path_column="path", model=model, **CPU)
    found = galmorph.partition(frame, model=model, **CPU)
    assert list(found.columns) == table.colnames
    assert found.index.equals(frame.index)
    assert found["z"].equals(frame["z"])  # with its gap, and as pandas has it
    assert list(found["label_catalogue"]) == list("abcdefgh")
    for name in ("object_id", "label", "flags", "path", "message"):
        assert list(found[name]) == table[name].tolist(), name
    for name in ("ra", "dec", "p_round", "atypicality"):
        np.testing.assert_array_equal(found[name], table[name])
    assert (found["label"] == "").tolist() == [False] * 7 + [True]
    assert "g7.png" in found["message"].iloc[-1]


def test_bytes_paths_arrays_and_mappings_give_the_same(frame, model):
    expected = galmorph.partition(frame, model=model, **CPU)
    whole = as_bytes(frame)
    pd.testing.assert_frame_equal(galmorph.partition(whole, model=model, **CPU), expected)
    unnamed = galmorph.partition(whole.drop(columns="path"), model=model, **CPU)
    assert list(unnamed["object_id"]) == [str(n) for n in range(100, 108)]
    good = whole.iloc[:-1]
    arrays = [np.asarray(Image.open(io.BytesIO(data))) for data in good["bytes"]]
    records = [{"bytes": data, "path": None} for data in good["bytes"]]
    for images in (arrays, records, list(good["path"])):
        other = frame.iloc[:-1].assign(picture=images)
        found = galmorph.partition(other, image_column="picture", model=model, **CPU)
        assert "picture" not in found
        np.testing.assert_allclose(found["p_round"], expected["p_round"].iloc[:-1], rtol=1e-6)


def test_a_row_without_an_image_is_flagged(frame, model):
    holes = as_bytes(frame).iloc[:3].assign(bytes=[None, float("nan"), pd.NA])
    found = galmorph.partition(holes, model=model, **CPU)
    assert found["message"].str.contains("the row is empty").all()


def test_no_rows_give_the_same_types(frame, model):
    options = {"model": model, "with_embedding": True, **CPU}
    for rows in (frame, as_bytes(frame)):
        full, empty = (galmorph.partition(part, **options) for part in (rows, rows.iloc[:0]))
        assert len(empty) == 0
        assert empty.dtypes.equals(full.dtypes)
    assert full["embedding"].iloc[0].shape == (512,)


def test_positions_are_cut_from_a_mosaic(tmp_path, model):
    from synthetic import make_flux, make_header, write_fits

    header = make_header()
    path = write_fits(tmp_path / "mosaic.fits", make_flux(("r",))[0])
    ra, dec = header["CRVAL1"], header["CRVAL2"]
    rows = pd.DataFrame({"ra": [ra, 10.0], "dec": [dec, 10.0]}, index=[7, 9])
    found = galmorph.partition(rows, mosaic=str(path), fov=8.0, model=model, **CPU)
    assert list(found["object_id"]) == ["7", "9"]
    assert found["label"].iloc[0] in ("round", "edge_on", "spiral")
    assert not found["label"].iloc[1]


def test_what_does_not_fit_is_said(frame, model):
    with pytest.raises(TypeError, match="takes no output"):
        galmorph.partition(frame, output="a.fits", model=model)
    with pytest.raises(CatalogueError, match="no column stamps; there are: path, z"):
        galmorph.partition(frame, image_column="stamps", model=model)
    with pytest.raises(CatalogueError, match="no column file"):
        galmorph.partition(frame, path_column="file", model=model)
    with pytest.raises(OptionError, match="crop"):
        galmorph.partition(frame, crop=-1, model=model)


def test_dask_maps_it_over_partitions(frame):
    dask = pytest.importorskip("dask.dataframe", reason="dask is not installed")
    options = {"workers": 1, "device": "cpu"}
    parts = dask.from_pandas(frame, npartitions=3)
    made = parts.map_partitions(
        galmorph.partition, **options, meta=galmorph.partition(frame.iloc[:0], **options)
    )
    found = made.compute(scheduler="synchronous")
    expected = galmorph.partition(parts.compute(), **options)  # Dask has its own kind of text
    assert list(found.index) == list(frame.index)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)


@pytest.mark.filterwarnings("default")  # of LSDB and what it brings
def test_lsdb_maps_it_over_the_pixels_of_a_catalogue(frame):
    lsdb = pytest.importorskip("lsdb", reason="lsdb is not installed")
    options = {"workers": 1, "device": "cpu"}
    spread = frame.reset_index(drop=True).assign(ra=20.0 * np.arange(8))
    catalogue = lsdb.from_dataframe(spread, ra_column="ra", dec_column="dec", lowest_order=2)
    assert catalogue.npartitions > 1
    made = catalogue.map_partitions(
        galmorph.partition, **options, meta=galmorph.partition(catalogue.meta, **options)
    )
    found = made.compute().sort_values("object_id")
    expected = galmorph.partition(spread, **options)
    for name in ("object_id", "label", "flags", "label_catalogue"):
        assert list(found[name]) == list(expected[name]), name
    np.testing.assert_allclose(found["confidence"], expected["confidence"], rtol=1e-4)


def test_it_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(galmorph.partition)) is galmorph.partition
