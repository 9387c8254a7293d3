"""``galmorph cite``."""

from __future__ import annotations


def test_bibtex_alone(run):
    said = run("cite").stdout
    assert said.startswith("@article{wei2022")
    assert said.count("{") == said.count("}")
    assert "doi     = {10." in said


def test_a_paragraph_has_the_numbers_of_the_run(run, cutouts, tmp_path):
    out = tmp_path / "t.fits"
    assert run("classify", cutouts, "-o", out).exit_code == 0
    said = run("cite", out).stdout
    for part in (
        "the model fused_fast (weights sha256 ",
        "the head test (head sha256 ",
        "Of 5 cutouts 4 were classified. 1 could not be used and carry a flag.",
        "no class has half of the votes",
        "The run is of 20",
        "@article{wei2022",
    ):
        assert part in said, said


def test_a_table_without_provenance_is_refused(run, cutouts, tmp_path):
    out = tmp_path / "t.csv"
    assert run("classify", cutouts, "-o", out).exit_code == 0
    result = run("cite", out)
    assert result.exit_code == 2
    assert "holds no provenance" in result.stderr
