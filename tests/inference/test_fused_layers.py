"""Fused layers: the same function as the plain ones, or the plain ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from galmorph.encoders.registry import create_encoder
from galmorph.inference.devices import cpu_has_bfloat16
from galmorph.inference.fused_layers import _FusedBlock, _FusedConv, can_fuse, fuse_layers
from galmorph.inference.ready import fold_batch_norm

ARCHITECTURES = ("fused_fast", "wei2022")

needs_onednn = pytest.mark.skipif(not can_fuse(), reason="this torch comes without oneDNN")


def make_ready(architecture: str) -> nn.Module:
    """An encoder with statistics and shifts that folding must not lose."""
    torch.manual_seed(5)
    encoder = create_encoder(architecture)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.bias, 0, 0.3)
    return fold_batch_norm(encoder.eval()).requires_grad_(False)


def make_input(n: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn((n, 3, 84, 84), generator=torch.Generator().manual_seed(1))
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def count(module: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(m, kind) for m in module.modules())


@needs_onednn
@pytest.mark.parametrize(("architecture", "blocks"), [("fused_fast", 5), ("wei2022", 4)])
def test_every_block_and_the_stem_are_fused(architecture: str, blocks: int) -> None:
    fused = fuse_layers(make_ready(architecture))
    assert count(fused, _FusedBlock) == blocks
    assert count(fused, nn.ReLU) == 0
    stem: Any = fused.stem
    assert count(stem, _FusedConv) == (2 if architecture == "fused_fast" else 1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_same_embeddings(architecture: str) -> None:
    ready = make_ready(architecture)
    fused, x = fuse_layers(ready), make_input()
    with torch.inference_mode():
        expected, found = ready(x), fused(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_further_from_float32_than_plain_layers_in_bfloat16(architecture: str) -> None:
    from galmorph.inference.ready import _convert

    exact = make_ready(architecture)
    plain = _convert(make_ready(architecture), torch.bfloat16)
    fused = fuse_layers(plain)
    assert count(fused, _FusedBlock) > 0
    with torch.inference_mode():
        expected = exact(make_input())
        x = make_input(dtype=torch.bfloat16)
        errors = [(m(x).float() - expected).abs().mean() for m in (plain, fused)]
    assert errors[1] <= 1.1 * errors[0]


def test_the_encoder_is_left_as_it_is() -> None:
    ready = make_ready("wei2022")
    names = [name for name, _ in ready.named_modules()]
    fuse_layers(ready)
    assert [name for name, _ in ready.named_modules()] == names


@needs_onednn
def test_plain_layers_where_fusing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: _FusedConv, x: Tensor) -> Tensor:
        raise RuntimeError("another signature")

    monkeypatch.setattr(_FusedConv, "forward", fail)
    ready = make_ready("fused_fast")
    assert fuse_layers(ready) is ready


@needs_onednn
def test_plain_layers_where_fusing_gives_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _FusedConv.add_to
    monkeypatch.setattr(_FusedConv, "add_to", lambda self, other, x: right(self, 0 * other, x))
    ready = make_ready("fused_fast")
    assert fuse_layers(ready) is ready


def test_plain_layers_where_nothing_is_folded() -> None:
    encoder = create_encoder("fused_fast").eval()
    assert fuse_layers(encoder) is encoder


def test_other_encoders_are_left_alone() -> None:
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert fuse_layers(other) is other
