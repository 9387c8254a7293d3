"""Whatever a user hands over from Python."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, NDData
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.masked import Masked
from astropy.wcs import WCS
from PIL import Image
from synthetic import make_flux, make_header, make_profile, make_rgb, write_fits, write_jpeg

from galmorph.errors import (
    AmbiguousShapeError,
    BandError,
    GalmorphError,
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.flags import Flags
from galmorph.images.arrays import cutout_from_array
from galmorph.images.cutout import Cutout
from galmorph.images.inputs import to_sources
from galmorph.images.memory import InMemory
from galmorph.images.read import read_cutout
from galmorph.preprocessing.render import render
from galmorph.settings import ReadOptions

RGB = make_rgb()
PLANES = RGB.transpose(2, 0, 1)
FLUX = make_flux()
GRZ = ReadOptions(bands=("g", "r", "z"))


def read_all(images: Any, options: ReadOptions | None = None) -> list[Cutout]:
    return [read_cutout(s, options=options or ReadOptions()) for s in to_sources(images)]


def read_one(image: Any, options: ReadOptions | None = None) -> Cutout:
    (cutout,) = read_all(image, options)
    return cutout


@pytest.mark.parametrize("array", [RGB, PLANES, np.asfortranarray(RGB), RGB[::-1][::-1]])
def test_colour_arrays(array: Any) -> None:
    cutout = read_one(array)
    np.testing.assert_array_equal(cutout.array, PLANES)
    assert (cutout.kind, cutout.object_id) == ("rendered", "0")


def test_floats_in_the_unit_interval_are_rendered() -> None:
    cutout = read_one(RGB / 255)
    assert (cutout.kind, cutout.array.dtype) == ("rendered", np.float32)
    np.testing.assert_allclose(cutout.array, PLANES / 255, atol=1e-7)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_are_rendered(dtype: str) -> None:
    cutout = read_one((RGB.astype(np.uint16) * 257).astype(dtype))
    assert cutout.kind == "rendered"
    np.testing.assert_allclose(cutout.array, PLANES / 255, atol=1e-6)


def test_grey_arrays() -> None:
    for array in (RGB[:, :, 0], RGB[:, :, :1], RGB[None, :, :, 0]):
        cutout = read_one(array)
        np.testing.assert_array_equal(cutout.array[2], RGB[:, :, 0])
        assert cutout.flags == Flags.OUTSIDE_COLOUR_DOMAIN


def test_rgba_array() -> None:
    opaque = np.full((64, 64, 1), 255, dtype=np.uint8)
    np.testing.assert_array_equal(read_one(np.concatenate([RGB, opaque], axis=2)).array, PLANES)


def test_flux_arrays_need_names() -> None:
    with pytest.raises(BandError, match="it is flux, because it has the unit adu"):
        cutout_from_array(np.zeros((3, 9, 9), np.float32), options=ReadOptions(), unit="adu")
    with pytest.raises(BandError, match=r"it is flux, because .*floats in \[0, 1\].*--bands g,r,z"):
        read_one(FLUX)
    cutout = read_one(FLUX, GRZ)
    assert (cutout.kind, cutout.bands) == ("flux", ("g", "r", "z"))
    np.testing.assert_array_equal(cutout.array, FLUX)
    np.testing.assert_array_equal(read_one(np.moveaxis(FLUX, 0, 2), GRZ).array, FLUX)


def test_one_flux_plane_needs_no_name() -> None:
    cutout = read_one(FLUX[0])
    assert (cutout.kind, cutout.bands) == ("flux", ("unknown",))


def test_five_bands_with_names() -> None:
    names = ("u", "g", "r", "i", "z")
    cutout = read_one(make_flux(names), ReadOptions(bands=names))
    assert cutout.array.shape == (5, 64, 64)


@pytest.mark.parametrize(
    "shape", [(3, 64, 3), (10, 64, 64), (64,), (1, 1, 1, 64, 64), (), (1, 64, 3)]
)
def test_ambiguous_shapes_are_refused_with_the_way_out(shape: tuple[int, ...]) -> None:
    with pytest.raises(AmbiguousShapeError, match=r"give one image as \(y, x\), \(y, x, 3\)"):
        read_all(np.zeros(shape, dtype=np.uint8))


def test_stacks_are_taken_apart() -> None:
    stack = np.stack([RGB, 255 - RGB])
    for array in (stack, stack.transpose(0, 3, 1, 2)):
        cutouts = read_all(array)
        assert [cutout.object_id for cutout in cutouts] == ["0", "1"]
        np.testing.assert_array_equal(cutouts[1].array, 255 - PLANES)


def test_big_endian_arrays() -> None:
    cutout = read_one(FLUX.astype(">f8"), GRZ)
    assert cutout.array.dtype.isnative
    np.testing.assert_array_equal(cutout.array, FLUX)


def test_not_numbers() -> None:
    with pytest.raises(UnsupportedImageError, match="complex128 is not an image"):
        read_one(np.zeros((8, 8), dtype=complex))
    with pytest.raises(UnreadableImageError, match="the array is empty"):
        read_one(np.zeros((0, 8), dtype=np.uint8))


def test_too_large_array() -> None:
    with pytest.raises(ImageTooLargeError, match="more than max_pixels"):
        read_one(RGB, ReadOptions(max_pixels=100))


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(read_one(torch.from_numpy(PLANES.copy())).array, PLANES)
    stack = torch.from_numpy(np.stack([PLANES, PLANES]) / np.float32(255)).requires_grad_()
    assert len(read_all(stack)) == 2
    half = torch.from_numpy(PLANES / np.float32(255)).to(torch.bfloat16)
    np.testing.assert_allclose(read_one(half).array, PLANES / 255, atol=0.005)


def test_bytes_and_file_objects(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg")
    data = path.read_bytes()
    expected = read_cutout(path).array
    for item in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        np.testing.assert_array_equal(read_one(item).array, expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_one(file).array, expected)


def test_fits_bytes(tmp_path: Path) -> None:
    data = write_fits(tmp_path / "a.fits", FLUX, BANDS="grz").read_bytes()
    np.testing.assert_array_equal(read_one(data).array, FLUX)


def test_pil_images() -> None:
    np.testing.assert_array_equal(read_one(Image.fromarray(RGB)).array, PLANES)
    assert read_one(Image.fromarray(RGB[:, :, 0])).flags == Flags.OUTSIDE_COLOUR_DOMAIN


def test_truncated_pil_image(tmp_path: Path) -> None:
    data = write_jpeg(tmp_path / "a.jpg").read_bytes()
    with Image.open(io.BytesIO(data[:800])) as image, pytest.raises(UnreadableImageError):
        read_one(image)


def test_hdu_and_hdu_list_are_flipped() -> None:
    hdu = fits.PrimaryHDU(np.ascontiguousarray(FLUX[:, ::-1]), make_header(BANDS="grz"))
    for item in (hdu, fits.HDUList([hdu])):
        cutout = read_one(item)
        np.testing.assert_array_equal(cutout.array, FLUX)
        assert (cutout.ra, cutout.dec) == pytest.approx((150.1, 2.2), abs=1e-8)


def test_nddata_and_ccddata() -> None:
    wcs = WCS(make_header())
    mask = np.zeros((64, 64), dtype=bool)
    mask[0, 5] = True  # in the bottom row, which is shown last
    plane = np.ascontiguousarray(FLUX[1][::-1])
    data = NDData(plane, wcs=wcs, mask=mask, meta={"FILTER": "r"}, unit=units.Unit("adu"))
    cutout = read_one(data)
    assert (cutout.bands, cutout.unit) == (("r",), "adu")
    assert np.argwhere(np.isnan(cutout.array)).tolist() == [[0, 63, 5]]
    np.testing.assert_array_equal(np.delete(cutout.array, 63, 1)[0], FLUX[1][:63])
    assert cutout.ra == pytest.approx(150.1)
    ccd = CCDData(plane, unit="adu", wcs=wcs)
    assert read_one(ccd).pixel_scale == pytest.approx(0.262)


def test_zero_point_of_ccddata() -> None:
    ccd = CCDData(FLUX[1], unit="adu", meta={"MAGZERO": 25.0})
    assert read_one(ccd).notes["zeropoint"] == "25.0"
    assert "zeropoint" not in read_one(CCDData(FLUX[1], unit="adu")).notes


def test_center_and_fov_cut_a_part_of_ccddata(tmp_path: Path) -> None:
    wcs = WCS(make_header())
    path = write_fits(tmp_path / "a.fits", FLUX[1])
    mask = np.zeros((64, 64), dtype=bool)
    mask[20, 40] = True  # 11 rows below the centre of the frame, 8 columns to its right
    ccd = CCDData(np.ascontiguousarray(FLUX[1][::-1]), unit="adu", wcs=wcs, mask=mask)
    sky = wcs.pixel_to_world(37.5, 25.5)
    center = (float(sky.ra.deg), float(sky.dec.deg))
    for side in (16, 80):  # the second reaches beyond the frame
        options = ReadOptions(center=center, fov=side * 0.262)
        part, expected = read_one(ccd, options), read_cutout(path, options=options)
        masked = (0, side // 2 - 1 + 6, side // 2 - 1 + 3)
        assert np.argwhere(np.isnan(part.array)).tolist() == [list(masked)]
        part.array[masked] = expected.array[masked]
        # beyond the frame stands the median of what is not masked
        np.testing.assert_allclose(part.array, expected.array, atol=1e-4)
        assert (part.ra, part.dec) == pytest.approx((expected.ra, expected.dec), abs=1e-12)
        assert part.flags == expected.flags
        assert part.notes["region"] == expected.notes["region"]
    far = ReadOptions(center=(10.0, 5.0), fov=5.0)
    with pytest.raises(UnsupportedImageError, match="is outside the image"):
        read_one(ccd, far)
    with pytest.raises(UnsupportedImageError, match="no WCS, so "):
        read_one(CCDData(FLUX[1], unit="adu"), far)


def test_part_of_a_large_ccddata_may_be_cut_out() -> None:
    ccd = CCDData(FLUX[1], unit="adu", wcs=WCS(make_header()))
    part = read_one(ccd, ReadOptions(fov=8 * 0.262, max_pixels=100))
    assert part.array.shape == (1, 8, 8)
    with pytest.raises(ImageTooLargeError, match="more than max_pixels"):
        read_one(ccd, ReadOptions(fov=16 * 0.262, max_pixels=100))
    with pytest.raises(ImageError, match="more than max_pixels"):
        read_one(ccd, ReadOptions(max_pixels=100))


def test_mask_of_nddata_with_the_colours_last() -> None:
    mask = np.zeros((64, 64, 3), dtype=bool)
    mask[0, 5, 1] = True
    cutout = read_one(NDData(RGB[::-1].astype(np.float32), mask=mask), GRZ)
    assert np.argwhere(np.isnan(cutout.array)).tolist() == [[1, 63, 5]]
    of_integers = read_one(NDData(RGB[::-1].astype(np.int32), mask=mask), GRZ)
    assert of_integers.bad is not None and np.argwhere(of_integers.bad).tolist() == [[63, 5]]


def test_a_band_that_is_masked_in_whole_is_left_out() -> None:
    mask = np.zeros(FLUX.shape, dtype=bool)
    mask[2] = True
    ccd = CCDData(FLUX, unit="adu", mask=mask)
    for item in (ccd, np.ma.MaskedArray(FLUX, mask), Masked(FLUX, mask)):
        assert render(read_one(item, GRZ)).notes["empty_bands"] == "z"


def test_eight_bit_planes_of_nddata_are_colours() -> None:
    for pixels in (np.ascontiguousarray(PLANES[:, ::-1]), RGB[::-1]):
        cutout = read_one(NDData(pixels))
        assert (cutout.kind, cutout.flags) == ("rendered", Flags.ASSUMED_STRETCH)
        np.testing.assert_array_equal(cutout.array, PLANES)


def test_masked_of_astropy() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[2, 7] = True
    flux = read_one(Masked(FLUX[0] * units.Unit("uJy"), mask))
    assert (flux.unit, flux.bands) == ("uJy", ("unknown",))
    assert np.argwhere(np.isnan(flux.array)).tolist() == [[0, 2, 7]]
    counts = read_one(Masked((1000 * FLUX[0]).astype(np.int32), mask))
    assert counts.bad is not None and np.argwhere(counts.bad).tolist() == [[2, 7]]
    (first, second) = read_all(Masked(np.stack([RGB, RGB]), np.stack([RGB == 0, RGB > 256])))
    assert second.bad is None or not second.bad.any()
    assert first.kind == second.kind == "rendered"


def test_names_of_hdus_are_identifiers_where_all_differ() -> None:
    named = [fits.ImageHDU(plane, name=f"GAL{n}") for n, plane in enumerate(FLUX)]
    assert [cutout.object_id for cutout in read_all(named)] == ["GAL0", "GAL1", "GAL2"]
    named[2].name = "GAL0"
    assert [cutout.object_id for cutout in read_all(named)] == ["0", "1", "2"]
    assert [cutout.object_id for cutout in read_all(named[:1])] == ["0"]
    bare = [*named[:2], fits.ImageHDU(FLUX[0])]
    assert [cutout.object_id for cutout in read_all(bare)] == ["0", "1", "2"]


def test_the_bound_holds_for_pil_images() -> None:
    image = Image.fromarray(RGB)
    assert read_one(image, ReadOptions(max_pixels=RGB.size)).array.shape == (3, 64, 64)
    with pytest.raises(ImageTooLargeError, match="64 x 64 pixels in 3 channels is more than"):
        read_one(image, ReadOptions(max_pixels=RGB.size - 1))


def test_masked_arrays() -> None:
    hidden = np.ma.masked_greater(np.where(PLANES == PLANES.max(), 1e6, PLANES / 255), 1e5)
    cutout = read_one(hidden)
    assert cutout.kind == "rendered"
    np.testing.assert_array_equal(np.isnan(cutout.array), hidden.mask)
    for array in (RGB, PLANES):
        mask = np.zeros(array.shape, dtype=bool)
        mask[(2, 7, 1) if array is RGB else (1, 2, 7)] = True
        cutout = read_one(np.ma.array(array, mask=mask))
        np.testing.assert_array_equal(cutout.array, PLANES)
        assert cutout.bad is not None and np.argwhere(cutout.bad).tolist() == [[2, 7]]
    plain = read_one(np.ma.array(RGB))
    assert plain.bad is None
    (first, second) = read_all(np.ma.array(np.stack([RGB, RGB]), mask=False))
    assert first.bad is None and second.bad is None


def test_masked_data_of_a_cutout2d() -> None:
    plane = np.ma.array(FLUX[0], mask=FLUX[0] == FLUX[0].max())
    cutout = read_one(Cutout2D(plane, (31.5, 31.5), 64, wcs=WCS(make_header())))
    np.testing.assert_array_equal(np.isnan(cutout.array[0]), plane.mask[::-1])


def test_cutout2d() -> None:
    wcs = WCS(make_header())
    cutout = read_one(Cutout2D(FLUX[0], (31.5, 31.5), 16, wcs=wcs))
    assert cutout.array.shape == (1, 16, 16)
    assert (cutout.ra, cutout.dec) == pytest.approx((150.1, 2.2), abs=1e-8)


def test_mixed_list(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg")
    cutouts = read_all([str(path), RGB, Image.fromarray(RGB), path.read_bytes(), path])
    assert [cutout.object_id for cutout in cutouts] == ["a", "1", "2", "3", "a"]


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_list_of_astropy_objects_is_many_images(kind: Any) -> None:
    hdus = [fits.ImageHDU(plane, make_header()) for plane in FLUX]
    ccds = [CCDData(plane, unit="adu") for plane in FLUX]
    for images in (hdus, ccds):
        cutouts = read_all(kind(images))
        assert len(cutouts) == 3
        for cutout, plane in zip(cutouts, FLUX, strict=True):
            np.testing.assert_array_equal(cutout.array[0], plane[::-1])


def test_what_cannot_be_read_is_an_error_of_its_row(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg")
    items = [path, tmp_path / "gone.jpg", RGB, np.zeros(5), path]
    found = []
    for source in to_sources(iter(items)):
        try:
            found.append(read_cutout(source).array.shape)
        except GalmorphError as error:
            found.append(str(error))
    assert [found[0], found[2], found[4]] == [(3, 64, 64)] * 3
    assert "gone.jpg: there is no such file" in found[1]
    assert "an array of shape (5,) is no image" in found[3]


def explain(images: Any) -> list[str]:
    """Identifier, or the error, of each row."""
    found = []
    for source in to_sources(images):
        try:
            found.append(read_cutout(source).object_id)
        except GalmorphError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, pytest.param(Column, id="Column")])
def test_a_path_that_is_not_there_is_an_error_of_its_row(tmp_path: Path, kind: Any) -> None:
    paths = [str(write_jpeg(tmp_path / f"{name}.jpg")) for name in "ab"]
    found = explain(kind([paths[0], str(tmp_path / "gone.jpg"), paths[1]]))
    assert (found[0], found[2]) == ("a", "b")
    assert "gone.jpg: there is no such file" in found[1]


def test_an_empty_cell_among_paths_is_an_error_of_its_row(tmp_path: Path) -> None:
    path = str(write_jpeg(tmp_path / "a.jpg"))
    masked = MaskedColumn([path, "b"], mask=[False, True])
    for images in ([path, None], iter([path, float("nan")]), np.array([path, None]), masked):
        found = explain(images)
        assert found == ["a", "no file is named here"]


def test_whole_tables_are_told_to_give_a_column(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Table is not an image; give one of its columns"):
        to_sources(Table({"path": ["a.jpg"]}))
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with pytest.raises(TypeError, match=r"DataFrame is not an image"):
        to_sources(pandas.DataFrame({"path": ["a.jpg"]}))


@pytest.mark.parametrize("dtype", ["U", "S", "O"])
def test_paths_in_an_array(tmp_path: Path, dtype: str) -> None:
    paths = [str(write_jpeg(tmp_path / f"{name}.jpg")) for name in "ab"]
    sources = list(to_sources(np.array(paths, dtype=dtype)))
    assert [source.object_id for source in sources] == ["a", "b"]
    column = Table({"path": paths}, masked=True)["path"]
    assert [source.object_id for source in to_sources(column)] == ["a", "b"]


def test_a_mapping_is_no_image() -> None:
    with pytest.raises(TypeError, match=r"give its \.values\(\)"):
        to_sources({"a": RGB})
    assert len(read_all({"a": RGB}.values())) == 1


def test_hdus_in_memory_may_be_cut_out() -> None:
    part = ReadOptions(fov=10 * 0.262)
    made = fits.PrimaryHDU(FLUX[0], make_header())
    cutout = read_one(made, part)
    np.testing.assert_array_equal(cutout.array[0], FLUX[0][27:37, 27:37][::-1])


def test_changed_pixels_of_an_open_file_are_those_that_are_cut_out(tmp_path: Path) -> None:
    with fits.open(write_fits(tmp_path / "a.fits", FLUX[0])) as hdus:
        hdus[0].data = np.full((64, 64), 7, dtype=np.float32)
        cutout = read_one(hdus, ReadOptions(fov=10 * 0.262))
    assert (cutout.array == 7).all()


def test_the_unit_of_a_quantity() -> None:
    cutout = read_one(FLUX * units.nJy, GRZ)
    assert (cutout.kind, cutout.unit) == ("flux", "nJy")
    grey = read_one(make_profile() * units.nJy)
    assert (grey.kind, grey.unit) == ("flux", "nJy")
    assert read_one(make_profile() * units.dimensionless_unscaled).kind == "rendered"


def test_masked_integers_of_a_cutout2d() -> None:
    pixels = np.ma.array((1000 * FLUX[0]).astype(np.int32), mask=FLUX[0] > FLUX[0].max() / 2)
    cutout = read_one(Cutout2D(pixels, (32, 32), 20))
    assert cutout.bad is not None
    np.testing.assert_array_equal(cutout.bad, pixels.mask[22:42, 22:42][::-1])


def test_lists_of_options_mean_what_tuples_mean() -> None:
    assert read_one(RGB, ReadOptions(bands=["red", "green", "blue"])).kind == "rendered"  # type: ignore[arg-type]
    hdus = fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(plane) for plane in FLUX)])
    options = ReadOptions(hdu=[1, 3], bands=["g", "z"])  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_one(hdus, options).array, FLUX[[0, 2], ::-1])


def test_iterators_are_consumed_lazily() -> None:
    taken = 0

    def images() -> Iterator[Any]:
        nonlocal taken
        for _ in range(10**9):
            taken += 1
            yield RGB

    sources = to_sources(images())
    assert taken == 0
    for _ in range(3):
        next(sources)
    assert taken == 3


def test_what_is_no_image() -> None:
    with pytest.raises(TypeError, match="int is not an image, a path, or an iterable"):
        to_sources(7)
    with pytest.raises(TypeError, match="float is not an image, a path, or a row"):
        list(to_sources([1.0]))


def test_sources_and_cutouts_pass_through() -> None:
    source = InMemory("mine", RGB)
    assert list(to_sources([source])) == [source]
    cutout = Cutout(PLANES, object_id="kept")
    assert read_one(cutout) is cutout


def test_a_profile_is_rendered_grey() -> None:
    assert read_one(make_profile()).kind == "rendered"


def test_rows_of_data_sets() -> None:
    image = Image.fromarray(RGB)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    packed = {"bytes": stream.getvalue(), "path": "x/gal7.png"}
    rows = [
        {"label": 3, "image": image, "id": 17, "ra": 1.5, "boxes": [1, 2]},
        {"image": packed, "ra": 2.5},
        {"__key__": "gal9", "png": stream.getvalue(), "json": {"a": 1}},
        {"x": RGB, "note": "a\nb"},
        (image, 4),
    ]
    found = list(to_sources(rows))
    assert [source.object_id for source in found] == ["17", "gal7", "gal9", "3", "4"]
    assert found[0].columns == {"label": 3, "id": 17, "ra": 1.5}
    assert found[3].columns == {"note": r"a\nb"}
    assert found[4].columns == {"label": 4}
    for source in found:
        np.testing.assert_array_equal(read_cutout(source).array, RGB.transpose(2, 0, 1))
    with pytest.raises(TypeError, match="dict is not an image, a path, or a row with an image"):
        list(to_sources([{"a": 1}]))


def test_a_data_set_that_only_knows_its_length_and_items() -> None:
    class TorchLike:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> tuple[object, int]:
            return RGB, number  # never an IndexError

    found = list(to_sources(TorchLike()))
    assert [source.columns for source in found] == [{"label": n} for n in range(3)]
