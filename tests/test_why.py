"""Maps of what a share rests on follow the galaxy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from galmorph import load_model, read_cutout
from galmorph.errors import OptionError
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.thumbnails import AGAINST, FOR, draw_heat
from galmorph.why import compute_attention, compute_occlusion

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIDE = 40


@pytest.fixture(scope="module")
def model():
    return load_model("fused_fast")


@pytest.fixture(scope="module")
def galaxy():
    return Preprocessing(img_size=SIDE).prepare(read_cutout(EXAMPLES / "edge_on_1.jpg")).pixels


def paste(galaxy, y, x):
    pixels = np.repeat(np.median(galaxy, axis=(1, 2))[:, None, None], 84, axis=1).repeat(84, axis=2)
    pixels[:, y : y + SIDE, x : x + SIDE] = galaxy
    return pixels.astype(galaxy.dtype)


def find_centre(heat):
    weight = np.abs(heat) ** 2
    y, x = np.indices(heat.shape)
    return np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()


@pytest.mark.parametrize(("y", "x"), [(2, 2), (2, 42), (42, 2), (42, 42)])
def test_the_map_of_a_galaxy_off_centre_follows_it(model, galaxy, y, x):
    heat = compute_occlusion(model, model.heads["gz2"], paste(galaxy, y, x), "edge_on")
    assert heat.shape == (84, 84)
    np.testing.assert_allclose(find_centre(heat), (y + SIDE / 2, x + SIDE / 2), atol=8)


def test_the_map_is_the_mean_of_what_covering_takes(model, galaxy):
    pixels, head = paste(galaxy, 22, 22), model.heads["gz2"]
    heat = compute_occlusion(model, head, pixels, "p_edge_on")

    def tell_odds(image):
        share = model.classify(image, head=head, crop=1.0, precision="float32", progress=False)
        rest = sum(float(share[f"p_{n}"][0]) for n in head.class_names if n != "edge_on")
        return np.log(float(share["p_edge_on"][0])) - np.log(rest)

    covered = pixels.copy()
    covered[:, :14, :14] = np.median(pixels[:, 0], axis=1)[:, None, None]
    assert heat[0, 0] == pytest.approx(tell_odds(pixels) - tell_odds(covered), abs=2e-3)


def test_answers_and_numbers_have_maps_and_others_are_refused(model, galaxy):
    pixels = paste(galaxy, 22, 22)
    heat = compute_occlusion(model, model.heads["tree"], pixels, "disk-edge-on_yes")
    np.testing.assert_allclose(find_centre(heat), 42, atol=8)
    with pytest.raises(OptionError, match="no such share; edge_on is one"):
        compute_occlusion(model, model.heads["gz2"], pixels, "edge-on")


def test_attention_is_told_of_each_patch(model, galaxy):
    attended = compute_attention(model, paste(galaxy, 2, 42))
    assert attended.shape == (7, 7)
    assert attended.mean() == pytest.approx(0, abs=1e-5)
    y, x = np.unravel_index(attended.argmax(), (7, 7))
    assert y < 4 and x >= 3


def test_heat_is_drawn_in_two_colours():
    drawn = np.asarray(draw_heat(Image.new("RGB", (2, 1)), np.array([[1.0, -1.0]])))
    np.testing.assert_allclose(drawn[0, 0], np.multiply(FOR, 0.75), atol=2)
    np.testing.assert_allclose(drawn[0, 1], np.multiply(AGAINST, 0.75), atol=2)
