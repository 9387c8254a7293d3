"""Files on which libraries crash: each costs its row, and the run goes on."""

from __future__ import annotations

import csv
import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mutants import make_seeds, mutate
from synthetic import write_fits, write_jpeg

from galmorph.cli.main import cli
from galmorph.flags import NO_LABEL
from galmorph.model import Model, write_model


@pytest.fixture(scope="module")
def weights(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    write_model(path, model)
    return path


def classify(folder: Path, weights: Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status and rows by identifier; the identifiers are checked against the files."""
    out = folder.parent / "table.csv"
    words = ["classify", str(folder), "-o", str(out), "--model", str(weights), "--head", "test"]
    result = CliRunner().invoke(cli, [*words, "--workers", "2"], prog_name="galmorph")
    lines = [line for line in out.read_text().splitlines(True) if not line.startswith("#")]
    rows = {row["object_id"]: row for row in csv.DictReader(lines)}
    assert sorted(rows) == sorted(path.stem for path in folder.iterdir())
    return result.exit_code, rows


@pytest.mark.parametrize("kind", ["hcompress_1", "rice_1", "rice_float", "plio_1"])
def test_mutants_of_compressed_fits_all_have_their_rows(
    weights: Path, tmp_path: Path, kind: str
) -> None:
    seed, rng = make_seeds()[f"fits_{kind}"], random.Random(kind)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(60):
        (folder / f"m{number:03d}.fits").write_bytes(mutate(seed, rng))
    (folder / "whole.fits").write_bytes(seed)
    write_jpeg(folder / "z.jpg", side=100)
    status, rows = classify(folder, weights)
    assert status == 0
    assert rows["whole"]["label"] and rows["z"]["label"]
    for row in rows.values():
        assert bool(row["label"]) != bool(int(row["flags"]) & NO_LABEL)
        assert row["label"] or row["message"]


def _write_hcompress(path: Path) -> None:
    """A stream that claims a larger tile than there is."""
    from astropy.io import fits

    pixels = np.random.default_rng(0).normal(100, 20, (16, 16)).astype(np.int16)
    tiles = fits.CompImageHDU(pixels, compression_type="HCOMPRESS_1", tile_shape=(16, 16))
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(stream)
    raw = bytearray(stream.getvalue())
    begin = raw.index(b"\xdd\x99") + 2
    raw[begin : begin + 8] = struct.pack(">ii", 17, 16)
    path.write_bytes(raw)


def _write_rice(path: Path) -> None:
    """A million bytes per pixel, by a card."""
    from astropy.io import fits

    pixels = np.random.default_rng(0).normal(100, 20, (48, 48)).astype(np.int32)
    tiles = fits.CompImageHDU(pixels, compression_type="RICE_1", tile_shape=(16, 16))
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(stream)
    raw = stream.getvalue()
    begin = raw.index(b"ZVAL2   ") + 10
    path.write_bytes(raw[:begin] + b"1000000".rjust(20) + raw[begin + 20 :])


def test_headers_and_streams_known_to_crash_end_no_run(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    flux = np.random.default_rng(0).normal(1, 0.2, (64, 64)).astype(np.float32)
    tan = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 150.0, "CRVAL2": 2.0,
           "CRPIX1": 32.5, "CRPIX2": 32.5, "CD1_1": -7e-5, "CD2_2": 7e-5}  # fmt: skip
    write_fits(folder / "good.fits", flux, **tan)
    write_fits(folder / "sip.fits", flux, **tan, A_ORDER=30000, B_ORDER=30000)
    _write_hcompress(folder / "hcompress.fits")
    _write_rice(folder / "rice.fits")
    status, rows = classify(folder, weights)
    assert status == 0
    assert rows["good"]["label"] and rows["sip"]["label"]
    for name in ("hcompress", "rice"):
        assert int(rows[name]["flags"]) & NO_LABEL and rows[name]["message"]
