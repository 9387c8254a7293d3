"""A checkpoint of the authors of Wei and others (2022) as a model file of galmorph's.

    python tools/convert_wei2022.py checkpoint.pth.tar -o authors.safetensors --survey gz2

Nothing in the checkpoint is executed. The authors' layout (Wei et al. 2022, PASP 134, 114508)
stores the transformer twice, under ``backbone.eff_transformer.`` and again under
``backbone.vit.transformer.``. Its patch embedding is a linear layer on patches flattened as (row,
column, channel); ours is the equal convolution. The projection head, which serves training only, is
left out.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from galmorph.encoders.fused import Wei2022
from galmorph.encoders.timm_adapter import load_pickle
from galmorph.errors import CheckpointError, GalmorphError
from galmorph.model import Model, write_model
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.stored import read_bytes
from galmorph.weights.verify import update_sidecar

FRAME_CROP = 180 / 424
"""The part that the authors cut out of frames of 424 px before they resize to 84 px: 180 px."""

SURVEYS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "gz2": ((0.0435, 0.0384, 0.0289), (0.0877, 0.0729, 0.0650)),
    "sdss": ((0.0996, 0.0813, 0.0556), (0.1324, 0.1143, 0.0779)),
    "decals": ((0.0992, 0.0925, 0.0915), (0.1018, 0.0939, 0.0911)),
}
"""Channel mean and standard deviation on [0, 1] of each training set of Wei et al. 2022."""

PATCH_SIZE = 12
TRANSFORMER = "backbone.eff_transformer."
TRANSFORMER_ALIAS = "backbone.vit.transformer."
AUTHORS_PATCH_WEIGHT = "backbone.vit.to_patch_embedding.1.weight"
OUR_PATCH_WEIGHT = "encoder.vit_branch.patch_embed.weight"

# (authors' prefix, our prefix); "{s}", "{b}" and "{l}" stand for stage, block and layer numbers.
_NAMES = (
    ("backbone.conv1.", "encoder.stem.conv."),
    ("backbone.bn1.", "encoder.stem.norm."),
    ("backbone.layer{s+2}.{b}.conv1.", "encoder.cnn_branch.stages.{s}.{b}.conv1.conv."),
    ("backbone.layer{s+2}.{b}.bn1.", "encoder.cnn_branch.stages.{s}.{b}.conv1.norm."),
    ("backbone.layer{s+2}.{b}.conv2.", "encoder.cnn_branch.stages.{s}.{b}.conv2.conv."),
    ("backbone.layer{s+2}.{b}.bn2.", "encoder.cnn_branch.stages.{s}.{b}.conv2.norm."),
    ("backbone.layer{s+2}.0.shortcut.0.", "encoder.cnn_branch.stages.{s}.0.shortcut.conv."),
    ("backbone.layer{s+2}.0.shortcut.1.", "encoder.cnn_branch.stages.{s}.0.shortcut.norm."),
    (
        TRANSFORMER + "net.layers.{l}.0.fn.proj_k",
        "encoder.vit_branch.blocks.{l}.attn.key_projection",
    ),
    (
        TRANSFORMER + "net.layers.{l}.0.fn.proj_v",
        "encoder.vit_branch.blocks.{l}.attn.value_projection",
    ),
    (TRANSFORMER + "net.layers.{l}.0.fn.to_q.", "encoder.vit_branch.blocks.{l}.attn.q."),
    (TRANSFORMER + "net.layers.{l}.0.fn.to_k.", "encoder.vit_branch.blocks.{l}.attn.k."),
    (TRANSFORMER + "net.layers.{l}.0.fn.to_v.", "encoder.vit_branch.blocks.{l}.attn.v."),
    (TRANSFORMER + "net.layers.{l}.0.fn.to_out.", "encoder.vit_branch.blocks.{l}.attn.proj."),
    (TRANSFORMER + "net.layers.{l}.0.norm.", "encoder.vit_branch.blocks.{l}.norm1."),
    (TRANSFORMER + "net.layers.{l}.1.fn.w1.", "encoder.vit_branch.blocks.{l}.mlp.fc1."),
    (TRANSFORMER + "net.layers.{l}.1.fn.w2.", "encoder.vit_branch.blocks.{l}.mlp.fc2."),
    (TRANSFORMER + "net.layers.{l}.1.norm.", "encoder.vit_branch.blocks.{l}.norm2."),
    ("backbone.vit.pos_embedding", "encoder.vit_branch.pos_embed"),
    ("backbone.vit.cls_token", "encoder.vit_branch.cls_token"),
    ("backbone.vit.to_patch_embedding.1.", "encoder.vit_branch.patch_embed."),
    ("backbone.vit.mlp_head.0.", "encoder.vit_branch.norm."),
    ("backbone.vit.mlp_head.1.", "encoder.vit_branch.head."),
    ("contrastive_head.0.", "projection.fc1."),
    ("contrastive_head.1.", "projection.norm."),
    ("contrastive_head.3.", "projection.fc2."),
)


def _expand_names() -> dict[str, str]:
    """Every prefix of the authors' with its own numbers filled in."""
    names = {}
    for theirs, ours in _NAMES:
        if "{s}" in ours:
            numbers = [{"s": s, "b": b} for s in (0, 1) for b in (0, 1)]
        else:
            numbers = [{"l": layer} for layer in range(6)] if "{l}" in ours else [{}]
        for fill in numbers:
            shown = theirs.replace("{s+2}", str(fill.get("s", 0) + 2))
            names[shown.format(**fill)] = ours.format(**fill)
    return names


_TO_OURS = _expand_names()
_TO_THEIRS = {ours: theirs for theirs, ours in _TO_OURS.items()}


def _rename(key: str, names: Mapping[str, str]) -> str:
    """Replace the prefix of ``key`` (whole, or up to its last dot)."""
    if key in names:
        return names[key]
    prefix, dot, leaf = key.rpartition(".")
    if prefix + dot in names:
        return names[prefix + dot] + leaf
    raise CheckpointError(f"unknown tensor {key!r} in a checkpoint of the wei2022 layout")


def from_authors(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Turn the authors' state_dict into ours.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        263 entries, or those without the 90 aliases. A ``module.`` prefix, as data-parallel
        training leaves it, is dropped.

    Returns
    -------
    encoder, projection : dict of str to Tensor
        For `galmorph.encoders.fused.Wei2022` and `galmorph.encoders.fused.ProjectionHead`.

    Raises
    ------
    CheckpointError
        A tensor is unknown or missing.
    """
    encoder: dict[str, Tensor] = {}
    projection: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        key = re.sub(r"^module\.", "", name).replace(TRANSFORMER_ALIAS, TRANSFORMER)
        part, _, ours = _rename(key, _TO_OURS).partition(".")
        (encoder if part == "encoder" else projection)[ours] = (
            tensor.reshape(-1, PATCH_SIZE, PATCH_SIZE, 3).permute(0, 3, 1, 2).contiguous()
            if key == AUTHORS_PATCH_WEIGHT
            else tensor
        )
    missing = [k for k in _TO_OURS if not any(_covers(k, n) for n in state_dict)]
    if missing:
        raise CheckpointError(
            f"the checkpoint is not complete: {len(missing)} groups of tensors are missing, "
            f"{missing[0]!r} among them"
        )
    return encoder, projection


def _covers(prefix: str, name: str) -> bool:
    return re.sub(r"^module\.", "", name).replace(TRANSFORMER_ALIAS, TRANSFORMER).startswith(prefix)


def to_authors(
    encoder: Mapping[str, Tensor], projection: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Turn our state_dicts into the authors', aliases included: the inverse of `from_authors`.

    Raises
    ------
    CheckpointError
        A tensor is not one of the wei2022 encoder's.
    """
    state_dict: dict[str, Tensor] = {}
    ours = {f"encoder.{k}": v for k, v in encoder.items()}
    ours |= {f"projection.{k}": v for k, v in projection.items()}
    for name, tensor in ours.items():
        key = _rename(name, _TO_THEIRS)
        is_patch = name == OUR_PATCH_WEIGHT
        flat = tensor.permute(0, 2, 3, 1).reshape(tensor.shape[0], -1) if is_patch else tensor
        state_dict[key] = flat.contiguous()
        if key.startswith(TRANSFORMER):
            state_dict[key.replace(TRANSFORMER, TRANSFORMER_ALIAS)] = state_dict[key]
    return state_dict


def convert_checkpoint(source: Path, target: Path, *, survey: str) -> None:
    """Write the encoder with the mean and standard deviation of what it was trained on."""
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target}: the output must end in .safetensors")
    data, sha256 = read_bytes(source, None)
    encoder = Wei2022()
    try:
        encoder.load_state_dict(from_authors(load_pickle(data, source))[0])
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        raise CheckpointError(
            f"{source}: is not in the layout of Wei et al. 2022: {said}"
        ) from None
    mean, std = SURVEYS[survey]
    model = Model(
        target.stem,
        "wei2022",
        encoder.eval(),
        Preprocessing(img_size=84, crop=FRAME_CROP, mean=mean, std=std),
        provenance={
            "converted_from": source.name,
            "source_sha256": sha256,
            "normalization": survey,
        },
    )
    write_model(target, model)
    update_sidecar(target)


def main() -> int:
    """Convert; 1 where that cannot be."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--survey", choices=SURVEYS, default="gz2", help="that it was trained on")
    given = parser.parse_args()
    try:
        convert_checkpoint(given.checkpoint, given.output, survey=given.survey)
    except GalmorphError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
