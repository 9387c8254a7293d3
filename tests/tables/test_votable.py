from __future__ import annotations

import csv
import io
import shutil
import subprocess

import pytest
from astropy.io.votable import parse, validate

from galmorph.saved import SavedRun
from galmorph.tables import ColumnSpec, open_writer, result_columns
from galmorph.tables.provenance import flatten_meta
from tests.tables.table_cases import META, make_block

needs_stilts = pytest.mark.skipif(
    shutil.which("stilts") is None, reason="STILTS is not installed (Debian: apt install stilts)"
)


@pytest.fixture
def path(tmp_path, specs, block):
    with open_writer(tmp_path / "out.vot", specs, META) as writer:
        writer.append(block)
    return tmp_path / "out.vot"


def run_stilts(*arguments):
    command = ["stilts", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_astropy_finds_no_violation(path):
    report = io.StringIO()
    assert validate(path, output=report), report.getvalue()


def test_fields_have_units_ucds_and_descriptions(path, specs):
    fields = parse(path, verify="exception").get_first_table().fields
    found = [(f.name, str(f.unit or ""), f.ucd or "", f.description or "") for f in fields]
    assert found == [(s.name, s.unit, s.ucd, s.description) for s in specs]
    types = {field.name: (field.datatype, field.arraysize) for field in fields}
    assert types["object_id"][0] == "unicodeChar"
    assert types["label"] == ("char", "6*")
    assert types["embedding"] == ("float", "3")
    assert types["n_votes"][0] == "long"


def test_provenance_is_in_params(path):
    table = parse(path).get_first_table()
    params = {param.name: param.value for param in table.params}
    flat = flatten_meta(META)
    assert params.pop("seed").strip() == flat.pop("seed") == ""
    assert params == flat
    assert table.nrows == 40


def test_positions_are_icrs(path):
    votable = parse(path)
    fields = {field.name: field.ref for field in votable.get_first_table().fields}
    assert votable.get_coosys_by_id(fields["ra"]).system == "ICRS"
    assert fields["dec"] == fields["ra"] and fields["label"] is None


@needs_stilts
@pytest.mark.parametrize("form", ["vot", "fits"])
def test_topcat_reads_names_units_ucds_and_descriptions(form, tmp_path, specs):
    path = tmp_path / f"out.{form}"
    with open_writer(path, specs, META) as writer:
        writer.append(make_block(0, 40))
    if form == "vot":
        assert run_stilts("votlint", str(path)) == ""
    columns = "meta name units ucd description"
    text = run_stilts("tpipe", f"in={path}", f"cmd={columns}", "ofmt=csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert [tuple(row) for row in rows[1:]] == [
        (spec.name, spec.unit, spec.ucd, spec.description) for spec in specs
    ]


@needs_stilts
def test_topcat_reads_the_values(path, block):
    keep = "cmd=keepcols 'object_id ra n_votes label'"
    text = run_stilts("tpipe", f"in={path}", keep, "ofmt=csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 40
    assert [float(row["ra"]) for row in rows] == block["ra"].tolist()
    votes = [int(row["n_votes"]) if row["n_votes"] else None for row in rows]
    assert votes == block["n_votes"].tolist()
    assert rows[3]["object_id"] == block["object_id"][3]
    assert [row["label"] for row in rows] == block["label"]


def test_only_the_own_position_is_said_to_be_icrs(tmp_path):
    old = ColumnSpec("RAB1950", "float64", "deg", "pos.eq.ra")
    specs = result_columns(
        carried=(old, ColumnSpec("dec_catalogue", "float64", "deg", "pos.eq.dec"))
    )
    with open_writer(tmp_path / "out.vot", specs) as writer:
        writer.append({s.name: [""] if s.is_text else [0] for s in specs})
    refs = {field.name: field.ref for field in parse(tmp_path / "out.vot").get_first_table().fields}
    assert [name for name, ref in refs.items() if ref == "icrs"] == ["ra", "dec"]


def test_what_a_run_says_of_nothing_is_read_as_nothing(tmp_path, specs, block):
    with open_writer(tmp_path / "out.vot", specs, {"field": {"crop": None}}) as writer:
        writer.append(block)
    assert SavedRun(tmp_path / "out.vot").provenance["field"] == {"crop": None}
