"""Augmentation: seeded, centred, within bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic import resample
from two_classes import draw_galaxy

from galmorph.preprocessing.geometry import central_box
from galmorph.training.views import (
    ViewOptions,
    draw_affine,
    make_eval_view,
    make_views,
    turn_hue,
    warp_cut,
)


def make_images(n: int = 6) -> torch.Tensor:
    pictures = [draw_galaxy("edge_on", i, 32).transpose(2, 0, 1) for i in range(n)]
    return torch.from_numpy(np.stack(pictures))


def see(options: ViewOptions, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return make_views(make_images(), img_size=16, options=options, generator=generator)


def test_views_depend_on_the_seed_alone() -> None:
    options = ViewOptions(contrast=0.3, hue=0.2, jitter=0.5)
    assert torch.equal(see(options, 1), see(options, 1))
    assert not torch.equal(see(options, 1), see(options, 2))
    views = see(options)
    assert views.shape == (6, 3, 16, 16)
    assert views.min() >= 0
    assert views.max() <= 1


def test_grey_views_have_three_equal_channels() -> None:
    views = see(ViewOptions(grey=1, noise=0))
    torch.testing.assert_close(views[:, 0], views[:, 2])


def test_nothing_but_the_warp_is_left_when_all_else_is_off() -> None:
    off = {"brightness": 0, "channel_gain": 0, "saturation": 0, "grey": 0, "noise": 0}
    plain = see(ViewOptions(**off))
    torch.testing.assert_close(plain, see(ViewOptions(**{**off, "brightness": 0.9}, jitter=0)))
    field = 0.8
    options = ViewOptions(**off, scale=(field, field), shift=0)
    evaluated = make_eval_view(make_images(), img_size=16, field=field)
    centre = (slice(None), slice(None), slice(7, 9), slice(7, 9))
    # A rotation about the centre leaves the mean of the central pixels nearly alone.
    torch.testing.assert_close(
        see(options)[centre].mean((2, 3)), evaluated[centre].mean((2, 3)), atol=0.05, rtol=0
    )


def test_eval_view_of_the_whole_frame_at_its_size_is_the_image() -> None:
    images = make_images()
    seen = make_eval_view(images, img_size=32, field=1.0)
    torch.testing.assert_close(seen, images.float() / 255, atol=1e-5, rtol=0)


def test_hue_turns_keep_grey_and_a_third_of_a_circle_permutes_the_channels() -> None:
    x = torch.rand(2, 3, 4, 4)
    turned = turn_hue(x, torch.tensor([0.0, 1 / 3]))
    torch.testing.assert_close(turned[0], x[0])
    torch.testing.assert_close(turned[1], x[1][[2, 0, 1]])
    torch.testing.assert_close(turned.mean(1), x.mean(1))


def test_options_check_themselves() -> None:
    with pytest.raises(ValueError, match="grey is a probability, not 2"):
        ViewOptions(grey=2)
    with pytest.raises(ValueError, match="scale must be"):
        ViewOptions(scale=(1.0, 0.5))
    for wrong in ("a", True, None, -0.1, float("nan"), (0.1, 0.2)):
        with pytest.raises(ValueError, match="shift is a number, 0 or positive, not"):
            ViewOptions(shift=wrong)  # type: ignore[arg-type]
    for wrong in (0.5, (0.5,), (0.5, "a"), (0.0, 0.5), (0.4, float("inf"))):
        with pytest.raises(ValueError, match="cut_to must be .smaller, larger. and positive, not"):
            ViewOptions(cut_to=wrong)  # type: ignore[arg-type]


def test_cut_views_are_what_users_get_of_frames_that_end_too_early() -> None:
    """Against the path of ``classify``: a smaller frame, filled up to the field of view."""
    images = make_images()
    left, field = 16, 24  # of 32 px
    matrix = torch.tensor([[field / 32, 0, 0], [0, field / 32, 0]]).expand(len(images), 2, 3)
    cuts = torch.full((len(images),), left / 32)
    made = warp_cut(images.float() / 255, matrix, cuts, field)
    middle = slice((32 - left) // 2, (32 + left) // 2)
    frames = images[:, :, middle, middle].numpy()
    filled = [resample(frame, central_box(left, left, field), field)[0] for frame in frames]
    expected = torch.from_numpy(np.stack(filled)).float() / 255
    inside = slice((field - left) // 2, (field + left) // 2)
    torch.testing.assert_close(
        made[..., inside, inside], expected[..., inside, inside], atol=1e-5, rtol=0
    )
    assert float((made - expected).abs().mean()) < 0.02
    # A wrong way, for comparison: the frame as it really goes on.
    assert (
        float((made - make_eval_view(images, img_size=field, field=field / 32)).abs().max()) > 0.1
    )


def test_some_views_are_cut_and_look_a_little_beyond() -> None:
    options = ViewOptions(cut=0.4, cut_to=(0.4, 0.6), shift=0)
    matrices, cuts = draw_affine(2000, options, torch.Generator().manual_seed(0))
    cut = torch.isfinite(cuts)
    field = matrices[:, :, :2].det().abs().sqrt()
    assert 0.36 < float(cut.float().mean()) < 0.44
    assert 0.4 <= float(cuts[cut].min()) < float(cuts[cut].max()) <= 0.6
    assert float((field / cuts)[cut].min()) >= 1 - 1e-5
    assert float((field / cuts)[cut].max()) > 1.7
    assert float(field[~cut].min()) >= 0.65 - 1e-5
    whole, none = draw_affine(5, ViewOptions(), torch.Generator().manual_seed(0))
    assert whole.shape == (5, 2, 3)
    assert not torch.isfinite(none).any()
