"""An encoder sees pixels through the filter that it was trained with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import make_rgb

from galmorph import pipeline
from galmorph.encoders import timm_adapter
from galmorph.images.cutout import Cutout
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.settings import FieldOptions
from galmorph.weights.manifest import load_manifest


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("side", [24, 40, 160])
def test_a_frame_is_resized_as_pillow_does(interpolation: str, floats: bool, side: int) -> None:
    rgb = make_rgb(100, seed=3)
    whole = FieldOptions(crop=1.0)
    steps = Preprocessing(img_size=side, interpolation=interpolation)  # type: ignore[arg-type]
    planes = rgb.transpose(2, 0, 1)
    array = planes.astype(np.float32) / np.float32(255) if floats else planes
    found = steps.prepare(Cutout(array), field=whole).pixels
    images = [Image.fromarray(np.ascontiguousarray(plane)) for plane in array]
    method = Image.Resampling[interpolation.upper()]
    expected = np.stack([np.asarray(image.resize((side, side), method)) for image in images])
    np.testing.assert_allclose(found.astype(float), np.clip(expected, 0, None), atol=1.01)
    if floats:
        np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-6)


def test_the_filters_differ() -> None:
    cutout, whole = Cutout(make_rgb(100, seed=3).transpose(2, 0, 1)), FieldOptions(crop=1.0)
    linear, cubic = (
        Preprocessing(interpolation=name).prepare(cutout, field=whole).pixels
        for name in ("bilinear", "bicubic")
    )
    assert np.abs(linear.astype(int) - cubic).max() > 2


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_timm_encoder_keeps_the_filter_of_its_training(
    interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load_manifest().get("zoobot_convnext_nano")
    expected = dataclasses.replace(entry.input, interpolation=interpolation)
    monkeypatch.setattr(timm_adapter, "load_timm_encoder", lambda *_, **__: None)
    model = pipeline._read_timm(Path("none"), dataclasses.replace(entry, input=expected))
    assert model.preprocessing.interpolation == interpolation
    assert Preprocessing.from_dict(model.preprocessing.to_dict()) == model.preprocessing


def test_another_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="interpolation is bilinear or bicubic, not 'nearest'"):
        Preprocessing(interpolation="nearest")  # type: ignore[arg-type]
