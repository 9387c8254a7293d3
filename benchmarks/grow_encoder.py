"""A trained encoder with a narrower ViT branch, grown to the one that `fused_fast` has.

Everything that the narrow branch knew stays: its heads and its channels are the first of the new
ones, blocks in between start as the identity, and new channels start as noisy copies of old ones,
which layer normalization hardly sees. What the new parts add is for training to find:

    python benchmarks/grow_encoder.py NARROW/checkpoint.pt START/checkpoint.pt --seed 5
    galmorph pretrain DATA... --recipe guided --init START/checkpoint.pt -o RUN/
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from galmorph.encoders.registry import create_encoder
from galmorph.training.checkpoint import get_kept, load_checkpoint

VIT = "vit_branch."
NOISE = 0.5
"""Of a copied channel, in standard deviations of the weights that it is copied from."""

State = dict[str, Any]


def append_copies(narrow: Tensor, size: int) -> Tensor:
    """More rows: copies of the first ones, with noise."""
    copied = narrow[: size - len(narrow)]
    noise = torch.randn_like(copied)
    return torch.cat((narrow, copied + NOISE * copied.std() * noise))


def append_plain(narrow: Tensor, size: int) -> Tensor:
    """More elements: the first ones again."""
    return torch.cat((narrow, narrow[: size - len(narrow)]))


def grow_block(state: State, new: str, old: str, narrow: State, dim: int) -> None:
    """Put a block of ``narrow`` into the wide block that ``state`` holds, in place."""
    few = len(narrow[f"{old}norm1.weight"])
    for norm in ("norm1", "norm2"):
        for part in ("weight", "bias"):
            state[f"{new}{norm}.{part}"] = append_plain(narrow[f"{old}{norm}.{part}"], dim)
    for name in ("attn.q", "attn.k", "attn.v", "mlp.fc1"):  # old outputs see old channels alone
        wide, weight = state[f"{new}{name}.weight"], narrow[f"{old}{name}.weight"]
        wide[: len(weight), :few], wide[: len(weight), few:] = weight, 0
    state[f"{new}mlp.fc1.bias"][: 4 * few] = narrow[f"{old}mlp.fc1.bias"]
    for name in ("attn.proj", "mlp.fc2"):  # old channels hear old inputs alone
        wide, weight = state[f"{new}{name}.weight"], narrow[f"{old}{name}.weight"]
        wide.zero_()
        wide[:, : weight.shape[1]] = append_copies(weight, dim)
        state[f"{new}{name}.bias"] = append_plain(narrow[f"{old}{name}.bias"], dim)


def grow(narrow: State, wide: State) -> State:
    """State dict of the wide encoder that computes nearly what the narrow one does."""
    state = {key: value.clone() for key, value in wide.items()}
    state |= {key: value for key, value in narrow.items() if not key.startswith(VIT)}
    dim = len(wide[f"{VIT}norm.weight"])
    for name in ("patch_embed.weight", "patch_embed.bias"):
        state[VIT + name] = append_copies(narrow[VIT + name], dim)
    for name in ("cls_token", "pos_embed"):
        grown = append_copies(narrow[VIT + name].transpose(0, 2), dim)
        state[VIT + name] = grown.transpose(0, 2).contiguous()
    depth = count_blocks(wide)
    for new, old in ((0, 0), (depth - 1, count_blocks(narrow) - 1)):
        grow_block(state, f"{VIT}blocks.{new}.", f"{VIT}blocks.{old}.", narrow, dim)
    for block in range(1, depth - 1):
        for name in ("attn.proj", "mlp.fc2"):
            state[f"{VIT}blocks.{block}.{name}.weight"].zero_()
            state[f"{VIT}blocks.{block}.{name}.bias"].zero_()
    for part in ("weight", "bias"):
        state[f"{VIT}norm.{part}"] = append_plain(narrow[f"{VIT}norm.{part}"], dim)
    few = len(narrow[f"{VIT}norm.weight"])
    state[f"{VIT}head.weight"].zero_()[:, :few] = narrow[f"{VIT}head.weight"]
    state[f"{VIT}head.bias"] = narrow[f"{VIT}head.bias"]
    return state


def count_blocks(state: State) -> int:
    """Transformer blocks in a state dict."""
    return len({key.split(".")[2] for key in state if key.startswith(f"{VIT}blocks.")})


def main() -> None:
    """Grow one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("narrow", type=Path, help="checkpoint of two blocks")
    parser.add_argument("grown", type=Path, help="checkpoint to write")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    checkpoint = load_checkpoint(options.narrow)
    state = grow(get_kept(checkpoint, "encoder"), create_encoder("fused_fast").state_dict())
    options.grown.parent.mkdir(parents=True, exist_ok=True)
    grown = {
        "encoder": state,
        "projection": get_kept(checkpoint, "projection"),
        "step": 0,
        "fingerprint": checkpoint["fingerprint"],
    }
    torch.save(grown, options.grown)


if __name__ == "__main__":
    main()
