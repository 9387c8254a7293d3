"""Augmentation: seeded, centred, within bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from two_classes import draw_galaxy

from galmorph.training.views import ViewOptions, make_eval_view, make_views, turn_hue


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
