"""What all fused encoders share: shapes, attention maps, and the cost of the fast one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from galmorph.encoders.registry import create_encoder, list_encoders
from galmorph.encoders.vit import Attention
from galmorph.errors import UnknownModelError


def count_gmac(encoder: nn.Module) -> float:
    """Multiply-adds of convolutions, linear layers and attention products for one image."""
    total = 0

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, Attention):
            k, v = module.keys_and_values(inputs[0])
            tokens = inputs[0].shape[1]
            total += tokens * (k.numel() + v.numel())

    handles = [m.register_forward_hook(hook) for m in encoder.modules()]
    with torch.inference_mode():
        encoder(torch.zeros(1, 3, 84, 84))
    for handle in handles:
        handle.remove()
    return total / 1e9


def test_fused_fast_needs_at_most_0_3_gmac() -> None:
    assert 0.05 < count_gmac(create_encoder("fused_fast").eval()) <= 0.3


def test_wei2022_needs_the_published_1_81_gmac() -> None:
    assert count_gmac(create_encoder("wei2022").eval()) == pytest.approx(1.81, abs=0.02)


@pytest.mark.parametrize("name", ["fused_fast", "wei2022"])
def test_attention_maps_are_distributions_over_tokens(name: str) -> None:
    torch.manual_seed(0)
    encoder = create_encoder(name).eval()
    with torch.inference_mode():
        maps = encoder.forward_attention(torch.randn(2, 3, 84, 84))
    depth = len(encoder.vit_branch.blocks)
    assert maps.shape == (2, depth, 4, 50, 50)
    assert maps.min() >= 0
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, depth, 4, 50))


@pytest.mark.parametrize("name", ["fused_fast", "wei2022"])
def test_embedding_is_cnn_first_then_vit(name: str) -> None:
    torch.manual_seed(0)
    encoder = create_encoder(name).eval()
    x = torch.randn(2, 3, 84, 84)
    with torch.inference_mode():
        embedding = encoder(x)
        cnn = encoder.forward_features(x).mean(dim=(2, 3))
    assert embedding.shape == (2, 512)
    assert encoder.num_features == 512
    torch.testing.assert_close(embedding[:, :256], cnn)


def test_unknown_architecture_names_the_known_ones() -> None:
    assert list_encoders() == ["fused_fast", "wei2022"]
    with pytest.raises(UnknownModelError, match=r"'resnet'; galmorph defines fused_fast, wei2022"):
        create_encoder("resnet")
