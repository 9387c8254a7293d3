"""Random views of a batch of cutouts: one affine warp each, then colour and noise.

Everything happens on whole batches of tensors on the training device, from one seeded generator,
so that augmentation neither starves the device nor depends on how many workers there are.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from galmorph.preprocessing.beyond import FADE, SKY_PERCENTILE

__all__ = ["ViewOptions", "make_eval_view", "make_views", "warp_cut"]

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey

CUT_FIELD = 1.9
"""Largest field of view of a cut view, in sides of what is left of its frame. On frames that end
inside the galaxy, ``--crop auto`` looks at 1.0 to 1.6 of them."""

RIM_SAMPLES = 32
"""Points along each side of a cut frame from which its sky is taken."""


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
    cut : float
        Probability that a view is made as if the frame ended inside the galaxy: what lies beyond
        is filled in as `galmorph.preprocessing.beyond.fade_beyond` does it for users.
    cut_to : (float, float)
        Side of what is left of such a frame, as a fraction of the frame, drawn log-uniformly.
        Its field of view is 1 to 1.9 times that, in place of ``scale``.
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
    cut: float = 0.0
    cut_to: tuple[float, float] = (0.35, 0.75)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in ("scale", "cut_to"):
                if not (_is_pair(value) and 0 < value[0] <= value[1]):
                    raise ValueError(f"{name} must be (smaller, larger) and positive, not {value}")
            elif not (_is_number(value) and value >= 0):
                raise ValueError(f"{name} is a number, 0 or positive, not {value!r}")
        for name in ("grey", "jitter", "cut"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a probability, not {getattr(self, name)}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))


@dataclass(frozen=True)
class _Draws:
    """Random numbers for a whole batch, of which the rows of a part of it are used."""

    generator: torch.Generator
    total: int
    rows: Tensor | None

    def pick(self, drawn: Tensor) -> Tensor:
        """The rows of the part."""
        return drawn if self.rows is None else drawn[self.rows]

    def uniform(self, low: float, high: float, *, each: int = 1) -> Tensor:
        """One number for every view, or (n, each)."""
        drawn = _uniform(each * self.total, low, high, self.generator)
        return self.pick(drawn if each == 1 else drawn.reshape(self.total, each))

    def normal(self, shape: torch.Size) -> Tensor:
        """Standard normal numbers for views of this shape."""
        size = (self.total, *shape[1:])
        device = self.generator.device
        return self.pick(torch.randn(size, generator=self.generator, device=device))


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device) * (high - low) + low


def _log_uniform(n: int, limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    return torch.exp(_uniform(n, math.log(limits[0]), math.log(limits[1]), generator))


def draw_cuts(
    scale: Tensor, options: ViewOptions, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sides of the frames that are left, infinite for whole ones, and the fields to look at."""
    n = len(scale)
    side = _log_uniform(n, options.cut_to, generator)
    field = (side * _log_uniform(n, (1.0, CUT_FIELD), generator)).clamp(max=options.scale[1])
    whole = _uniform(n, 0, 1, generator) >= options.cut
    return side.masked_fill(whole, math.inf), torch.where(whole, scale, field)


def draw_affine(n: int, options: ViewOptions, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random rotation, flip, scale and shift, as (n, 2, 3) matrices for `affine_grid`.

    The second tensor, (n,), is the side of what is left of each frame, as `draw_cuts` has it.
    """
    angle = _uniform(n, -math.pi, math.pi, generator)
    scale = _log_uniform(n, options.scale, generator)
    cuts = torch.full_like(scale, math.inf)
    if options.cut > 0:
        cuts, scale = draw_cuts(scale, options, generator)
    flip = torch.sign(_uniform(n, -1.0, 1.0, generator))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift_x = _uniform(n, -2 * options.shift, 2 * options.shift, generator)
    shift_y = _uniform(n, -2 * options.shift, 2 * options.shift, generator)
    rows = [cos * flip, -sin, shift_x, sin * flip, cos, shift_y]
    return torch.stack(rows, dim=1).reshape(n, 2, 3), cuts


def warp(images: Tensor, matrices: Tensor, img_size: int) -> Tensor:
    """Sample (n, 3, h, w) bilinearly to (n, 3, img_size, img_size), mirrored beyond the frame."""
    n, chans = images.shape[:2]
    grid = F.affine_grid(matrices, [n, chans, img_size, img_size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def warp_cut(images: Tensor, matrices: Tensor, cuts: Tensor, img_size: int) -> Tensor:
    """As `warp`, of frames of which only the central ``cuts`` of the side is known.

    Beyond it the rim is carried on along rays from the middle and fades into the sky, as
    `galmorph.preprocessing.beyond.fade_beyond` does it with what users bring.

    Parameters
    ----------
    images : Tensor of float32, shape (n, 3, h, w)
    matrices : Tensor, shape (n, 2, 3)
    cuts : Tensor, shape (n,)
        At most 1.
    img_size : int
    """
    n, chans = images.shape[:2]
    grid = F.affine_grid(matrices, [n, chans, img_size, img_size], align_corners=False)
    reach = grid.abs().amax(dim=-1) / cuts.reshape(n, 1, 1)
    share = 1 / reach.clamp(min=1)  # of the way along the ray to the rim
    nearest = grid * share.unsqueeze(-1)
    inside = F.grid_sample(images, nearest, padding_mode="border", align_corners=False)
    smooth = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    rim = F.grid_sample(smooth, nearest, padding_mode="border", align_corners=False)
    sky = _faint_rim(smooth, cuts)
    field = 2 * matrices[:, :, :2].det().abs().sqrt().reshape(n, 1, 1)  # the frame's side is 2
    distance = grid.norm(dim=-1) * (1 - share) / field
    faded = sky + (rim - sky) * torch.exp(-distance / FADE).unsqueeze(1)
    return torch.where((reach > 1).unsqueeze(1), faded, inside)


def _faint_rim(images: Tensor, cuts: Tensor) -> Tensor:
    """Low percentile along the rim of the central ``cuts`` of each plane, (n, 3, 1, 1)."""
    along = torch.linspace(-1, 1, RIM_SAMPLES, device=images.device)
    edge = torch.ones_like(along)
    sides = [(along, edge), (along, -edge), (edge, along), (-edge, along)]
    square = torch.stack([torch.stack(side, dim=-1) for side in sides])  # (4, RIM_SAMPLES, 2)
    grid = square * cuts.reshape(-1, 1, 1, 1)
    rim = F.grid_sample(images, grid, padding_mode="border", align_corners=False).flatten(2)
    return rim.quantile(SKY_PERCENTILE / 100, dim=2)[:, :, None, None]


def jitter_colour(views: Tensor, options: ViewOptions, draws: _Draws) -> Tensor:
    """Brightness, per-channel gain, saturation, contrast and hue; some views lose their colour."""
    each = (-1, 1, 1, 1)
    grey = _luminance(views)
    saturation = draws.uniform(1 - options.saturation, 1 + options.saturation)
    colourless = draws.uniform(0, 1).reshape(each) < options.grey
    gain = draws.uniform(1 - options.channel_gain, 1 + options.channel_gain, each=3)
    bright = draws.uniform(1 - options.brightness, 1 + options.brightness)
    changed = grey + (views - grey) * saturation.reshape(each)
    changed = changed * gain.reshape(-1, 3, 1, 1)
    if options.contrast > 0:
        factor = draws.uniform(1 - options.contrast, 1 + options.contrast)
        middle = _luminance(changed).mean(dim=(2, 3), keepdim=True)
        changed = middle + (changed - middle) * factor.reshape(each)
    if options.hue > 0:
        changed = turn_hue(changed, draws.uniform(-options.hue, options.hue))
    changed = torch.where(colourless, grey, changed) * bright.reshape(each)
    if options.jitter < 1:
        kept = draws.uniform(0, 1).reshape(each) >= options.jitter
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
    images: Tensor,
    *,
    img_size: int,
    options: ViewOptions,
    generator: torch.Generator,
    rows: Tensor | None = None,
    total: int | None = None,
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
    rows : Tensor of int, shape (n,), optional
        Which cutouts of a larger batch these are: each gets the view that it has in the whole.
    total : int, optional
        Size of that batch.

    Returns
    -------
    Tensor of float32, shape (n, 3, img_size, img_size)
        On [0, 1], not yet normalized.
    """
    draws = _Draws(generator, images.shape[0] if total is None else total, rows)
    matrices, cuts = map(draws.pick, draw_affine(draws.total, options, generator))
    images = images.float() / 255
    views = warp(images, matrices, img_size)
    if options.cut > 0:
        cut = torch.isfinite(cuts)
        if bool(cut.any()):
            views[cut] = warp_cut(images[cut], matrices[cut], cuts[cut], img_size)
    views = jitter_colour(views, options, draws)
    sigma = draws.uniform(0, options.noise).reshape(-1, 1, 1, 1)
    return (views + sigma * draws.normal(views.shape)).clamp_(0, 1)


def make_eval_view(images: Tensor, *, img_size: int, field: float) -> Tensor:
    """Central ``field`` of the frame at ``img_size``, with no randomness, on [0, 1]."""
    matrix = torch.tensor([[field, 0.0, 0.0], [0.0, field, 0.0]], device=images.device)
    return warp(images.float() / 255, matrix.expand(images.shape[0], 2, 3), img_size)
