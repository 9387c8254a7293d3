from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits

from galmorph.tables import ColumnSpec, open_writer, read_catalogue
from tests.tables.table_cases import META


@pytest.fixture
def path(tmp_path, specs, block):
    with open_writer(tmp_path / "out.fits", specs, META) as writer:
        writer.append(block)
    return tmp_path / "out.fits"


def test_astropy_finds_nothing_to_mend(path):
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert len(hdus) == 2
        assert isinstance(hdus[1], fits.BinTableHDU)


def test_the_file_is_whole_blocks_and_ascii(path):
    data = path.read_bytes()
    assert len(data) % 2880 == 0
    with fits.open(path) as hdus:
        size = hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
        start = hdus[1].fileinfo()["datLoc"]
        for name in ("object_id", "path", "label", "message"):
            joined = b"".join(hdus[1].data.view(np.ndarray)[name].tolist())
            assert all(0x20 <= byte <= 0x7E for byte in joined), name
    assert len(data) == start + -(-size // 2880) * 2880
    assert data[:start].isascii()
    assert not any(data[start + size :])


def test_units_ucds_and_descriptions(path, specs):
    header = fits.getheader(path, 1)
    for number, spec in enumerate(specs, 1):
        assert header[f"TTYPE{number}"] == spec.name
        assert header.get(f"TUNIT{number}", "") == spec.unit
        assert header.get(f"TUCD{number}", "") == spec.ucd
        assert header.get(f"TCOMM{number}", "") == spec.description


def test_units_and_ucds_of_any_script_come_back(tmp_path):
    size = ColumnSpec("size", "float64", "µm", "phys.size;ø", "größer als 1 µm")
    with open_writer(tmp_path / "out.fits", [ColumnSpec("path", "str"), size]) as writer:
        writer.append({"path": ["a.jpg"], "size": [1.5]})
    header = fits.getheader(tmp_path / "out.fits", 1)
    assert (header["TUNIT2"], header["TUCD2"]) == ("%C2%B5m", "phys.size;%C3%B8")
    assert read_catalogue(tmp_path / "out.fits", path_column="path").specs == (size,)


def test_types_are_native(path):
    columns = fits.getdata(path, 1).columns
    assert str(columns["ra"].format) == "D"
    assert str(columns["p_smooth"].format) == "E"
    assert str(columns["flags"].format) == "J"
    assert str(columns["embedding"].format) == "3E"
    assert str(columns["barred"].format) == "L"
    assert columns["n_votes"].null == np.iinfo(np.int64).min
    assert columns["flags"].null is None


def test_strings_are_as_wide_as_the_longest(path, block):
    columns = fits.getdata(path, 1).columns
    assert str(columns["label"].format) == "6A"
    assert str(columns["message"].format) == f"{max(map(len, block['message']))}A"


def test_provenance_for_machines_and_for_people(path):
    header = fits.getheader(path, 1)
    assert json.loads(header["GALMORPH"]) == META
    history = "".join(header["HISTORY"])
    assert f'model.sha256 = "{META["model"]["sha256"]}"' in history
    assert "strings = " in history


def test_missing_booleans_are_undefined_as_the_standard_says(path, block):
    with fits.open(path) as hdus:
        stored = hdus[1].data.view(np.ndarray)["barred"]
    expected = {True: ord("T"), False: ord("F"), None: 0}
    assert stored.tolist() == [expected[value] for value in block["barred"].tolist()]


def test_provenance_with_quotes_before_slashes_comes_back(tmp_path):
    meta = {"paths": ["/data/O'Neill's'/" + "x" * 60 + "'/", "''/'"], "note": "'" * 200 + "/"}
    with open_writer(tmp_path / "out.fits", [ColumnSpec("path", "str")], meta) as writer:
        writer.append({"path": ["a.jpg"]})
    assert json.loads(fits.getheader(tmp_path / "out.fits", 1)["GALMORPH"]) == meta
