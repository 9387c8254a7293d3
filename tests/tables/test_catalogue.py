from __future__ import annotations

import gzip
import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from galmorph.errors import CatalogueError, GalmorphWarning
from galmorph.tables import (
    ColumnSpec,
    open_writer,
    read_catalogue,
    result_columns,
    write_table,
)
from galmorph.tables.columns import class_columns, pick_column
from tests.tables.table_cases import make_block

FORMATS = ["csv", "ecsv", "fits", "vot", "parquet"]


def make_catalogue(rows=5):
    table = Table(
        {
            "objid": np.array([587722984180548043 + i for i in range(rows)]),
            "file": [f"img/galáxia {i}.jpg" for i in range(rows)],
            "RA": np.arange(rows) * 10.5,
            "Dec": np.arange(rows) - 2.25,
            "z_spec": MaskedColumn(np.arange(rows) / 100, mask=[i == 1 for i in range(rows)]),
            "n_votes": MaskedColumn(np.arange(rows) + 40, mask=[i == 2 for i in range(rows)]),
            "label": [("S", "E")[i % 2] for i in range(rows)],
        }
    )
    table["z_spec"].description = "Redshift"
    table["RA"].unit = table["Dec"].unit = "deg"
    table["z_spec"].meta["ucd"] = "src.redshift"
    return table


def save(table, path):
    """With other people's writers, except for Parquet, for which astropy wants pandas."""
    if path.suffix == ".parquet":
        from pyarrow import parquet
        from pyarrow import table as arrow_table

        columns = {name: list(map(_plain, table[name].tolist())) for name in table.colnames}
        parquet.write_table(arrow_table(columns), path)
    elif path.suffix == ".vot":
        table.write(path, format="votable")
    elif path.suffix == ".fits":
        ascii_names = table.copy()
        ascii_names["file"] = [name.replace("á", "a") for name in table["file"]]
        ascii_names.write(path)
    else:
        table.write(path)
    return path


def _plain(value):
    return None if value is None or value is np.ma.masked else value


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return save(make_catalogue(), tmp_path / f"cat.{request.param}")


def test_rows_have_identifier_path_and_position(path):
    catalogue = read_catalogue(path, path_column="file", id_column="objid")
    rows = list(catalogue)
    letter = "a" if path.suffix == ".fits" else "á"
    assert [row.object_id for row in rows] == [str(587722984180548043 + i) for i in range(5)]
    assert rows[3].path == str(path.parent / f"img/gal{letter}xia 3.jpg")
    assert (rows[3].ra, rows[3].dec) == (31.5, 0.75)
    assert [row.object_id for row in catalogue] == [row.object_id for row in rows]


def test_columns_are_carried_with_their_types_and_gaps(path):
    catalogue = read_catalogue(path, path_column="file")
    kinds = {spec.name: spec.kind for spec in catalogue.specs}
    assert kinds == {
        "objid": "int64",
        "file": "str",
        "z_spec": "float64",
        "n_votes": "int64",
        "label_catalogue": "str",
    }
    rows = list(catalogue)
    assert [row.columns["n_votes"] for row in rows] == [40, 41, None, 43, 44]
    assert math.isnan(rows[1].columns["z_spec"]) and rows[2].columns["z_spec"] == 0.02
    assert [row.columns["label_catalogue"] for row in rows] == list("SESES")
    assert rows[4].columns["objid"] == 587722984180548047
    assert rows[0].object_id.endswith("xia 0")


def test_units_and_ucds_come_along_where_the_format_has_them(tmp_path):
    table = make_catalogue()
    table["z_spec"].unit = "mag"
    for form in ("ecsv", "vot"):
        save(table, tmp_path / f"cat.{form}")
        catalogue = read_catalogue(tmp_path / f"cat.{form}", path_column="file")
        spec = next(spec for spec in catalogue.specs if spec.name == "z_spec")
        assert (spec.unit, spec.ucd, spec.description) == ("mag", "src.redshift", "Redshift")


@pytest.mark.parametrize("form", FORMATS)
def test_a_result_is_a_catalogue(form, tmp_path, specs):
    block = make_block(0, 30)
    block["embedding"] = np.ones((30, 3), dtype=np.float32)
    with open_writer(tmp_path / f"out.{form}", specs) as writer:
        writer.append(block)
    catalogue = read_catalogue(
        tmp_path / f"out.{form}", path_column="path", id_column="object_id", root=""
    )
    rows = list(catalogue)
    names = block["object_id"]
    assert [row.object_id for row in rows] == names
    assert [row.path for row in rows] == [f"/d/{name}.jpg" for name in names]
    assert [row.columns["n_votes"] for row in rows] == block["n_votes"].tolist()
    assert [row.columns["barred"] for row in rows] == block["barred"].tolist()
    if form != "csv":
        carried = {spec.name: spec for spec in catalogue.specs}
        assert carried["r_mag"] == specs[-1]
        assert carried["embedding_catalogue"].shape == (3,)
        assert carried["flags_catalogue"].ucd == "meta.code.qual"


def test_memory_is_bounded_by_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("galmorph.tables.formats.text.CHUNK_ROWS", 7)
    path = save(make_catalogue(50), tmp_path / "cat.csv")
    catalogue = read_catalogue(path, path_column="file", id_column="objid")
    assert len(list(catalogue._reader.chunks())) == 8
    assert [row.ra for row in catalogue] == [10.5 * i for i in range(50)]


@pytest.mark.parametrize("form", ["fits", "vot", "parquet"])
def test_chunks_join_without_seams(form, tmp_path, monkeypatch):
    module = {"vot": "base"}.get(form, form)
    monkeypatch.setattr(f"galmorph.tables.formats.{module}.CHUNK_ROWS", 7)
    path = save(make_catalogue(50), tmp_path / f"cat.{form}")
    rows = list(read_catalogue(path, path_column="file", id_column="objid"))
    assert [row.ra for row in rows] == [10.5 * i for i in range(50)]
    assert [row.columns["label_catalogue"] for row in rows] == ["S", "E"] * 25


def write_csv(tmp_path, text, name="cat.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path / name


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "", "-3"], "int64"),
        (["007", "008", "1"], "str"),
        (["9223372036854775807", "0", ""], "int64"),
        (["9223372036854775808", "0", "1"], "str"),
        (["1", "2.5", "nan"], "float64"),
        (["1e5", "inf", ""], "float64"),
        (["587722981742084144", "587722981742084145", "NaN"], "str"),
        (["9007199254740992", "0.5", "-7"], "float64"),
        (["-0", "1", "0.5"], "float64"),
        (["1_000", "1", "1"], "str"),
        (["True", "", "false"], "bool"),
        (["", "", ""], "float64"),
        (["1", "x", ""], "str"),
    ],
)
def test_types_of_csv_are_those_that_lose_nothing(cells, kind, tmp_path):
    lines = [f'f,"{cell}"' for cell in cells]
    path = write_csv(tmp_path, "file,x\n" + "\n".join(lines) + "\n")
    catalogue = read_catalogue(path, path_column="file")
    assert catalogue.specs[1].kind == kind
    values = [row.columns["x"] for row in catalogue]
    if kind == "str":
        assert values == cells


def test_csv_as_people_have_it(tmp_path):
    text = '\ufeff# made by hand\n# with comments\r\nfile, x \r\n"a\nb.jpg",1\r\n\r\nc.jpg,2\r\n'
    path = write_csv(tmp_path, text)
    rows = list(read_catalogue(path, path_column="file"))
    assert [(row.path, row.columns["x"]) for row in rows] == [
        (str(tmp_path / "a\nb.jpg"), 1),
        (str(tmp_path / "c.jpg"), 2),
    ]


def test_names_that_look_like_numbers_are_kept_as_they_are(tmp_path):
    path = write_csv(tmp_path, "id,file\n1.10,2.50\n1.1,2.5\n")
    rows = list(read_catalogue(path, path_column="file", id_column="id"))
    assert [row.object_id for row in rows] == ["1.10", "1.1"]
    assert [row.path for row in rows] == [str(tmp_path / "2.50"), str(tmp_path / "2.5")]


def test_a_column_object_id_holds_the_identifiers(tmp_path):
    path = write_csv(tmp_path, "object_id,id,file\n1.10,x,a.jpg\n1e5,y,b.jpg\n")
    catalogue = read_catalogue(path, path_column="file")
    assert [row.object_id for row in catalogue] == ["1.10", "1e5"]
    assert [spec.name for spec in catalogue.specs] == ["id", "file"]
    other = read_catalogue(path, path_column="file", id_column="id")
    assert [row.object_id for row in other] == ["x", "y"]


def test_blanks_after_commas_are_no_part_of_names(tmp_path):
    path = write_csv(tmp_path, 'id, file\n1, a.jpg\n2, "b, c.jpg"\n')
    rows = list(read_catalogue(path, path_column="file", id_column="id"))
    assert [row.path for row in rows] == [str(tmp_path / "a.jpg"), str(tmp_path / "b, c.jpg")]
    path = write_csv(tmp_path, "id,file\n1, a.jpg\n")
    assert next(iter(read_catalogue(path, path_column="file"))).path == str(tmp_path / " a.jpg")


def test_columns_filled_up_with_blanks(tmp_path):
    """As databases print them, where the header shows that they do."""
    path = write_csv(tmp_path, "id  ,file   ,z\nA 1 ,a.jpg  ,0.5\nB   ,bb.jpg ,\n")
    rows = list(read_catalogue(path, path_column="file", id_column="id"))
    assert [row.object_id for row in rows] == ["A 1", "B"]
    assert [row.path for row in rows] == [str(tmp_path / "a.jpg"), str(tmp_path / "bb.jpg")]
    np.testing.assert_equal([row.columns["z"] for row in rows], [0.5, np.nan])
    path = write_csv(tmp_path, "id,file\nA ,a.jpg\n")
    assert next(iter(read_catalogue(path, path_column="file", id_column="id"))).object_id == "A "


def test_names_that_differ_in_case_only(tmp_path):
    path = write_csv(tmp_path, "file,b,B\na.jpg,60.5,14.2\n")
    catalogue = read_catalogue(path, path_column="file")
    assert next(iter(catalogue)).columns == {"file": "a.jpg", "b": 60.5, "B_catalogue": 14.2}
    result_columns(class_columns(["smooth"]), carried=catalogue.specs)


def test_a_column_without_a_name_gets_one(tmp_path):
    path = write_csv(tmp_path, ",file\n0,a.jpg\n1,b.jpg\n")
    assert [row.columns["column_1"] for row in read_catalogue(path, path_column="file")] == [0, 1]


def test_strings_of_fits_that_are_no_ascii(tmp_path):
    table = Table({"file": ["gal\u00e1xia.jpg".encode(), b"b  "]})
    table.write(tmp_path / "cat.fits")
    rows = list(read_catalogue(tmp_path / "cat.fits", path_column="file", root=""))
    assert [row.path for row in rows] == ["gal\u00e1xia.jpg", "b"]


def test_tabs_and_gzip(tmp_path):
    path = write_csv(tmp_path, "file\tx\na.jpg\t1\n", "cat.tsv")
    assert next(iter(read_catalogue(path, path_column="file"))).columns["x"] == 1
    with gzip.open(tmp_path / "cat.csv.gz", "wt") as file:
        file.write("file,x\na.jpg,1\n")
    assert next(iter(read_catalogue(tmp_path / "cat.csv.gz", path_column="file"))).columns["x"] == 1


def test_relative_paths_start_beside_the_catalogue_or_here(tmp_path, monkeypatch):
    (tmp_path / "cats").mkdir()
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.jpg").touch()
    path = write_csv(tmp_path / "cats", "file\nimg/a.jpg\n/abs/b.jpg\n\n")

    def read(**options):
        return [row.path for row in read_catalogue(path, path_column="file", **options)]

    assert read() == [str(tmp_path / "cats/img/a.jpg"), "/abs/b.jpg"]
    monkeypatch.chdir(tmp_path)
    assert read() == ["img/a.jpg", "/abs/b.jpg"]
    assert read(root="/data") == ["/data/img/a.jpg", "/abs/b.jpg"]


def test_band_columns_and_no_path(tmp_path):
    path = write_csv(tmp_path, "id,g,r\n7,g/x_g.fits,r/x_r.fits\n")
    row = next(iter(read_catalogue(path, band_columns=["g", "r"], root="/d")))
    assert row.band_paths == ("/d/g/x_g.fits", "/d/r/x_r.fits")
    assert (row.path, row.object_id) == ("", "x_g")


def test_positions_alone_are_enough_for_a_mosaic(tmp_path):
    path = write_csv(tmp_path, "name,ra,dec\nA,1.5,2\nB,3,4\n")
    rows = list(read_catalogue(path))
    assert [(row.object_id, row.ra, row.dec, row.path) for row in rows] == [
        ("0", 1.5, 2.0, ""),
        ("1", 3.0, 4.0, ""),
    ]
    assert [spec.name for spec in read_catalogue(path).specs] == ["name"]


@pytest.mark.parametrize(
    ("header", "ra"),
    [
        ("RAJ2000,DEJ2000", 10.0),
        ("RA_ICRS,DE_ICRS", 10.0),
        ("ALPHA_J2000,DELTA_J2000", 10.0),
        ("DEJ2000,RAJ2000", -5.0),
        ("s_ra,s_dec", 10.0),
        ("right_ascension,declination", 10.0),
        ("coord_ra,coord_dec", 10.0),
        ("ra,DEJ2000", None),
    ],
)
def test_positions_by_the_names_of_other_catalogues(header, ra, tmp_path):
    path = write_csv(tmp_path, f"file,{header}\na.jpg,10,-5\n")
    row = next(iter(read_catalogue(path, path_column="file")))
    assert row.ra == ra if ra is not None else math.isnan(row.ra)
    assert set(header.split(",")) - {"ra"} <= set(row.columns)


@pytest.mark.parametrize("value", ["unknown", "true"])
def test_columns_that_only_sound_like_positions_are_carried(value, tmp_path):
    path = write_csv(tmp_path, f"file,RAJ2000,DEJ2000\na.jpg,{value},2\n")
    row = next(iter(read_catalogue(path, path_column="file")))
    assert math.isnan(row.ra) and str(row.columns["RAJ2000"]).lower() == value
    with pytest.raises(CatalogueError, match="column RAJ2000 must hold"):
        options = {"ra_column": "RAJ2000", "dec_column": "DEJ2000"}
        read_catalogue(path, path_column="file", **options)


def test_a_second_pair_of_names_where_the_first_means_something_else(tmp_path):
    text = "file,RAJ2000,DEJ2000,RA_ICRS,DE_ICRS\na.jpg,unknown,2,3,4\n"
    row = next(iter(read_catalogue(write_csv(tmp_path, text), path_column="file")))
    assert (row.ra, row.dec) == (3.0, 4.0)


def test_ra_goes_before_other_names(tmp_path):
    path = write_csv(tmp_path, "RAJ2000,DEJ2000,Ra,Dec\n1,2,3,4\n")
    row = next(iter(read_catalogue(path)))
    assert (row.ra, row.dec) == (3.0, 4.0)


def test_positions_in_other_units_are_converted(tmp_path):
    table = Table({"ra": [1.0], "dec": [0.5], "x": [0.0]})
    table["ra"].unit, table["dec"].unit, table["x"].unit = "hourangle", "rad", "mag"
    table.write(tmp_path / "cat.ecsv")
    row = next(iter(read_catalogue(tmp_path / "cat.ecsv")))
    assert (row.ra, row.dec) == pytest.approx((15.0, math.degrees(0.5)))
    with pytest.raises(CatalogueError, match="column x has the unit 'mag', which is no angle"):
        read_catalogue(tmp_path / "cat.ecsv", ra_column="ra", dec_column="x")


@pytest.mark.parametrize(
    ("unit", "factor"), [("degrees", 1), ("Degrees", 1), ("DEG", 1), ("h", 15), ("hours", 15)]
)
def test_units_as_people_write_them(unit, factor, tmp_path):
    columns = [fits.Column(name, "D", unit, array=[1.5]) for name in ("RA", "DEC")]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "cat.fits")
    row = next(iter(read_catalogue(tmp_path / "cat.fits")))
    assert (row.ra, row.dec) == (1.5 * factor, 1.5 * factor)


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ("10:30:00", "-0:30:00"),
        ("10 30 00.0", "-00 30 00"),
        ("10h30m00s", "-0d30m00s"),
        ("157.5", "-0.5"),
    ],
)
def test_sexagesimal_positions_are_read(ra, dec, tmp_path):
    text = f"ra,dec\n{ra},{dec}\nunknown,unknown\n,\n"
    rows = list(read_catalogue(write_csv(tmp_path, text)))
    assert (rows[0].ra, rows[0].dec) == pytest.approx((157.5, -0.5))
    assert all(math.isnan(value) for row in rows[1:] for value in (row.ra, row.dec))


def test_text_in_a_column_of_degrees_begins_with_degrees(tmp_path):
    table = Table({"ra": ["10:30:00"], "dec": ["4:15:00"]})
    table["ra"].unit = table["dec"].unit = "deg"
    table.write(tmp_path / "cat.fits")
    row = next(iter(read_catalogue(tmp_path / "cat.fits")))
    assert (row.ra, row.dec) == pytest.approx((10.5, 4.25))


def test_names_of_the_result_are_not_taken(tmp_path):
    header = "file,flags,flags_catalogue,P_bar,Treatment"
    path = write_csv(tmp_path, f"{header}\na.jpg,1,2,3,4\n")
    catalogue = read_catalogue(path, path_column="file")
    assert [spec.name for spec in catalogue.specs] == [
        "file",
        "flags_catalogue2",
        "flags_catalogue",
        "P_bar_catalogue",
        "Treatment_catalogue",
    ]
    assert next(iter(catalogue)).columns == {
        "file": "a.jpg",
        "flags_catalogue2": 1,
        "flags_catalogue": 2,
        "P_bar_catalogue": 3,
        "Treatment_catalogue": 4,
    }


def test_an_empty_path_keeps_its_row(tmp_path):
    path = write_csv(tmp_path, "id,file\n1,a.jpg\n2,\n")
    assert [row.path for row in read_catalogue(path, path_column="file", root="/d")] == [
        "/d/a.jpg",
        "",
    ]


def test_a_catalogue_without_rows(path):
    table = make_catalogue(3)[:0]
    path.unlink()
    if path.suffix == ".parquet":
        pytest.skip("types of an empty Arrow table are null")
    catalogue = read_catalogue(save(table, path), path_column="file")
    assert list(catalogue) == []


def test_columns_that_no_result_can_hold_are_left_out_aloud(tmp_path):
    table = Table({"file": ["a"], "c": np.array([1j]), "m": np.zeros((1, 2, 2)), "x": [1]})
    table.write(tmp_path / "cat.fits")
    with pytest.warns(GalmorphWarning, match="the columns c, m are of types"):
        catalogue = read_catalogue(tmp_path / "cat.fits", path_column="file")
    assert [spec.name for spec in catalogue.specs] == ["file", "x"]
    with pytest.raises(CatalogueError, match="column c does not hold one value per row"):
        read_catalogue(tmp_path / "cat.fits", path_column="c")


def test_types_of_other_surveys(tmp_path):
    columns = [
        fits.Column("file", "5A", array=["a.jpg"]),
        fits.Column("u2", "I", bzero=2**15, array=np.array([65535], "u2")),
        fits.Column("byte", "B", array=np.array([200], "u1"), null=255),
        fits.Column("scaled", "I", array=np.array([3], "i2")),
        fits.Column("flux", "3E", array=np.ones((1, 3), "f4"), unit="nanomaggy"),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "cat.fits")
    fits.setval(tmp_path / "cat.fits", "TSCAL4", value=0.5, ext=1)
    catalogue = read_catalogue(tmp_path / "cat.fits", path_column="file")
    kinds = {spec.name: spec.kind for spec in catalogue.specs}
    assert kinds["u2"] == "int32"
    assert kinds["byte"] == "int16"
    assert kinds["flux"] == "float32[3]"
    row = next(iter(catalogue)).columns
    assert (row["u2"], row["byte"], row["scaled"]) == (65535, 200, 1.5)
    np.testing.assert_array_equal(row["flux"], [1, 1, 1])
    assert catalogue.specs[-1] == ColumnSpec("flux", "float32", "nanomaggy", shape=(3,))


@pytest.mark.parametrize("form", ["ecsv", "fits", "vot", "parquet"])
def test_identifiers_beyond_int64_keep_every_digit(form, tmp_path):
    path, number = tmp_path / f"cat.{form}", 2**63 + 5
    table = Table({"file": ["a.jpg", "b.jpg"], "id": np.array([number, 7], dtype="u8")})
    if form == "parquet":
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(
            pa.table({name: np.asarray(table[name]) for name in table.colnames}), path
        )
    elif form == "vot":  # which has no such type
        write_table(table, path)
    else:
        table.write(path)
    catalogue = read_catalogue(path, path_column="file", id_column="id")
    assert [row.object_id for row in catalogue] == [str(number), "7"]
    assert [row.columns["id"] for row in catalogue] == [str(number), "7"]


@pytest.mark.parametrize("role", ["path_column", "id_column", "ra_column"])
def test_a_missing_column_lists_those_there_are(role, path):
    options = {"path_column": "file", role: "nope"}
    with pytest.raises(CatalogueError, match=r"no column nope; there are: objid, file, RA, Dec"):
        read_catalogue(path, **options)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n", {}, "which column holds the paths .*the positions .*there are: a, b"),
        ("a,b\n1\n", {"path_column": "a"}, "row 1 has 1 cells, the header 2"),
        ("a,a\n1,2\n", {"path_column": "a"}, "two columns are named 'a'"),
        ("", {"path_column": "a"}, "the file is empty"),
        ("a,b\n1,2\n", {"path_column": "a", "ra_column": "b"}, "of both ra and dec"),
        ("f,ra,dec\nx,NGC 1,4\n", {"path_column": "f"}, "column ra must hold angles.*not 'NGC 1'"),
        ("f,ra,dec\nx,true,4\n", {"path_column": "f"}, "column ra must hold numbers, not bool"),
        ("# %ECSV 1.0\n# ---\n# datatype: [\na\n", {"path_column": "a"}, "cannot be read"),
    ],
)
def test_a_wrong_catalogue_says_what_is_wrong(text, options, message, tmp_path):
    with pytest.raises(CatalogueError, match=message) as info:
        read_catalogue(write_csv(tmp_path, text), **options)
    assert str(info.value).startswith(str(tmp_path / "cat.csv"))


@pytest.mark.parametrize("form", ["fits", "vot", "parquet", "csv"])
@pytest.mark.filterwarnings("ignore")
def test_garbage_is_an_error_that_names_the_file(form, tmp_path):
    (tmp_path / f"cat.{form}").write_bytes(b"\x89PNG\r\n\x00\xff" * 50)
    with pytest.raises(CatalogueError, match=rf"cat\.{form}: "):
        read_catalogue(tmp_path / f"cat.{form}", path_column="x")


def test_no_file_and_no_format(tmp_path):
    with pytest.raises(CatalogueError, match="there is no such file"):
        read_catalogue(tmp_path / "cat.csv", path_column="x")
    with pytest.raises(CatalogueError, match=r"suffix '\.doc'; use one of \.csv, \.tsv"):
        read_catalogue(tmp_path / "cat.doc", path_column="x")


def test_an_image_is_no_catalogue(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "cat.fits")
    with pytest.raises(CatalogueError, match="holds no table"):
        read_catalogue(tmp_path / "cat.fits", path_column="x")


def test_names_of_columns_become_one_line(tmp_path):
    path = write_csv(tmp_path, '"file\nname","mag\r\n(AB)",mag (AB)\na.jpg,17.5,18.5\n')
    catalogue = read_catalogue(path, path_column="file\nname", root="")
    assert [spec.name for spec in catalogue.specs] == [
        "file name",
        "mag (AB)",
        "mag (AB)_catalogue",
    ]
    row = next(iter(catalogue))
    assert row.path == row.columns["file name"] == "a.jpg"
    assert pick_column(row.columns, "file\nname") == "a.jpg"
    assert (row.columns["mag (AB)"], row.columns["mag (AB)_catalogue"]) == (17.5, 18.5)


def test_names_that_formats_add_are_not_taken(tmp_path):
    path = write_csv(tmp_path, "file,e_000,E_1234,e_01,provenance,p\na,1,2,3,4,5\n")
    assert [spec.name for spec in read_catalogue(path, path_column="file").specs] == [
        "file",
        "e_000_catalogue",
        "E_1234_catalogue",
        "e_01",
        "provenance_catalogue",
        "p",
    ]


@pytest.mark.parametrize(
    ("letter", "kind", "null"), [("I", "u2", -(2**15)), ("J", "u4", -(2**31)), ("K", "u8", 5)]
)
def test_gaps_in_unsigned_numbers(letter, kind, null, tmp_path):
    """TNULL names the stored number, which lies 2^15 and so on below the number itself."""
    zero = 2 ** (np.dtype(kind).itemsize * 8 - 1)
    numbers = np.array([1, 2, null + zero], kind)
    columns = [
        fits.Column("file", "1A", array=["a", "b", "c"]),
        fits.Column("n", letter, bzero=zero, null=null, array=numbers),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "cat.fits")
    values = [row.columns["n"] for row in read_catalogue(tmp_path / "cat.fits", path_column="file")]
    assert values == (["1", "2", ""] if kind == "u8" else [1, 2, None])


def test_gaps_in_unsigned_numbers_of_astropy(tmp_path):
    numbers = MaskedColumn(np.array([1, 2, 3], "u2"), mask=[False, True, False])
    Table({"file": ["a", "b", "c"], "n": numbers}).write(tmp_path / "cat.fits")
    rows = read_catalogue(tmp_path / "cat.fits", path_column="file")
    assert [row.columns["n"] for row in rows] == [1, None, 3]


def test_a_path_that_no_disk_can_have_is_an_error_of_its_row(tmp_path):
    path = write_csv(tmp_path, f"file\n{'x' * 300}.jpg\na.jpg\n")
    rows = list(read_catalogue(path, path_column="file"))
    assert rows[1].path == str(tmp_path / "a.jpg")


def save_vectors(path, vectors):
    """Two vectors per column, None where one or a number in it is missing."""
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        columns = {name: pa.array(rows, pa.list_(pa.int32(), 2)) for name, rows in vectors.items()}
        table = pa.table({"file": ["a", "b"], **columns})
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
        return
    table = Table({"file": ["a", "b"]})
    for name, rows in vectors.items():
        whole = [row or [None, None] for row in rows]
        mask = [[number is None for number in row] for row in whole]
        table[name] = MaskedColumn([[n or 0 for n in row] for row in whole], mask=mask, dtype="i4")
    save(table, path)


@pytest.mark.parametrize("form", ["ecsv", "fits", "vot", "parquet"])
@pytest.mark.filterwarnings("ignore:.*W31")
def test_vectors_of_whole_numbers_with_gaps_are_left_out_aloud(form, tmp_path):
    path = tmp_path / f"cat.{form}"
    save_vectors(
        path,
        {
            "whole": [[1, 2], [3, 4]],
            "element": [[1, None], [3, 4]],
            "row": [[1, 2], None],
        },
    )
    with pytest.warns(GalmorphWarning, match="the columns element, row are of types"):
        catalogue = read_catalogue(path, path_column="file")
    assert [spec.kind for spec in catalogue.specs] == ["str", "int32[2]"]
    assert [row.columns["whole"].tolist() for row in catalogue] == [[1, 2], [3, 4]]


def test_the_header_table_of_a_fits_ldac_file_is_no_catalogue(tmp_path):
    cards = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", "80A", array=["SIMPLE = T"])], name="LDAC_IMHEAD"
    )
    objects = fits.BinTableHDU.from_columns(
        [fits.Column("file", "9A", array=["a.fits", "b.fits"])], name="LDAC_OBJECTS"
    )
    fits.HDUList([fits.PrimaryHDU(), cards, objects]).writeto(tmp_path / "cat.fits")
    rows = list(read_catalogue(tmp_path / "cat.fits", path_column="file", root="/d"))
    assert [row.path for row in rows] == ["/d/a.fits", "/d/b.fits"]


def test_names_of_columns_behind_a_comment_sign(tmp_path):
    path = write_csv(tmp_path, "#path,ra,dec\na.jpg,1,2\nb.jpg,3,4\n")
    with pytest.raises(
        CatalogueError, match="no column path; .*if #path,ra,dec are the names, take"
    ):
        read_catalogue(path, path_column="path")
    path = write_csv(tmp_path, "# made by hand\nfile,ra\na.jpg,1\n")
    with pytest.raises(CatalogueError, match=r"there are: file, ra$"):
        read_catalogue(path, path_column="path")
