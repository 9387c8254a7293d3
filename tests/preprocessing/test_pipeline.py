"""The pipeline from a cutout to pixels: fields of view, flags, notes."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from astropy import units
from PIL import Image

from galmorph.errors import PixelError
from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.images.read import read_cutout
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions

PREPROCESSING = Preprocessing(img_size=42)


def make_cutout(side: int = 212, *, scale: float = 12.0, **given: object) -> Cutout:
    y, x = np.mgrid[:side, :side] + 0.5
    r = np.hypot(x - side / 2, y - side / 2)
    plane = 0.05 + 0.7 * np.exp(-r / scale)
    array = np.rint(np.stack([plane, plane * 0.9, plane * 0.8]) * 255).astype(np.uint8)
    return dataclasses.replace(Cutout(array), **given)


def test_by_default_the_field_is_that_of_the_weights() -> None:
    prepared = PREPROCESSING.prepare(make_cutout())
    assert prepared.pixels.shape == (3, 42, 42)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.crop == pytest.approx(180 / 424)
    assert math.isnan(prepared.fov)
    assert prepared.flags == Flags.NONE


def test_frames_that_are_not_known_to_be_scaled_are_measured() -> None:
    rule = dataclasses.replace(PREPROCESSING, scaled_frame=212)
    scaled, auto = rule.prepare(make_cutout()), FieldOptions(crop="auto")
    assert scaled.crop == pytest.approx(180 / 424)
    assert scaled.notes["field"] == "as scaled by Galaxy Zoo"
    measured, same = rule.prepare(make_cutout(256)), rule.prepare(make_cutout(256), field=auto)
    np.testing.assert_array_equal(measured.pixels, same.pixels)
    assert measured.crop == same.crop and measured.notes["field"] == "measured"
    asked = rule.prepare(make_cutout(256), field=FieldOptions(crop=0.5))
    assert asked.crop == pytest.approx(0.5) and "field" not in asked.notes


@pytest.mark.parametrize("side", [212, 256])
def test_a_jpeg_is_read_in_part_only_where_it_is_scaled(side: int) -> None:
    rule = dataclasses.replace(PREPROCESSING, scaled_frame=212)
    file = io.BytesIO()
    Image.fromarray(make_cutout(side).array.transpose(1, 2, 0)).save(file, "JPEG", quality=95)
    told = rule.tell_reader(ReadOptions(), FieldOptions())
    part = read_cutout(file.getvalue(), options=told)
    assert (part.frame is not None) == (side == 212)
    whole = read_cutout(file.getvalue())
    np.testing.assert_array_equal(rule.prepare(part).pixels, rule.prepare(whole).pixels)


def test_fov_in_arcseconds_needs_a_pixel_scale() -> None:
    field = FieldOptions(fov=40.0)
    prepared = PREPROCESSING.prepare(make_cutout(pixel_scale=0.4), field=field)
    assert prepared.fov == pytest.approx(40.0)
    assert prepared.crop == pytest.approx(100 / 212)
    with pytest.raises(ValueError, match="give --crop FRACTION or --pixel-scale"):
        PREPROCESSING.prepare(make_cutout(), field=field)


def test_the_fraction_is_of_the_shorter_side() -> None:
    cutout = make_cutout()
    wide = dataclasses.replace(cutout, array=np.pad(cutout.array, ((0, 0), (0, 0), (50, 50))))
    field = FieldOptions(crop=0.5)
    one, other = (PREPROCESSING.prepare(c, field=field).pixels for c in (cutout, wide))
    np.testing.assert_array_equal(one, other)


def test_auto_takes_the_field_by_the_size_of_the_galaxy() -> None:
    field = FieldOptions(crop="auto")
    small = PREPROCESSING.prepare(make_cutout(scale=8), field=field)
    large = PREPROCESSING.prepare(make_cutout(scale=16), field=field)
    assert large.crop == pytest.approx(2 * small.crop, rel=0.1)
    size = float(small.notes["size_px"])
    assert small.crop * 212 == pytest.approx(PREPROCESSING.sizes_in_field * size, rel=1e-3)
    difference = small.pixels.astype(float) - large.pixels
    assert np.abs(difference).mean() < 4  # the same galaxy, whatever the frame


def test_auto_fades_what_the_frame_cuts_off() -> None:
    array = make_cutout().array[:, 76:136, 76:136]
    prepared = PREPROCESSING.prepare(Cutout(array), field=FieldOptions(crop="auto"))
    assert prepared.flags & Flags.PADDED
    assert prepared.crop > 1
    plane = prepared.pixels[0].astype(int)
    assert plane[0, 0] < plane[5, 5] < plane[21, 21]
    assert np.abs(np.diff(plane[21])).max() < 40  # no edge where the frame ends


def test_auto_without_a_galaxy_takes_the_field_of_the_weights() -> None:
    array = np.random.default_rng(0).integers(10, 14, (3, 212, 212), dtype=np.uint8)
    prepared = PREPROCESSING.prepare(Cutout(array), field=FieldOptions(crop="auto"))
    assert prepared.flags & Flags.NO_CENTRAL_SOURCE
    assert prepared.crop == pytest.approx(180 / 424)
    assert prepared.notes["size_px"] == "nan"


def test_few_pixels_are_flagged_as_upsampled() -> None:
    cutout = make_cutout(64)
    assert PREPROCESSING.prepare(cutout).flags & Flags.UPSAMPLED
    whole = PREPROCESSING.prepare(cutout, field=FieldOptions(crop=1.0))
    assert not whole.flags & Flags.UPSAMPLED
    reduced = dataclasses.replace(make_cutout(64), notes={"reduced": "2"})
    assert not PREPROCESSING.prepare(reduced).flags & Flags.UPSAMPLED


def test_one_value_everywhere_is_flagged() -> None:
    flat = Cutout(np.full((3, 100, 100), 9, dtype=np.uint8))
    assert PREPROCESSING.prepare(flat).flags & Flags.CONSTANT


def test_one_colour_everywhere_is_flagged() -> None:
    blue = np.full((3, 100, 100), 9, dtype=np.uint8)
    blue[2] = 200
    assert PREPROCESSING.prepare(Cutout(blue)).flags & Flags.CONSTANT
    flux = Cutout(np.full((3, 100, 100), 3, dtype=np.float32), ("g", "r", "z"), "flux")
    for stretch in ("legacysurvey", "lupton", "asinh"):
        options = RenderOptions(stretch=stretch)
        assert PREPROCESSING.prepare(flux, rendering=options).flags & Flags.CONSTANT
    blue[0, 40:60, 40:60] = 100  # one channel is enough
    assert not PREPROCESSING.prepare(Cutout(blue)).flags & Flags.CONSTANT


def test_saturated_fields_are_flagged() -> None:
    array = make_cutout().array.copy()
    array[:, 90:120, 90:120] = 255
    assert PREPROCESSING.prepare(Cutout(array)).flags & Flags.SATURATED


def test_flags_of_the_cutout_and_of_rendering_are_kept_by_the_caller() -> None:
    flux = Cutout(make_cutout().array[:1].astype(np.float32), bands=("r",), kind="flux")
    flags = PREPROCESSING.prepare(flux).flags
    assert flags & Flags.OUTSIDE_COLOUR_DOMAIN
    assert flags & Flags.ASSUMED_STRETCH


def test_bad_pixels_are_refused_where_asked() -> None:
    array = make_cutout().array.astype(np.float32) / 255
    array[:, 100, 100] = np.nan
    cutout = Cutout(array)
    assert PREPROCESSING.prepare(cutout).flags & Flags.BAD_PIXELS_FILLED
    with pytest.raises(PixelError):
        PREPROCESSING.prepare(cutout, rendering=RenderOptions(nan="refuse"))


@pytest.mark.parametrize("kind", ["flux", "rendered"])
def test_only_bad_pixels_in_the_field_count(kind: str) -> None:
    cutout = make_cutout()
    array = (cutout.array / np.float32(255)).astype(np.float32)
    cutout = dataclasses.replace(cutout, array=array, kind=kind)
    if kind == "flux":
        cutout = dataclasses.replace(cutout, bands=("z", "r", "g"), survey="legacysurvey")
    refuse = RenderOptions(nan="refuse")
    beside = array.copy()
    beside[:, :40] = np.nan  # a fifth of the frame, nothing of the field
    prepared = PREPROCESSING.prepare(dataclasses.replace(cutout, array=beside), rendering=refuse)
    assert not prepared.flags & (Flags.BAD_PIXELS_FILLED | Flags.MANY_BAD_PIXELS)
    hole = array.copy()
    hole[:, 95:117, 95:117] = np.nan  # 1 % of the frame, 6 % of the field
    prepared = PREPROCESSING.prepare(dataclasses.replace(cutout, array=hole))
    assert prepared.flags & Flags.MANY_BAD_PIXELS
    assert prepared.notes["bad_pixels"] == str(22 * 22)
    gone = array.copy()
    gone[:, 50:162, 50:162] = np.nan
    with pytest.raises(PixelError, match="no good pixel"):
        PREPROCESSING.prepare(dataclasses.replace(cutout, array=gone))


def test_min_side_leaves_the_encoder_enough_pixels() -> None:
    for crop in (None, 0.3, 1.0):
        side = PREPROCESSING.min_side(FieldOptions(crop=crop))
        assert side is not None
        assert side * (crop or PREPROCESSING.crop) >= PREPROCESSING.img_size
    assert PREPROCESSING.min_side(FieldOptions(crop="auto")) is None
    assert PREPROCESSING.min_side(FieldOptions(fov=30.0)) is None


def test_a_reader_is_told_what_will_be_seen() -> None:
    told = PREPROCESSING.tell_reader(ReadOptions(pixel_scale=0.4), FieldOptions())
    assert (told.seen, told.pixel_scale) == (PREPROCESSING.crop, 0.4)
    assert told.min_side == PREPROCESSING.min_side(FieldOptions())
    assert PREPROCESSING.tell_reader(told, FieldOptions(crop=0.3)).seen == 0.3
    for field in (FieldOptions(crop="auto"), FieldOptions(fov=30.0)):
        whole = PREPROCESSING.tell_reader(told, field)
        assert (whole.seen, whole.min_side) == (None, None)


def test_a_part_of_an_image_is_enough_for_its_field_and_no_other() -> None:
    cutout = make_cutout(pixel_scale=0.4)
    part = dataclasses.replace(cutout, array=cutout.array[:, :160], frame=(212, 212))
    seen, expected = PREPROCESSING.prepare(part), PREPROCESSING.prepare(cutout)
    np.testing.assert_array_equal(seen.pixels, expected.pixels)
    assert (seen.crop, seen.fov, seen.flags) == (expected.crop, expected.fov, expected.flags)
    for field in (FieldOptions(crop=0.6), FieldOptions(crop="auto"), FieldOptions(fov=80.0)):
        with pytest.raises(ValueError, match="read in part"):
            PREPROCESSING.prepare(part, field=field)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"crop": 0.5, "fov": 30.0}, "each of them sets the field of view"),
        ({"crop": "all"}, "must be positive or auto, not 'all'"),
        ({"crop": 0.0}, "must be positive"),
        ({"crop": math.nan}, "must be positive"),
        ({"fov": -1.0}, "must be a positive number of arcseconds"),
        ({"fov": np.float32(-1)}, "must be a positive number"),
    ],
)
def test_fields_that_make_no_sense_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FieldOptions(**given)  # type: ignore[arg-type]


def test_a_field_may_have_a_unit() -> None:
    assert FieldOptions(fov=0.5 * units.arcmin).fov == 30
    with pytest.raises(ValueError, match="fov is in m, which cannot be brought to arcsec"):
        FieldOptions(fov=30 * units.m)


@pytest.mark.parametrize("given", [{"img_size": 0}, {"crop": 0.0}, {"sizes_in_field": -1.0}])
def test_settings_that_make_no_sense_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Preprocessing(**given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="std is positive"):
        Preprocessing(std=(1.0, 0.0, 1.0))


def test_settings_survive_json() -> None:
    again = Preprocessing.from_dict({**PREPROCESSING.to_dict(), "of_a_later_version": 1})
    assert again == PREPROCESSING
    assert Preprocessing.from_dict({"mean": [0.1, 0.2, 0.3]}).mean == (0.1, 0.2, 0.3)
