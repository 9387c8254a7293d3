"""Paths, folders, globs and band patterns to sources."""

from __future__ import annotations

import os
import pickle
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from mutants import make_containers
from synthetic import make_flux, write_fits, write_jpeg

from galmorph.errors import (
    BandError,
    ImageError,
    MissingExtraError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images import containers
from galmorph.images.archives import Member
from galmorph.images.containers import split_address
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.inputs import to_sources
from galmorph.images.read import read_cutout
from galmorph.images.source import Lost, Source, make_object_id
from galmorph.images.stacks import StackItem
from galmorph.preprocessing.render import render
from galmorph.settings import ReadOptions


def ids(*args: object, **options: object) -> list[str]:
    return [source.object_id for source in discover_sources(*args, **options)]  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.JPG", "sub/d.png", "sub/deep/e.fits", "notes.txt", ".hidden.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "in"


def test_folder_is_sorted_and_takes_images_only(folder: Path) -> None:
    assert ids(folder) == ["a", "b", "d", "e"]
    assert ids(folder, recursive=False) == ["a", "b"]


def test_arguments_keep_their_order(folder: Path) -> None:
    assert ids([folder / "b.jpg", folder / "sub", folder / "a.JPG"]) == ["b", "d", "e", "a"]


def test_glob(folder: Path) -> None:
    assert ids(str(folder / "*.*[gG]")) == ["a", "b"]
    assert ids(str(folder / "**" / "*.fits")) == ["e"]


def test_a_name_with_glob_characters_is_a_name(folder: Path) -> None:
    (folder / "x[1].jpg").write_bytes(b"x")
    assert ids(str(folder / "x[1].jpg")) == ["x[1]"]


def test_missing_arguments_are_said_before_work_starts(folder: Path) -> None:
    with pytest.raises(UnreadableImageError, match="none: there is no such file or folder"):
        discover_sources([folder, folder / "none"])
    with pytest.raises(UnreadableImageError, match=r"\*\.webp: no file matches"):
        discover_sources(str(folder / "*.webp"))


def test_discovery_is_lazy(tmp_path: Path) -> None:
    # A folder that goes away after the start is a row with an error, not a crash.
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
    sources = discover_sources([tmp_path / "one", tmp_path / "two"])
    assert next(sources).object_id == "a"
    (tmp_path / "two" / "a.jpg").unlink()
    (tmp_path / "two").rmdir()
    (last,) = list(sources)
    with pytest.raises(ImageError, match="two"):
        read_cutout(last)


def test_a_named_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    assert ids(folder / "notes.txt") == ["notes"]


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    assert ids(folder) == ["a", "b", "d", "e"]


def test_very_deep_folders(tmp_path: Path) -> None:
    start = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(420):  # longer than PATH_MAX
            os.mkdir("d" * 10)
            os.chdir("d" * 10)
    finally:
        os.chdir(start)
    sources = list(discover_sources(tmp_path))
    assert len(sources) <= 1  # at most one remark that it could not go on
    for source in sources:
        with pytest.raises(ImageError, match="cannot be listed"):
            read_cutout(source)
    _remove_deep(tmp_path)


def _remove_deep(top: Path) -> None:
    # shutil.rmtree of older Pythons is recursive and gives up.
    here = os.open(top, os.O_RDONLY)
    depth = 0
    while True:
        try:
            inner = os.open("d" * 10, os.O_RDONLY, dir_fd=here)
        except FileNotFoundError:
            break
        os.close(here)
        here, depth = inner, depth + 1
    for _ in range(depth):
        parent = os.open("..", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = parent
        os.rmdir("d" * 10, dir_fd=here)
    os.close(here)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_without_permission(folder: Path) -> None:
    (folder / "sub").chmod(0)
    try:
        sources = list(discover_sources(folder))
    finally:
        (folder / "sub").chmod(0o755)
    with pytest.raises(ImageError, match="cannot be listed"):
        read_cutout(sources[-1])


def test_strange_names(tmp_path: Path) -> None:
    names = ["line\nbreak.jpg", "galaxie é 銀河.jpg", os.fsdecode(b"bytes\xff.jpg"), "a,b;'\".jpg"]
    for name in names:
        write_jpeg(tmp_path / name)
    cutouts = [read_cutout(source) for source in discover_sources(tmp_path)]
    assert sorted(cutout.object_id for cutout in cutouts) == sorted(
        ["line\\nbreak", "galaxie é 銀河", "bytes\\udcff", "a,b;'\""]
    )
    for cutout in cutouts:
        assert "\n" not in cutout.path
        cutout.path.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b/NGC 1.fits", "NGC 1"),
        ("J0123+0456.fits.gz", "J0123+0456"),
        ("x.tar.gz", "x"),
        ("noext", "noext"),
        ("146.71_-1.04.jpg", "146.71_-1.04"),
        (".jpg", ".jpg"),
    ],
)
def test_identifier_of_a_name(name: str, expected: str) -> None:
    if name == "x.tar.gz":
        expected = "x"
    assert make_object_id(name) == expected


def test_sources_are_light_and_picklable(folder: Path) -> None:
    source = next(discover_sources(folder))
    assert pickle.loads(pickle.dumps(source)) == source
    assert len(pickle.dumps(source)) < 1000


def test_one_file_per_band(tmp_path: Path) -> None:
    flux = make_flux()
    for band, plane in zip("grz", flux, strict=True):
        write_fits(tmp_path / f"gal_1_{band}.fits", plane)
    write_fits(tmp_path / "other.fits", flux[0])
    sources = list(discover_sources(tmp_path, bands_from_name="{id}_{band}.fits"))
    assert [source.object_id for source in sources] == ["gal_1", "other"]
    cutout = read_cutout(sources[0])
    assert cutout.bands == ("g", "r", "z")
    np.testing.assert_array_equal(cutout.array, flux)
    assert cutout.pixel_scale == pytest.approx(0.262)
    reordered = read_cutout(sources[0], options=ReadOptions(bands=("z", "g")))
    np.testing.assert_array_equal(reordered.array, flux[[2, 0]])


def test_band_first_patterns_and_band_folders(tmp_path: Path) -> None:
    for name in ("g-1.fits", "r-1.fits", "g-2.fits", "r-2.fits"):
        write_fits(tmp_path / name, make_flux()[0])
    sources = list(discover_sources(tmp_path, bands_from_name="{band}-{id}.fits"))
    assert [(s.object_id, [b for b, _ in s.files]) for s in sources] == [
        ("1", ["g", "r"]),
        ("2", ["g", "r"]),
    ]


def band_paths(found: Iterable[Source]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Identifier, bands and names (folder and file) of each source."""
    return [
        (s.object_id, [(b, "/".join(Path(f.path).parts[-2:])) for b, f in s.files]) for s in found
    ]


def test_ids_are_those_of_their_folder(tmp_path: Path) -> None:
    for name in ("run1/X_g.fits", "run1/X_r.fits", "run2/X_g.fits", "run2/X_r.fits"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_fits(tmp_path / name, make_flux()[0])
    expected = [
        ("X", [("g", "run1/X_g.fits"), ("r", "run1/X_r.fits")]),
        ("X", [("g", "run2/X_g.fits"), ("r", "run2/X_r.fits")]),
    ]
    for argument in (str(tmp_path / "*" / "*.fits"), str(tmp_path)):
        found = discover_sources(argument, bands_from_name="{id}_{band}.fits")
        assert band_paths(found) == expected
    # a pattern that holds the folder joins across it
    (joined,) = discover_sources(
        [str(tmp_path / "run1" / "X_g.fits"), str(tmp_path / "run2" / "X_r.fits")],
        bands_from_name="*/{id}_{band}.fits",
    )
    assert [band for band, _ in joined.files] == ["g", "r"]


def test_folder_may_be_written_in_two_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("X_g.fits", "X_r.fits"):
        write_fits(tmp_path / name, make_flux()[0])
    (source,) = discover_sources(["X_g.fits", "./X_r.fits"], bands_from_name="{id}_{band}.fits")
    assert [band for band, _ in source.files] == ["g", "r"]


def test_band_named_twice(tmp_path: Path) -> None:
    for name in ("X-g_1.fits", "X-r_1.fits", "X-r_2.fits"):
        write_fits(tmp_path / name, make_flux()[0])
    (source,) = discover_sources(tmp_path, bands_from_name="{id}-{band}_*.fits")
    with pytest.raises(
        BandError, match=r"X-r_1\.fits and .*X-r_2\.fits are both band 'r' of.*pattern"
    ):
        read_cutout(source)


@pytest.mark.parametrize("arguments", [["bd"], ["bd/g", "bd/r"], ["bd/*/*.fits"]])
def test_one_folder_per_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("g/A.fits", "g/B.fits", "r/A.fits", "r/B.fits"):
        (tmp_path / "bd" / name).parent.mkdir(parents=True, exist_ok=True)
        write_fits(tmp_path / "bd" / name, make_flux()[0])
    found = discover_sources(arguments, bands_from_name="{band}/{id}.fits")
    assert band_paths(found) == [
        ("A", [("g", "g/A.fits"), ("r", "r/A.fits")]),
        ("B", [("g", "g/B.fits"), ("r", "r/B.fits")]),
    ]


def test_bands_of_different_zero_points(tmp_path: Path) -> None:
    flux = make_flux()
    for n, (band, zeropoint) in enumerate([("g", 22.5), ("r", 25.0), ("z", 30.0)]):
        counts = flux[n] * np.float32(10 ** ((zeropoint - 22.5) / 2.5))
        write_fits(tmp_path / f"a_{band}.fits", counts, MAGZERO=zeropoint, BUNIT="adu")
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    cutout = read_cutout(source)
    np.testing.assert_allclose(cutout.array, flux, rtol=1e-5)
    assert (cutout.unit, cutout.notes["zeropoint"]) == ("adu", "22.5")
    assert cutout.notes["band_factors"] == "1,0.1,0.001"
    turned = read_cutout(source, options=ReadOptions(bands=("r", "g")))
    np.testing.assert_allclose(turned.array, 10 * flux[[1, 0]], rtol=1e-5)
    assert turned.notes["zeropoint"] == "25.0"
    write_fits(tmp_path / "a_g.fits", make_flux()[0])
    cutout = read_cutout(source)
    assert (cutout.unit, cutout.notes["zeropoint"]) == ("adu", "25.0")
    assert cutout.notes["uncalibrated"] == "1"


def test_bands_of_units_that_cannot_be_compared(tmp_path: Path) -> None:
    write_fits(tmp_path / "a_g.fits", make_flux()[0], BUNIT="nanomaggy")
    write_fits(tmp_path / "a_r.fits", make_flux()[1], BUNIT="adu")
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    with pytest.raises(
        BandError, match=r"a_r\.fits: .*'adu', no zero.*a_g\.fits.*nanomaggy.*MAGZERO"
    ):
        read_cutout(source)
    assert read_cutout(source, options=ReadOptions(bands=("r",))).unit == "adu"


def test_band_missing_for_one_galaxy(tmp_path: Path) -> None:
    write_fits(tmp_path / "a_g.fits", make_flux()[0])
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    with pytest.raises(BandError, match="no band r; the file has g"):
        read_cutout(source, options=ReadOptions(bands=("g", "r")))


def test_bands_of_different_sizes(tmp_path: Path) -> None:
    write_fits(tmp_path / "a_g.fits", make_flux()[0])
    write_fits(tmp_path / "a_r.fits", make_flux(side=32)[0])
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    with pytest.raises(UnsupportedImageError, match="bands of different sizes"):
        read_cutout(source)


def test_bad_pattern() -> None:
    with pytest.raises(BandError, match=r"must hold \{id\} and \{band\}"):
        discover_sources(".", bands_from_name="{id}.fits")


def test_location_of_members() -> None:
    addresses = {
        Member("a", "s.tar", "x/a.jpg", 512, 9).address: ("s.tar", "x/a.jpg", None),
        StackItem("a", "f.h5", "images", 12, open).address: ("f.h5", "images", 12),
        StackItem("a", "f.npy", "", 3, open).address: ("f.npy", "", 3),
        StackItem("a", "f.npy", "", None, open).address: ("f.npy", "", None),
        ImageFile("a", "a::b[3].jpg").address: ("a::b[3].jpg", "", None),
    }
    assert list(addresses) == [
        "s.tar::x/a.jpg",
        "f.h5::images[12]",
        "f.npy[3]",
        "f.npy",
        "a::b[3].jpg",
    ]
    for address, parts in addresses.items():
        assert split_address(address) == parts


@pytest.mark.parametrize("bands", ["G R Z", "HSC-G HSC-R HSC-Z", "z g r"])
def test_bands_of_file_names_are_known_in_any_letters(tmp_path: Path, bands: str) -> None:
    planes = dict(zip("grz", make_flux(), strict=True))
    for name in bands.split():
        write_fits(tmp_path / f"a_{name}.fits", planes[name[-1].lower()])
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    cutout = read_cutout(source)
    assert sorted(cutout.bands) == ["g", "r", "z"]
    for options in (ReadOptions(), ReadOptions(bands=tuple(bands.split()))):
        cutout = read_cutout(source, options=options)
        for band, plane in zip(cutout.bands, cutout.array, strict=True):
            np.testing.assert_array_equal(plane, planes[band])
        assert render(cutout).notes["bands"] == "g,r,z"


def test_some_bands_of_capital_letters(tmp_path: Path) -> None:
    """Which system R and I are of is told by all files, also by those that are not taken."""
    for name in "GRI":
        write_fits(tmp_path / f"a_{name}.fits", make_flux()[0])
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    assert read_cutout(source, options=ReadOptions(bands=("R", "I"))).bands == ("r", "i")


def test_band_files_of_different_sky(tmp_path: Path) -> None:
    said = r"a_g\.fits and .*a_r\.fits show different .*: centres 3238 arcsec"
    write_fits(tmp_path / "a_g.fits", make_flux()[0])
    write_fits(tmp_path / "a_r.fits", make_flux()[1], CRVAL1=151.0)
    write_fits(tmp_path / "a_z.fits", make_flux()[2], CRPIX1=33.5)
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(source)
    assert read_cutout(source, options=ReadOptions(bands=("g", "z"))).bands == ("g", "z")


def test_band_files_without_a_wcs_are_taken_as_they_are(tmp_path: Path) -> None:
    write_fits(tmp_path / "a_g.fits", make_flux()[0])
    fits.PrimaryHDU(make_flux()[1]).writeto(tmp_path / "a_r.fits")
    (source,) = discover_sources(tmp_path, bands_from_name="{id}_{band}.fits")
    assert read_cutout(source).bands == ("g", "r")


def test_shards_by_pattern(tmp_path: Path) -> None:
    jpeg = write_jpeg(tmp_path / "a.jpg")
    for number in range(3):
        with tarfile.open(tmp_path / f"shard-{number:03}.tar", "w") as tar:
            tar.add(jpeg, f"{number}.jpg")
    found = list(discover_sources(f"{tmp_path}/shard-{{000..002}}.tar"))
    assert [source.object_id for source in found] == ["0", "1", "2"]
    with pytest.raises(UnreadableImageError, match=r"shard-003\.tar: there is no such file"):
        discover_sources(f"{tmp_path}/shard-{{000..003}}.tar")


def test_files_passed_over_are_counted_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("a.csv", "b.CSV", "c.txt.gz", "d", ".hidden", "below/e.csv", "f.jpg"):
        (tmp_path / name).touch()
    passed_over: Counter[str] = Counter()
    found = list(discover_sources(tmp_path, passed_over=passed_over))
    assert [source.object_id for source in found] == ["f"]
    assert passed_over == {".csv": 3, ".gz": 1, "no suffix": 1}


@pytest.mark.parametrize("path", ["in/a.jpg", "in/link.jpg", "a.jpg", "in/../a.jpg", "in2/a.jpg"])
def test_a_run_may_be_confined_to_a_folder(tmp_path: Path, path: str) -> None:
    for folder in ("in", "in2"):
        (tmp_path / folder).mkdir()
        write_jpeg(tmp_path / folder / "a.jpg")
    write_jpeg(tmp_path / "a.jpg")
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "a.jpg")
    options = ReadOptions(within=str(tmp_path / "in"))
    if path == "in/a.jpg":
        read_cutout(tmp_path / path, options=options)
        return
    with pytest.raises(UnsupportedImageError, match="outside the folder of --within"):
        read_cutout(str(tmp_path / path), options=options)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.parquet", "a.h5", "a.tar"])
@pytest.mark.parametrize("how", ["path", "link", "column", "item", "mixed"])
def test_no_container_outside_the_folder_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for folder in ("", "in/"):
        Path(folder + name).write_bytes(make_containers()[name[2:]])
    Path(f"in/link.{name[2:]}").symlink_to(tmp_path / name)
    path = {"link": f"in/link.{name[2:]}", "item": next(discover_sources(name)).address}
    given = path.get(how, name)
    images = {"column": np.array([name], object), "mixed": iter([name])}.get(how, given)
    monkeypatch.setattr(containers, "open_regular", lambda *_: pytest.fail("it is opened"))
    (found,) = to_sources(images, within="in")
    assert found.address == given
    with pytest.raises(UnsupportedImageError, match="outside the folder of --within"):
        read_cutout(found)
    monkeypatch.undo()
    inside = to_sources(str(tmp_path / "in" / name), within=str(tmp_path / "in"))
    assert not any(isinstance(source, Lost) for source in inside)


def test_a_folder_whose_zarr_needs_an_extra_loses_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jpeg(tmp_path / "a.jpg")
    (tmp_path / "s.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    found = list(discover_sources(tmp_path))
    assert [source.object_id for source in found] == ["a", "s"]
    with pytest.raises(MissingExtraError, match=r"zarr is needed to read .*s\.zarr"):
        read_cutout(found[1])
