"""The encoder of Wei et al. 2022: golden values, checkpoint layout, attention."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from convert_wei2022 import from_authors, to_authors

from galmorph.encoders.fused import ProjectionHead, Wei2022
from galmorph.encoders.vit import LinformerAttention
from galmorph.errors import CheckpointError

GOLDEN = Path(__file__).parent / "wei2022_golden.npz"
ALIAS, NAME = "backbone.vit.transformer.", "backbone.eff_transformer."


def make_value(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """What the rule of the golden values puts into a tensor of the authors' layout."""
    key = key.replace(ALIAS, NAME)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    v = rng.standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        v = np.abs(v) / 2 + np.float32(0.75)
    elif key.endswith("running_mean"):
        v = v / 10
    elif len(shape) >= 2:
        v = v / np.sqrt(np.prod(shape[1:])).astype(np.float32)
    else:
        v = 1 + v / 10 if key.endswith("weight") else v / 10
    return torch.from_numpy(v.astype(np.float32))


@pytest.fixture(scope="module")
def authors() -> dict[str, torch.Tensor]:
    """A state_dict in the authors' layout, filled by the rule."""
    shapes = to_authors(Wei2022().state_dict(), ProjectionHead().state_dict())
    return {key: make_value(key, tuple(tensor.shape)) for key, tensor in shapes.items()}


@pytest.fixture(scope="module")
def networks(authors: dict[str, torch.Tensor]) -> tuple[Wei2022, ProjectionHead]:
    encoder, projection = Wei2022(), ProjectionHead()
    ours, head = from_authors(authors)
    encoder.load_state_dict(ours)
    projection.load_state_dict(head)
    return encoder.eval(), projection.eval()


def test_embedding_and_projection_have_the_golden_values(
    networks: tuple[Wei2022, ProjectionHead],
) -> None:
    encoder, projection = networks
    x = np.random.default_rng(20221108).standard_normal((3, 3, 84, 84)).astype(np.float32)
    with torch.inference_mode():
        embedding = encoder(torch.from_numpy(x))
        projected = projection(embedding)
    golden = np.load(GOLDEN)
    np.testing.assert_allclose(embedding.numpy(), golden["embedding"], atol=1e-4)
    np.testing.assert_allclose(projected.numpy(), golden["projection"], atol=1e-4)


def test_layout_has_263_keys_of_which_90_are_aliases(authors: dict[str, torch.Tensor]) -> None:
    assert len(authors) == 263
    assert sum(key.startswith(ALIAS) for key in authors) == 90
    assert authors["backbone.vit.to_patch_embedding.1.weight"].shape == (128, 432)


def test_keys_map_both_ways(authors: dict[str, torch.Tensor]) -> None:
    back = to_authors(*from_authors(authors))
    assert set(back) == set(authors)
    for key, tensor in authors.items():
        assert torch.equal(back[key], tensor), key


def test_data_parallel_prefix_and_missing_aliases_are_accepted(
    authors: dict[str, torch.Tensor],
) -> None:
    slim = {f"module.{k}": v for k, v in authors.items() if not k.startswith(ALIAS)}
    whole, fromslim = from_authors(authors), from_authors(slim)
    for one, other in zip(whole, fromslim, strict=True):
        assert {k: v.sum().item() for k, v in one.items()} == {
            k: v.sum().item() for k, v in other.items()
        }


def test_unknown_and_missing_tensors_are_named(authors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"unknown tensor 'backbone\.fc\.weight'"):
        from_authors({**authors, "backbone.fc.weight": torch.zeros(1)})
    cut = {k: v for k, v in authors.items() if not k.startswith("backbone.layer3.1.conv2")}
    with pytest.raises(CheckpointError, match=r"backbone\.layer3\.1\.conv2"):
        from_authors(cut)


def test_parameters_are_as_published(networks: tuple[Wei2022, ProjectionHead]) -> None:
    encoder, projection = (sum(p.numel() for p in m.parameters()) for m in networks)
    assert encoder == 3_955_776
    assert encoder + projection == 4_285_120


def test_linformer_agrees_with_a_loop_over_heads() -> None:
    torch.manual_seed(1)
    n, tokens, dim, heads, rank = 2, 5, 8, 2, 3
    layer = LinformerAttention(dim, heads, num_tokens=tokens, rank=rank).double()
    x = torch.randn(n, tokens, dim, dtype=torch.float64)
    with torch.inference_mode():
        got = layer(x).numpy()
    q, k, v = (x.numpy() @ m.weight.detach().numpy().T for m in (layer.q, layer.k, layer.v))
    pk, pv = layer.key_projection.detach().numpy(), layer.value_projection.detach().numpy()
    width = dim // heads
    for image in range(n):
        merged = np.empty((tokens, dim))
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            keys, values = pk.T @ k[image][:, part], pv.T @ v[image][:, part]
            for t in range(tokens):
                logits = np.array([q[image, t, part] @ key for key in keys]) / np.sqrt(width)
                weights = np.exp(logits) / np.exp(logits).sum()
                merged[t, part] = weights @ values
        want = merged @ layer.proj.weight.detach().numpy().T + layer.proj.bias.detach().numpy()
        np.testing.assert_allclose(got[image], want, atol=1e-12)
