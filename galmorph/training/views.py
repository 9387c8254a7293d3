"""Random views of a batch of cutouts: one affine warp each, then colour and noise.

Everything happens on whole batches of tensors on the training device, from one seeded generator,
so that augmentation neither starves the device nor depends on how many workers there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ViewOptions", "make_eval_view", "make_views"]

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey


@dataclass(frozen=True)
class ViewOptions:
    """How a view differs from its cutout.

    Attributes
    ----------
    scale : (float, float)
        Side of the field of view as a fraction of the frame, drawn log-uniformly.
    shift : float
        Largest displacement of the centre, as a fraction of the frame.
    brightness, channel_gain, saturation : float
        Each factor is drawn uniformly from 1 - x to 1 + x.
    contrast : float
        Likewise, about the mean of the view's luminance.
    hue : float
        Largest turn of the hue, as a fraction of a full circle in the plane of colours.
    jitter : float
        Probability that brightness, contrast, gain, saturation and hue are changed at all.
    grey : float
        Probability that a view loses its colour.
    noise : float
        Largest standard deviation of added Gaussian noise, on [0, 1].
    """

    scale: tuple[float, float] = (0.65, 1.05)
    shift: float = 0.03
    brightness: float = 0.3
    channel_gain: float = 0.25
    saturation: float = 0.5
    contrast: float = 0.0
    hue: float = 0.0
    jitter: float = 1.0
    grey: float = 0.2
    noise: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be (smaller, larger) and positive, not {self.scale}")
        for name in ("grey", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, not {getattr(self, name)}")


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device) * (high - low) + low


def draw_affine(n: int, options: ViewOptions, generator: torch.Generator) -> Tensor:
    """Random rotation, flip, scale and shift, as (n, 2, 3) matrices for `affine_grid`."""
    angle = _uniform(n, -math.pi, math.pi, generator)
    smallest, largest = options.scale
    scale = torch.exp(_uniform(n, math.log(smallest), math.log(largest), generator))
    flip = torch.sign(_uniform(n, -1.0, 1.0, generator))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift_x = _uniform(n, -2 * options.shift, 2 * options.shift, generator)
    shift_y = _uniform(n, -2 * options.shift, 2 * options.shift, generator)
    rows = [cos * flip, -sin, shift_x, sin * flip, cos, shift_y]
    return torch.stack(rows, dim=1).reshape(n, 2, 3)


def warp(images: Tensor, matrices: Tensor, img_size: int) -> Tensor:
    """Sample (n, 3, h, w) bilinearly to (n, 3, img_size, img_size), mirrored beyond the frame."""
    n, chans = images.shape[:2]
    grid = F.affine_grid(matrices, [n, chans, img_size, img_size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def jitter_colour(views: Tensor, options: ViewOptions, generator: torch.Generator) -> Tensor:
    """Brightness, per-channel gain, saturation, contrast and hue; some views lose their colour."""
    n = views.shape[0]
    grey = _luminance(views)
    saturation = _uniform(n, 1 - options.saturation, 1 + options.saturation, generator)
    colourless = _uniform(n, 0, 1, generator).reshape(n, 1, 1, 1) < options.grey
    gain = _uniform(3 * n, 1 - options.channel_gain, 1 + options.channel_gain, generator)
    bright = _uniform(n, 1 - options.brightness, 1 + options.brightness, generator)
    changed = grey + (views - grey) * saturation.reshape(n, 1, 1, 1)
    changed = changed * gain.reshape(n, 3, 1, 1)
    if options.contrast > 0:
        factor = _uniform(n, 1 - options.contrast, 1 + options.contrast, generator)
        middle = _luminance(changed).mean(dim=(2, 3), keepdim=True)
        changed = middle + (changed - middle) * factor.reshape(n, 1, 1, 1)
    if options.hue > 0:
        changed = turn_hue(changed, _uniform(n, -options.hue, options.hue, generator))
    changed = torch.where(colourless, grey, changed) * bright.reshape(n, 1, 1, 1)
    if options.jitter < 1:
        kept = _uniform(n, 0, 1, generator).reshape(n, 1, 1, 1) >= options.jitter
        changed = torch.where(kept, torch.where(colourless, grey, views), changed)
    return changed


def _luminance(views: Tensor) -> Tensor:
    return torch.einsum("nchw,c->nhw", views, views.new_tensor(LUMINANCE)).unsqueeze(1)


def turn_hue(views: Tensor, turns: Tensor) -> Tensor:
    """Rotate colours about the grey axis by ``turns`` full circles, (n,)."""
    angle = (2 * math.pi * turns).reshape(-1, 1, 1)
    axis = views.new_full((3, 3), 1 / 3)
    skew = views.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    identity = torch.eye(3, device=views.device)
    rotation = axis + torch.cos(angle) * (identity - axis) + torch.sin(angle) * skew
    return torch.einsum("nij,njhw->nihw", rotation, views)


def make_views(
    images: Tensor, *, img_size: int, options: ViewOptions, generator: torch.Generator
) -> Tensor:
    """Make one random view of each cutout.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, 3, h, w)
        Rendered cutouts.
    img_size : int
        Side of a view in pixels.
    options : ViewOptions
        How the views differ.
    generator : torch.Generator
        Source of every random number.

    Returns
    -------
    Tensor of float32, shape (n, 3, img_size, img_size)
        On [0, 1], not yet normalized.
    """
    matrices = draw_affine(images.shape[0], options, generator)
    views = warp(images.float() / 255, matrices, img_size)
    views = jitter_colour(views, options, generator)
    sigma = _uniform(images.shape[0], 0, options.noise, generator).reshape(-1, 1, 1, 1)
    noise = torch.randn(views.shape, generator=generator, device=views.device)
    return (views + sigma * noise).clamp_(0, 1)


def make_eval_view(images: Tensor, *, img_size: int, field: float) -> Tensor:
    """Central ``field`` of the frame at ``img_size``, with no randomness, on [0, 1]."""
    matrix = torch.tensor([[field, 0.0, 0.0], [0.0, field, 0.0]], device=images.device)
    return warp(images.float() / 255, matrix.expand(images.shape[0], 2, 3), img_size)
