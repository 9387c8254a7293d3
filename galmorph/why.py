"""Which parts of an image a share rests on."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import OptionError
from galmorph.heads import Head
from galmorph.heads.votes import VoteHead
from galmorph.inference.backends import open_backend
from galmorph.model import Model

COVERED = 1 / 6  # side of what is covered at once, as a part of the image's
STEPS = 22  # places of it along each side
BATCH = 64

LEAST = 1e-30  # shares below are taken for this one, so that their logarithm is finite
Floats = npt.NDArray[np.floating[Any]]


def compute_occlusion(
    model: Model, head: Head, pixels: npt.NDArray[Any], name: str
) -> npt.NDArray[np.float32]:
    """Fall of a share, in log odds, where a pixel is covered by sky, (3, y, x) to (y, x)."""
    own, others = _find_columns(head, name)
    encode = open_backend(model, precision="float32").encode
    squares, sky = list(_list_squares(pixels.shape[-1])), _find_sky(pixels)

    def measure(images: npt.NDArray[Any]) -> Floats:
        columns = head.fill(encode(images))
        if not others:
            return np.asarray(columns[own], dtype=np.float64)
        pairs = columns[own], np.sum([columns[each] for each in others], axis=0)
        share, rest = (np.log(np.maximum(part.astype(np.float64), LEAST)) for part in pairs)
        return np.asarray(share - rest)

    found = [measure(pixels[None])]
    for start in range(0, len(squares), BATCH):
        part = squares[start : start + BATCH]
        covered = np.repeat(pixels[None], len(part), axis=0)
        for image, square in zip(covered, part, strict=True):
            image[:, *square] = sky
        found.append(measure(covered))
    whole, *values = np.concatenate(found).tolist()
    total, count = np.zeros((2, *pixels.shape[1:]), dtype=np.float32)
    for square, value in zip(squares, values, strict=True):
        total[square] += whole - value
        count[square] += 1
    return np.asarray(total / count)


def _find_columns(head: Head, name: str) -> tuple[str, list[str]]:
    """The column of a class, an answer or a number; those of what else could be said."""
    columns = [spec.name for spec in head.columns() if spec.is_float]
    forms = (name, f"p_{name}", f"{name}_fraction")
    found = next((column for column in forms if column in columns), None)
    if found is None:
        near = get_close_matches(name, head.names, 1)
        known = f"{near[0]} is one" if near else f"it has {', '.join(head.names[:12])}"
        raise OptionError(f"--why {name}: the head {head.name!r} has no such share; {known}")
    if isinstance(head, VoteHead):
        answers = next((q.columns for q in head.questions if found[:-9] in q.columns), ())
        return found, [f"{a}_fraction" for a in answers if f"{a}_fraction" != found]
    return found, [c for c in columns if c[:2] == found[:2] == "p_" and c != found]


def _list_squares(side: int) -> Iterator[tuple[slice, slice]]:
    """Squares that begin at, and end at, the rims."""
    width = max(1, round(side * COVERED))
    starts = np.unique(np.linspace(0, side - width, STEPS).round().astype(int)).tolist()
    yield from ((slice(y, y + width), slice(x, x + width)) for y in starts for x in starts)


def _find_sky(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rim = np.ones(pixels.shape[1:], dtype=bool)
    rim[2:-2, 2:-2] = False
    return np.asarray(np.median(pixels[:, rim], axis=1)[:, None, None], dtype=pixels.dtype)


def compute_attention(model: Model, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """What the class token attends to in the last block, (patches, patches), above even."""
    import torch

    encoder: Any = model.encoder
    if not hasattr(encoder, "forward_attention"):
        raise OptionError(f"--attention: the encoder of {model.name!r} has no such ViT branch")
    given = torch.from_numpy(pixels[None] / np.float32(255 if pixels.dtype == np.uint8 else 1))
    mean, std = (torch.tensor(v)[:, None, None] for v in
                 (model.preprocessing.mean, model.preprocessing.std))  # fmt: skip
    with torch.inference_mode():
        maps = encoder.forward_attention((given - mean) / std)
    attended: Floats = maps[0, -1, :, 0, 1:].mean(dim=0).numpy()
    side = round(len(attended) ** 0.5)
    return np.asarray(attended.reshape(side, side) / attended.mean() - 1, dtype=np.float32)
