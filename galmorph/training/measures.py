"""What the pixels of a galaxy say of its shape, whichever way it lies: targets without labels."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = (0.7, 0.5, 0.35, 0.25, 0.17, 0.12, 0.08, 0.05)  # isophotes, parts of the peak
ELLIPSE, BODY = 4, 5  # the level whose ellipse the rings follow; that which bounds the galaxy
FAINTEST = 2.0  # of 255: no isophote is fainter
APERTURES = (3.0, 5.0, 8.0, 12.0, 18.0, 26.0)  # sigma, px of 112
RINGS = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25)  # parts of the ellipse
ANGLES, MODES = 48, 7
SPREADS = 16  # steps by which an isophote may reach beyond the one above it, 2 px each
CHUNK = 128

Shape = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def to_normal_scores(values: Tensor) -> Tensor:
    """Each column as the normal quantiles of its ranks: no unit, no outlier."""
    ranks = values.argsort(dim=0).argsort(dim=0)
    scores: Tensor = torch.special.ndtri((ranks + 0.5) / len(values))
    return scores


def compute_measures(images: Tensor) -> Tensor:
    """All measures of cutouts, uint8 (n, 3, h, w) to (n, measures)."""
    parts = (images[i : i + CHUNK] for i in range(0, len(images), CHUNK))
    return torch.cat([_measure(part.float()) for part in parts]).nan_to_num(0, 0, 0)


def _measure(x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    raw = x.mean(dim=1)
    light = _smooth(raw, 3)
    rim = torch.cat((light[:, :4].flatten(1), light[:, -4:].flatten(1)), dim=1)
    sky = rim.quantile(0.3, dim=1)[:, None, None]
    raw, light = raw - sky, light - sky
    near = light[:, h // 2 - 8 : h // 2 + 8, w // 2 - 8 : w // 2 + 8].flatten(1)
    peak, place = near.max(dim=1)
    cy, cx = place // 16 + h // 2 - 8, place % 16 + w // 2 - 8
    dy = (torch.arange(h) - cy[:, None])[:, :, None].float()  # from the peak
    dx = (torch.arange(w) - cx[:, None])[:, None, :].float()
    found = [peak.clamp(min=1).log()]
    seed = _halve((dy == 0) & (dx == 0))
    bodies: list[Tensor] = []
    shapes: list[Shape] = []
    for level in LEVELS:
        above = light > (level * peak).clamp(min=FAINTEST)[:, None, None]
        seed = _spread(seed, _halve(above))
        body = (above & seed.repeat_interleave(2, 1).repeat_interleave(2, 2)).float()
        bodies.append(body)
        shapes.append(_moments(body, dy, dx))
        found += _isophote(body, shapes[-1], light, x, dy, dx, peak)
    reference = shapes[3][4]
    found += [(s[4] - reference).sin().abs() for s in shapes]
    for sigma in APERTURES:
        window = torch.exp(-(dy.square() + dx.square()) / (2 * sigma**2)) * light.clamp(min=0)
        total, _, major, minor, _ = _moments(window, dy, dx)
        found += [
            ((major + minor) / sigma**2).log(),
            (minor / major).log(),
            (total / sigma**2 + 1).log(),
        ]
    found += _rings(light, shapes[ELLIPSE], cy, cx, peak)
    found += _texture(raw, light, bodies[BODY], dy, dx)
    return torch.stack(found, dim=1)


def _smooth(x: Tensor, size: int) -> Tensor:
    """Mean of a square of pixels."""
    rows = F.avg_pool2d(x, (1, size), 1, (0, size // 2), count_include_pad=False)
    return F.avg_pool2d(rows, (size, 1), 1, (size // 2, 0), count_include_pad=False)


def _halve(mask: Tensor) -> Tensor:
    """Whether any of 2 by 2 pixels is set."""
    rows = mask[:, ::2] | mask[:, 1::2]
    return rows[:, :, ::2] | rows[:, :, 1::2]


def _spread(seed: Tensor, allowed: Tensor) -> Tensor:
    """The seed and what is connected with it inside the allowed pixels, so far as it reaches."""
    for _ in range(SPREADS):
        grown = seed.clone()
        grown[:, 1:] |= seed[:, :-1]
        grown[:, :-1] |= seed[:, 1:]
        grown[:, :, 1:] |= seed[:, :, :-1]
        grown[:, :, :-1] |= seed[:, :, 1:]
        seed = grown & allowed
    return seed


def _moments(weight: Tensor, dy: Tensor, dx: Tensor) -> Shape:
    """Sum, distance of the centroid, variances along both axes (px^2), angle of the major one."""
    total = weight.sum(dim=(1, 2)).clamp(min=1e-6)
    column, row = weight.sum(dim=2), weight.sum(dim=1)  # over x, over y
    dy, dx = dy[:, :, 0], dx[:, 0]
    my, mx = (column * dy).sum(1) / total, (row * dx).sum(1) / total
    syy = (column * dy.square()).sum(1) / total - my.square() + 1 / 12
    sxx = (row * dx.square()).sum(1) / total - mx.square() + 1 / 12
    sxy = (torch.einsum("nyx,nx->ny", weight, dx) * dy).sum(1) / total - my * mx
    spread, middle = torch.hypot((sxx - syy) / 2, sxy), (sxx + syy) / 2
    angle = torch.atan2(2 * sxy, sxx - syy) / 2
    return total, torch.hypot(my, mx), middle + spread, (middle - spread).clamp(min=0.05), angle


def _isophote(
    body: Tensor, shape: Shape, light: Tensor, x: Tensor, dy: Tensor, dx: Tensor, peak: Tensor
) -> list[Tensor]:
    """Area, axis ratios without and with light, filling, lopsidedness, mean light, two colours."""
    area, offset, major, minor, _ = shape
    inner = _moments(body * light, dy, dx)
    colour = torch.einsum("nchw,nhw->nc", x, body).clamp(min=1)
    return [
        area.log(),
        (minor / major).log(),
        (inner[3] / inner[2]).log(),
        (area / (major * minor).sqrt()).log(),
        offset / area.sqrt(),
        (inner[0] / area / peak.clamp(min=1)).clamp(min=1e-3).log(),
        (colour[:, 0] / colour[:, 2]).log(),
        (colour[:, 0] / colour[:, 1]).log(),
    ]


def _rings(light: Tensor, shape: Shape, cy: Tensor, cx: Tensor, peak: Tensor) -> list[Tensor]:
    """Mean, Fourier modes and scatter along ellipses of the galaxy's own axes."""
    turn = torch.arange(ANGLES) * 2 * math.pi / ANGLES
    part = torch.tensor(RINGS)[:, None]
    along = 2 * shape[2].sqrt()[:, None, None] * part * turn.cos()
    across = 2 * shape[3].sqrt()[:, None, None] * part * turn.sin()
    cos, sin = shape[4].cos()[:, None, None], shape[4].sin()[:, None, None]
    px = cx[:, None, None] + along * cos - across * sin
    py = cy[:, None, None] + along * sin + across * cos
    values = _sample(light, py, px)  # (n, rings, angles)
    modes = torch.fft.rfft(values, dim=-1).abs()[..., :MODES] / ANGLES
    mean = modes[..., :1].clamp(min=1)
    parts = torch.cat((modes[..., 1:] / mean, values.std(dim=-1, keepdim=True) / mean), dim=-1)
    profile = (modes[..., 0].clamp(min=0.3) / peak.clamp(min=1)[:, None]).log()
    return [*profile.unbind(1), *parts.flatten(1).unbind(1)]


def _sample(light: Tensor, py: Tensor, px: Tensor) -> Tensor:
    """Bilinear values at pixels of the plane, (n, a, b)."""
    h, w = light.shape[1:]
    points = torch.stack(((2 * px + 1) / w - 1, (2 * py + 1) / h - 1), dim=-1)
    return F.grid_sample(light[:, None], points, padding_mode="border", align_corners=False)[:, 0]


def _texture(raw: Tensor, light: Tensor, body: Tensor, dy: Tensor, dx: Tensor) -> list[Tensor]:
    """Clumpiness at three scales and its skewness, asymmetry, Gini, M20."""
    area = body.sum(dim=(1, 2)).clamp(min=1)
    total = (raw * body).sum(dim=(1, 2)).clamp(min=1)
    found = []
    for size in (3, 7, 13):
        rest = (raw - _smooth(raw, size)) * body
        square = rest.square().sum(dim=(1, 2)) / area
        found += [rest.abs().sum(dim=(1, 2)) / total]
        found += [rest.pow(3).sum(dim=(1, 2)) / area / (square.pow(1.5) + 1e-6)]
    py, px = -dy - dy[:, :1], -dx - dx[:, :, :1]  # opposite, counted from the corner
    turned = _sample(light, py.expand_as(light), px.expand_as(light))
    found += [((light - turned).abs() * body).sum(dim=(1, 2)) / total]
    lit = (light * body).flatten(1)
    ordered, order = lit.sort(dim=1, descending=True)
    rank = torch.arange(1, lit.shape[1] + 1)
    whole = ordered.sum(dim=1).clamp(min=1)
    found += [((area[:, None] + 1 - 2 * rank) * ordered).sum(dim=1) / (whole * area)]
    moment = ((dy.square() + dx.square()).flatten(1) * lit).gather(1, order)
    bright = moment * (ordered.cumsum(dim=1) <= 0.2 * whole[:, None])
    return [*found, (bright.sum(dim=1) / moment.sum(dim=1).clamp(min=1) + 1e-4).log()]
