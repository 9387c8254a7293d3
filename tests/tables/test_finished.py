"""--resume where the final table is there already."""

from __future__ import annotations

import pytest

from galmorph.errors import CatalogueError, ResumeError
from galmorph.flags import NO_LABEL
from galmorph.saved import SavedRun
from galmorph.tables import ColumnSpec, open_writer
from galmorph.tables.journal import partial_path
from tests.tables.table_cases import META, NASTY, make_block

RUN = {
    "weights": {"sha256": "ab", "mean": [0.5, 0.25]},
    "options": {"stretch": "auto", "eps": 1e-05, "deep": True, "crop": None},
    "inputs": ["d", "line\nbreak", "\udcff", "é"],
}
WITH_PROVENANCE = ["ecsv", "fits", "vot", "parquet", "npz"]
WITHOUT = ["csv", "jsonl"]
ROWS = 3 * len(NASTY)


@pytest.fixture(autouse=True)
def _needs_pyarrow(request):
    if "parquet" in request.node.name:
        pytest.importorskip("pyarrow")


def make(path, specs, rows=ROWS, fingerprint=RUN):
    with open_writer(path, specs, {**META, "host": "a"}, fingerprint=fingerprint) as writer:
        writer.append(make_block(0, rows))
    return path.read_bytes()


def rows_of(start, stop):
    block = make_block(start, stop)
    return list(zip(block["object_id"], block["path"], strict=True))


def resume(path, specs, inputs=None, fingerprint=RUN):
    """What is still to be done, and what the writer says."""
    inputs = rows_of(0, ROWS) if inputs is None else inputs
    meta = {**META, "host": "b"}
    with open_writer(path, specs, meta, fingerprint=fingerprint, resume=True) as writer:
        rest = list(writer.skip_done(inputs, key=lambda row: row))
        assert writer.rows_done == len(inputs)
    return rest, writer.finished


@pytest.mark.parametrize("form", [*WITH_PROVENANCE, *WITHOUT, "npy"])
def test_the_same_run_is_told_that_nothing_is_left_and_the_file_stays(form, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    before, stamp = make(path, specs), path.stat().st_mtime_ns
    rest, said = resume(path, specs)
    assert rest == []
    assert "finished by an earlier run; nothing is left to do" in said
    assert ("neither weights nor options" in said) == (form not in WITH_PROVENANCE)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp)
    assert not partial_path(path).exists()


@pytest.mark.parametrize("form", [*WITH_PROVENANCE, *WITHOUT, "npy"])
def test_rows_without_a_label_are_counted(form, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    make(path, specs)
    writer = open_writer(path, specs, {**META, "host": "b"}, fingerprint=RUN, resume=True)
    assert list(writer.skip_done(rows_of(0, ROWS), key=lambda row: row)) == []
    by_flags = sum(bool(row & NO_LABEL) for row in range(ROWS))
    by_embedding = sum(row % 5 == 3 for row in range(ROWS))
    assert writer.rows_failed == (by_embedding if form == "npy" else by_flags)


@pytest.mark.parametrize("form", ["ecsv", "fits", "vot", "parquet", *WITHOUT])
def test_a_table_without_flags_has_no_failed_rows(form, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    kept = [spec for spec in reversed(specs) if spec.name in ("object_id", "path", "r_mag")]
    block = {spec.name: make_block(0, ROWS)[spec.name] for spec in kept}
    with open_writer(path, kept, META) as writer:
        writer.append(block)
    with open_writer(path, kept, META, resume=True) as writer:
        assert list(writer.skip_done(rows_of(0, ROWS), key=lambda row: row)) == []
        assert (writer.rows_done, writer.rows_failed) == (ROWS, 0)


@pytest.mark.parametrize("form", WITH_PROVENANCE)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {**RUN["weights"], "sha256": "cd"}}, 'sha256: recorded "ab", now "cd"'),
        ({"options": {**RUN["options"], "deep": False}}, 'deep: recorded "true", now "false"'),
        ({"options": {"eps": 1e-05, "deep": True, "crop": None}}, '"auto", now nothing'),
        ({"options": {**RUN["options"], "fov": 20.0}}, 'fov: recorded nothing, now "20.0"'),
        ({"inputs": ["d"]}, "inputs: recorded"),
    ],
)
def test_another_run_is_refused_with_what_differs(form, change, message, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    before = make(path, specs)
    with pytest.raises(ResumeError, match=message) as info:
        resume(path, specs, fingerprint={**RUN, **change})
    assert "finished already, by another run" in str(info.value)
    assert "name another file" in str(info.value)
    assert "host" not in str(info.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", [*WITH_PROVENANCE, *WITHOUT])
def test_other_inputs_are_refused(form, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    make(path, specs)
    rows = rows_of(0, ROWS + 1)
    with pytest.raises(ResumeError, match=rf"has {ROWS} rows, but the inputs go on: '/d/{ROWS}:"):
        resume(path, specs, rows)
    with pytest.raises(ResumeError, match=f"row {ROWS} is .* at its place is missing"):
        resume(path, specs, rows[: ROWS - 1])
    with pytest.raises(ResumeError, match=r"row 3 is '/d/2:line.* at its place is '/d/0:plain"):
        resume(path, specs, [*rows[:2], rows[0], *rows[3:ROWS]])


def test_npy_compares_the_number_of_rows(tmp_path, specs):
    path = tmp_path / "out.npy"
    make(path, specs)
    with pytest.raises(ResumeError, match="the inputs go on"):
        resume(path, specs, rows_of(0, ROWS + 1))
    with pytest.raises(ResumeError, match="at its place is missing"):
        resume(path, specs, rows_of(0, ROWS - 1))


@pytest.mark.parametrize("form", [*WITH_PROVENANCE, *WITHOUT])
def test_other_columns_are_refused(form, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    make(path, specs)
    with pytest.raises(ResumeError, match="column z: not in the file"):
        resume(path, (*specs, ColumnSpec("z", "float32")))
    with pytest.raises(ResumeError, match="column r_mag: no longer made"):
        resume(path, [spec for spec in specs if spec.name != "r_mag"])


@pytest.mark.parametrize("form", [*WITH_PROVENANCE, *WITHOUT, "npy"])
@pytest.mark.parametrize("content", [b"", b"something else\n", None])
def test_a_file_that_is_no_result_is_refused_and_not_touched(form, content, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    if content is None:
        content = make(path, specs)[:-4000]
    path.write_bytes(content)
    with pytest.raises(ResumeError, match="another file"):
        resume(path, specs)
    assert path.read_bytes() == content


@pytest.mark.parametrize("form", [*WITH_PROVENANCE, *WITHOUT])
def test_an_empty_result_is_finished_too(form, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    make(path, specs, rows=0)
    assert resume(path, specs, []) == ([], resume(path, specs, [])[1])
    with pytest.raises(ResumeError, match="has 0 rows"):
        resume(path, specs)


def test_a_message_names_few_columns(tmp_path, specs):
    path = tmp_path / "out.fits"
    make(path, specs)
    more = [ColumnSpec(f"c{number}", "float32") for number in range(9)]
    with pytest.raises(ResumeError, match="column c0, c1, c2, c3, c4 and 4 more: not in the file"):
        resume(path, [*specs, *more])


def test_without_resuming_it_is_replaced(tmp_path, specs):
    path = tmp_path / "out.fits"
    before = make(path, specs)
    assert make(path, specs, rows=2) != before


def test_a_finished_table_takes_no_rows(tmp_path, specs):
    path = tmp_path / "out.fits"
    make(path, specs)
    meta = {**META, "host": "b"}
    writer = open_writer(path, specs, meta, fingerprint=RUN, resume=True)
    with pytest.raises(ResumeError, match="takes no more rows"):
        writer.append(make_block(0, 1))


def test_a_partial_result_goes_before_an_older_table(tmp_path, specs):
    path = tmp_path / "out.fits"
    make(path, specs, fingerprint={"old": 1})
    writer = open_writer(path, specs, META, fingerprint=RUN)
    writer.append(make_block(0, 4))
    writer.abandon()
    with open_writer(path, specs, META, fingerprint=RUN, resume=True) as writer:
        assert writer.rows_done == 4
        assert not writer.finished


def test_a_damaged_embedding_in_csv_is_one_sentence(tmp_path, specs):
    with open_writer(tmp_path / "out.csv", specs) as writer:
        writer.append(make_block(0, 4))
    run = SavedRun(tmp_path / "out.csv")
    assert sum(map(len, run.embeddings())) == 4
    with (tmp_path / "out.csv").open("a", encoding="utf-8") as file:
        file.write(",".join(["x"] * len(specs) + ["y"] * 2) + "\n")
    with pytest.raises(CatalogueError, match="column e_000 must hold numbers"):
        list(SavedRun(tmp_path / "out.csv").embeddings())
