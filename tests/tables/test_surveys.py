"""Catalogues as surveys and archives give them."""

from __future__ import annotations

import gzip
import math
import random
import re

import numpy as np
import pytest
from astropy.table import Table
from bombs import ECSV, TABLES, VOTABLE
from mutants import mutate

from galmorph.errors import CatalogueError
from galmorph.tables import read_catalogue, write_table
from galmorph.tables.catalogue import digest_catalogue


def position(path):
    row = next(iter(read_catalogue(path, path_column="file")))
    return row.ra, row.dec


def save(path, names, values=(0.5, 0.25), unit="deg", ucds=("", ""), text=("", "")):
    table = Table({"file": ["a.jpg"], names[0]: [values[0]], names[1]: [values[1]]})
    for name, ucd, described in zip(names, ucds, text, strict=True):
        table[name].unit, table[name].description = unit, described or None
        if ucd:
            table[name].meta["ucd"] = ucd
    table.write(path)
    return path


def test_radians_of_lsst_are_known_by_their_unit(tmp_path):
    path = save(tmp_path / "src.fits", ("coord_ra", "coord_dec"), unit="rad")
    assert position(path) == pytest.approx((math.degrees(0.5), math.degrees(0.25)))


MAIN = ("pos.eq.ra;meta.main", "pos.eq.dec;meta.main")


@pytest.mark.parametrize("ucds", [MAIN, ("POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN")])
def test_positions_by_their_ucd(ucds, tmp_path):
    assert position(save(tmp_path / "a.ecsv", ("alpha", "delta"), ucds=ucds)) == (0.5, 0.25)


def test_positions_of_an_old_equinox_are_none(tmp_path):
    path = save(tmp_path / "a.ecsv", ("RAB1950", "DEB1950"), ucds=MAIN)
    assert all(map(math.isnan, position(path)))
    path = save(tmp_path / "b.ecsv", ("x", "y"), ucds=MAIN, text=("Right ascension (FK4)", ""))
    assert all(map(math.isnan, position(path)))


def test_a_blank_before_a_path_goes_where_that_finds_the_file(tmp_path):
    (tmp_path / "g.jpg").touch()
    (tmp_path / " h.jpg").touch()
    text = "id,file\n1, g.jpg\n2, h.jpg\n3, none.jpg\n4,g.jpg \n"
    (tmp_path / "list.csv").write_text(text)
    rows = list(read_catalogue(tmp_path / "list.csv", path_column="file"))
    names = ["g.jpg", " h.jpg", " none.jpg", "g.jpg"]
    assert [row.path for row in rows] == [str(tmp_path / name) for name in names]


IPAC = r"""\catalog='toy'
| file  | ra      | dec     | kmag  |
| char  | double  | double  | real  |
|       | deg     | deg     | mag   |
| null  | null    | null    | null  |
 a.jpg   10.5      -2.25     12.5
 b.jpg   11.5      -3.25     null
"""


def test_ipac_tables(tmp_path):
    (tmp_path / "cat.tbl").write_text(IPAC)
    catalogue = read_catalogue(tmp_path / "cat.tbl", path_column="file", root="")
    rows = list(catalogue)
    assert [(row.path, row.ra, row.dec) for row in rows] == [
        ("a.jpg", 10.5, -2.25),
        ("b.jpg", 11.5, -3.25),
    ]
    assert (catalogue.specs[-1].name, catalogue.specs[-1].unit) == ("kmag", "mag")
    assert math.isnan(rows[1].columns["kmag"])


def test_json_lines(tmp_path):
    (tmp_path / "metadata.jsonl").write_text(
        '{"file": "a.jpg", "ra": 1, "v": [1.5, 2], "x": {"y": 1}}\n{"file": "b.jpg", "ra": null}\n'
    )
    with pytest.warns(UserWarning, match="the columns x are of types"):
        rows = list(read_catalogue(tmp_path / "metadata.jsonl", path_column="file"))
    assert [row.path for row in rows] == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]


def test_a_folder_of_parquet_files_by_hats(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for pixel, ra in ((4, 10.0), (11, 20.0)):
        folder = tmp_path / "hats" / "dataset" / "Norder=1" / "Dir=0"
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.table({"object_id": [f"{pixel}"], "ra": [ra], "dec": [-1.0]})
        parquet.write_table(table, folder / f"Npix={pixel}.parquet")
    parquet.write_table(table, tmp_path / "hats" / "dataset" / "data_thumbnail.parquet")
    parquet.write_metadata(table.schema, tmp_path / "hats" / "dataset" / "_metadata")
    rows = list(read_catalogue(tmp_path / "hats"))
    assert [(row.object_id, row.ra) for row in rows] == [("11", 20.0), ("4", 10.0)]
    before = digest_catalogue(tmp_path / "hats")
    parquet.write_table(table, folder / "Npix=4.parquet")
    assert digest_catalogue(tmp_path / "hats") != before
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogueError, match="the folder holds no Parquet file"):
        read_catalogue(tmp_path / "empty")


ELSEWHERE = """<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="file" datatype="char" arraysize="9"/>
<DATA><BINARY><STREAM {}="{}"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>
"""


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "file:///etc/hostname", "x.bin"])
def test_a_votable_names_no_other_file(address, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("was opened"))
    for encoding in ("utf-8", "utf-16"):
        text = ELSEWHERE.format("href", address)
        (tmp_path / "cat.vot").write_text(text, encoding=encoding)
        with pytest.raises(CatalogueError, match="its data stand elsewhere .* not opened"):
            read_catalogue(tmp_path / "cat.vot", path_column="file")


def test_an_endless_line_takes_no_memory(tmp_path):
    with gzip.open(tmp_path / "cat.csv.gz", "wb", 1) as file:
        for _ in range(5):
            file.write(bytes(1 << 24))
    with pytest.raises(CatalogueError, match="a line of it has more than"):
        read_catalogue(tmp_path / "cat.csv.gz", path_column="file")


def test_a_table_of_very_many_columns_is_refused(tmp_path):
    names = [f"c{number}" for number in range(200_000)]
    lines = [",".join(names), ",".join(map(str, range(200_000)))]
    (tmp_path / "cat.csv").write_text("\n".join(lines))
    with pytest.raises(CatalogueError, match="has 200000 columns; at most 16384 are read"):
        read_catalogue(tmp_path / "cat.csv", path_column="file")
    (tmp_path / "cat.csv").write_text("\n".join(",".join(line.split(",")[:999]) for line in lines))
    with pytest.raises(CatalogueError, match="c99 and 899 more"):
        read_catalogue(tmp_path / "cat.csv", path_column="file")


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits", "vot", "jsonl", "tbl", "parquet"])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_catalogue_is_one_sentence(form, tmp_path):
    if form == "parquet":
        pytest.importorskip("pyarrow")

    table = Table({"file": ["a.jpg", "b.jpg"], "ra": [1.5, 2.5], "n": [3, 4], "v": np.ones((2, 3))})
    path = tmp_path / f"cat.{form}"
    if form == "tbl":
        path.write_text(IPAC)
    else:
        write_table(table, path)
    whole, dice = path.read_bytes(), random.Random(3)
    for _ in range(40):
        path.write_bytes(mutate(whole, dice))
        said = ""
        try:
            list(read_catalogue(path, path_column="file"))
        except CatalogueError as error:
            said = str(error)
        assert "\n" not in said


def test_names_of_several_lines_stay_in_one_sentence(tmp_path):
    (tmp_path / "cat.csv").write_text(f'"fi\nle",{"x" * 5000},"#a\n,b"\n1,2,3\n')
    with pytest.raises(CatalogueError, match=r"there are: fi le, x{100}, #a ,b$"):
        read_catalogue(tmp_path / "cat.csv", path_column="file")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("axes", "size", "said"), [(1, -2880, "holds no table"), (10**12, 0, "NAXIS = 1000000000000")]
)
def test_a_part_of_absurd_size_has_an_end(axes, size, said, tmp_path):
    """Without a bound, astropy gives it for ever."""
    cards = (("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", axes), ("NAXIS1", size))
    head = "".join(f"{key:8}= {value:>20}".ljust(80) for key, value in cards) + "END"
    (tmp_path / "cat.fits").write_bytes(head.encode().ljust(2880) + bytes(2880))
    with pytest.raises(CatalogueError, match=said):
        read_catalogue(tmp_path / "cat.fits", path_column="file")


def test_a_table_of_absurdly_many_columns_is_refused_at_once(tmp_path):
    """astropy would count to that number."""
    Table({"file": ["a.fits"]}).write(tmp_path / "cat.fits")
    data = (tmp_path / "cat.fits").read_bytes()
    said = b"TFIELDS = 9999999999999".ljust(30)
    (tmp_path / "cat.fits").write_bytes(re.sub(rb"TFIELDS = +1", said, data))
    with pytest.raises(CatalogueError, match="says TFIELDS = 9999999999999"):
        read_catalogue(tmp_path / "cat.fits", path_column="file")


@pytest.mark.parametrize("end", [name for name in TABLES if name.startswith("catalogue.fits")])
def test_a_header_without_end_or_bound_is_refused(end, tmp_path, monkeypatch):
    monkeypatch.setattr("galmorph.tables.formats.base.MAX_BYTES", 1 << 24)
    monkeypatch.setattr("bombs.GIB", 1 << 25)
    TABLES[end](tmp_path / end)
    with pytest.raises(CatalogueError, match="would take more than .. MiB|a header .* no end"):
        read_catalogue(tmp_path / end, path_column="file")


def test_a_votable_of_many_columns_and_rows_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("astropy.io.votable.parse", lambda *_, **__: pytest.fail("was parsed"))
    fields = "".join(f'<FIELD name="c{n}" datatype="double"/>' for n in range(9000))
    (tmp_path / "cat.vot").write_text(VOTABLE.format(fields) + "<TR/>" * 50_000)
    with pytest.raises(CatalogueError, match="more than 4096 MiB; .* make FITS, CSV or Parquet"):
        read_catalogue(tmp_path / "cat.vot", path_column="file")
    (tmp_path / "cat.vot").write_text('<!DOCTYPE V [<!ENTITY a "b">]><V>&a;</V>')
    with pytest.raises(CatalogueError, match="declares entities"):
        read_catalogue(tmp_path / "cat.vot", path_column="file")


def test_a_vector_that_no_cell_can_hold_is_left_out(tmp_path):
    (tmp_path / "cat.ecsv").write_bytes(ECSV)
    with pytest.warns(UserWarning, match="the columns id are of types"):
        rows = list(read_catalogue(tmp_path / "cat.ecsv", path_column="file", root=""))
    assert [row.path for row in rows] == ["a"]


@pytest.mark.parametrize("name", ["plain", "words"])
def test_long_texts_of_parquet_take_no_more_memory_than_they_may(name, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("galmorph.tables.formats.parquet.MAX_BYTES", 1 << 18)
    from bombs import write_texts

    path = tmp_path / "cat.parquet"
    write_texts(9000 if name == "words" else 8, 300_000, dictionary=name == "words")(path)
    if name == "words":  # one of 300 kB, which all rows share
        texts = {id(row.columns["file"]) for row in read_catalogue(path, path_column="file")}
        assert len(texts) < 5
    else:
        with pytest.raises(CatalogueError, match="would take more than 0 MiB"):
            list(read_catalogue(path, path_column="file"))


def test_texts_of_any_length_need_no_room_for_the_longest(tmp_path):
    """In a VOTable they have no bound: 30,000 rows as wide as the longest would be 24 GB."""
    cells = ["x" * 200_000, *["a.jpg"] * 29_999]
    rows = "".join(f"<TR><TD>{cell}</TD></TR>" for cell in cells)
    field = '<FIELD name="file" datatype="unicodeChar" arraysize="*"/>'
    end = "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    (tmp_path / "cat.vot").write_text(VOTABLE.format(field) + rows + end)
    assert sum(1 for _ in read_catalogue(tmp_path / "cat.vot", path_column="file")) == 30_000


def test_rows_that_pyarrow_leaves_out_are_missed(tmp_path, monkeypatch):
    """As it does with some damaged pages."""
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(Table({"file": ["a.jpg", "b.jpg"]}), tmp_path / "cat.parquet")
    whole = parquet.ParquetFile.iter_batches
    monkeypatch.setattr(
        parquet.ParquetFile,
        "iter_batches",
        lambda *args, **given: (batch.slice(1) for batch in whole(*args, **given)),
    )
    with pytest.raises(CatalogueError, match="1 of its rows cannot be read"):
        list(read_catalogue(tmp_path / "cat.parquet", path_column="file", root=""))
