"""``galmorph search`` on what ``classify`` wrote."""

from __future__ import annotations

import re
import shutil

import pytest
from astropy.table import Table


@pytest.fixture
def table(run, cutouts, tmp_path):
    result = run("classify", cutouts, "-o", tmp_path / "run.parquet", "--with-embedding")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "run.parquet"


def test_a_file_is_embedded_as_the_run_was(run, cutouts, table, tmp_path, model_file):
    example = tmp_path / "other.fits"
    shutil.copy(cutouts / "d.fits", example)
    out = tmp_path / "near.fits"
    result = run("search", table, "--like", example, "-n", 2, "-o", out, "--model", model_file)
    assert result.exit_code == 0, result.stderr
    found = Table.read(out)
    assert found["object_id"][0] == "d"
    assert found["similarity"][0] > 0.999
    assert list(found["rank"]) == [1, 2]


def test_another_model_is_refused(run, cutouts, table, tmp_path):
    example = tmp_path / "other.jpg"
    shutil.copy(cutouts / "a.jpg", example)
    result = run("search", table, "--like", example)
    assert result.exit_code == 2
    assert "was made by other weights of 'fused_fast' than these" in result.stderr
    assert "name their file with --model" in result.stderr


def test_a_gallery_shows_what_was_found_and_names_what_has_moved(run, cutouts, table, tmp_path):
    (cutouts / "c.jpg").unlink()
    out = tmp_path / "near.html"
    result = run("search", table, "--like", "a", "-o", out)
    assert result.exit_code == 0, result.stderr
    page = out.read_text()
    assert page.count("data:image/jpeg;base64,") == 4  # b and d, each whole and as seen
    assert f"{cutouts}/c.jpg: there is no such file" in page
    assert not re.search(r"<script|https?://|<link", page)
    again = run("search", table, "--like", "a", "-o", out)
    assert again.exit_code == 2 and "is there already" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give --like EXAMPLE, or --duplicates."),
        (["--like", "a", "--duplicates"], "Give --like EXAMPLE, or --duplicates."),
        (["--like", "a", "--where", "confidence <"], "--where 'confidence <': invalid syntax"),
        (["--like", "a", "-o", "near.doc"], "no output format has the suffix '.doc'"),
        (["--like", "bad"], "bad: has no embedding"),
    ],
)
def test_bad_requests_are_one_line(run, table, words, said):
    result = run("search", table, *words)
    assert result.exit_code == 2 and said in result.stderr
    assert "Traceback" not in result.output


def test_without_embeddings_it_says_how_to_get_them(run, cutouts, tmp_path):
    run("classify", cutouts, "-o", tmp_path / "plain.csv")
    result = run("search", tmp_path / "plain.csv", "--like", "a")
    assert result.exit_code != 0 and "--with-embedding" in result.stderr
