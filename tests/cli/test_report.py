from __future__ import annotations


def test_classify_makes_a_report_and_says_how_to_look(run, cutouts, tmp_path):
    table, page = tmp_path / "run.parquet", tmp_path / "out" / "report.html"
    result = run("classify", cutouts, "-o", table, "--report", page)
    assert result.exit_code == 0, result.stderr
    assert "look at it" not in result.stderr
    text = page.read_text()
    assert "4 of 5 cutouts have a result; 1 failed" in text
    assert result.stderr.splitlines()[-1].startswith(f"{page}: 0.")


def test_a_report_of_a_table_replaces_nothing_unasked(run, cutouts, tmp_path):
    table, page = tmp_path / "run.csv", tmp_path / "report.html"
    run("classify", cutouts, "-o", table)
    assert run("report", table, "-o", page).exit_code == 0
    again = run("report", table, "-o", page)
    assert again.exit_code == 2 and "is there already" in again.stderr
    assert run("report", table, "-o", page, "--overwrite").exit_code == 0


def test_bad_requests_are_one_line(run, cutouts, tmp_path):
    result = run("classify", cutouts, "--report", tmp_path / "r.html")
    assert result.exit_code == 2 and "name it with -o" in result.stderr
    result = run("classify", cutouts, "-o", tmp_path / "t.csv", "--report", tmp_path / "r.pdf")
    assert result.exit_code == 2 and "a report is written as .html" in result.stderr
    assert not (tmp_path / "t.csv").exists()
