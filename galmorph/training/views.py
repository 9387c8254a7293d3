"""Random views of a batch on the training device: one affine warp each, then colour and noise."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from galmorph.preprocessing.geometry import FADE, SKY_PERCENTILE

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey
CUT_FIELD = 1.9  # of a cut view, in sides of its frame; --crop auto looks at 1.0 to 1.6
RIM_SAMPLES = 32  # points along each side of a cut frame from which its sky is taken


@dataclass(frozen=True)
class ViewOptions:
    """How a view differs from its cutout; lengths are fractions of the frame.

    Pairs are drawn from log-uniformly, factors uniformly from 1 - x to 1 + x. A ``cut`` view is
    made as if the frame ended inside the galaxy, and filled by `fade_beyond`.
    """

    scale: tuple[float, float] = (0.65, 1.05)  # side of the field of view
    shift: float = 0.03  # largest displacement of the centre
    brightness: float = 0.3
    channel_gain: float = 0.25
    saturation: float = 0.5
    contrast: float = 0.0  # about the mean of the view's luminance
    hue: float = 0.0  # largest turn, as a fraction of a full circle in the plane of colours
    jitter: float = 1.0  # probability that any of these five is changed at all
    grey: float = 0.2  # probability that a view loses its colour
    noise: float = 0.03  # largest standard deviation of added Gaussian noise, on [0, 1]
    cut: float = 0.0  # probability
    cut_to: tuple[float, float] = (0.35, 0.75)  # side of what is left; the field is 1 to 1.9 of it

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
    """Random matrices (n, 2, 3) for `affine_grid`, and sides (n,) of what is left of each frame."""
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
    """As `warp`, of frames known within ``cuts`` (n,) of the side; beyond, as `fade_beyond`."""
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


def jitter_colour(views: Tensor, options: ViewOptions, generator: torch.Generator) -> Tensor:
    """Brightness, per-channel gain, saturation, contrast and hue; some views lose their colour."""

    def draw(low: float, high: float, each: int = 1) -> Tensor:
        drawn = _uniform(each * len(views), low, high, generator)
        return drawn.reshape(-1, each, 1, 1)  # (n, each, 1, 1)

    grey = _luminance(views)
    saturation = draw(1 - options.saturation, 1 + options.saturation)
    colourless = draw(0, 1) < options.grey
    gain = draw(1 - options.channel_gain, 1 + options.channel_gain, 3)
    bright = draw(1 - options.brightness, 1 + options.brightness)
    changed = (grey + (views - grey) * saturation) * gain
    if options.contrast > 0:
        factor = draw(1 - options.contrast, 1 + options.contrast)
        middle = _luminance(changed).mean(dim=(2, 3), keepdim=True)
        changed = middle + (changed - middle) * factor
    if options.hue > 0:
        changed = turn_hue(changed, draw(-options.hue, options.hue).flatten())
    changed = torch.where(colourless, grey, changed) * bright
    if options.jitter < 1:
        kept = draw(0, 1) >= options.jitter
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
    """One random view of each cutout, uint8 (n, 3, h, w) to float32 on [0, 1], not normalized."""
    matrices, cuts = draw_affine(len(images), options, generator)
    images = images.float() / 255
    views = warp(images, matrices, img_size)
    if options.cut > 0:
        cut = torch.isfinite(cuts)
        if bool(cut.any()):
            views[cut] = warp_cut(images[cut], matrices[cut], cuts[cut], img_size)
    views = jitter_colour(views, options, generator)
    sigma = _uniform(len(views), 0, options.noise, generator).reshape(-1, 1, 1, 1)
    noise = torch.randn(views.shape, generator=generator, device=generator.device)
    return (views + sigma * noise).clamp_(0, 1)


def make_eval_view(images: Tensor, *, img_size: int, field: float) -> Tensor:
    """Central ``field`` of the frame at ``img_size``, with no randomness, on [0, 1]."""
    matrix = torch.tensor([[field, 0.0, 0.0], [0.0, field, 0.0]], device=images.device)
    return warp(images.float() / 255, matrix.expand(images.shape[0], 2, 3), img_size)
