"""Vision-transformer branches: full attention, and Linformer's with projected keys and values."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(n, tokens, dim) to (n, num_heads, tokens, dim / num_heads)."""
    n, tokens, dim = x.shape
    return x.reshape(n, tokens, num_heads, dim // num_heads).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens (Vaswani et al. 2017)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (n, num_heads, positions, head_dim)."""
        return split_heads(self.k(x), self.num_heads), split_heads(self.v(x), self.num_heads)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """Attend from the first ``num_queries`` tokens (all of them by default) to all tokens."""
        k, v = self.keys_and_values(x)
        q = split_heads(self.q(x[:, :num_queries]), self.num_heads)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # (n, tokens, heads, head_dim)
        out: Tensor = self.proj(y.reshape(*y.shape[:2], -1))
        return out

    def compute_attention(self, x: Tensor) -> Tensor:
        """Attention to each token, (n, num_heads, tokens, tokens), rows summing to 1."""
        q = split_heads(self.q(x), self.num_heads)
        k, _ = self.keys_and_values(x)
        return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)


class LinformerAttention(Attention):
    """Attention to learned mixtures of the tokens (Wang et al. 2020, arXiv:2006.04768)."""

    def __init__(self, dim: int, num_heads: int, *, num_tokens: int, rank: int) -> None:
        super().__init__(dim, num_heads)
        self.key_projection = nn.Parameter(torch.randn(num_tokens, rank) / math.sqrt(rank))
        self.value_projection = nn.Parameter(torch.randn(num_tokens, rank) / math.sqrt(rank))

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        k = self.key_projection.T @ self.k(x)  # (n, rank, dim)
        v = self.value_projection.T @ self.v(x)
        return split_heads(k, self.num_heads), split_heads(v, self.num_heads)

    def compute_attention(self, x: Tensor) -> Tensor:
        """Attention carried back to the tokens, in proportion to their part in each key."""
        share = self.key_projection.abs()
        share = share / share.sum(dim=0, keepdim=True)  # (tokens, rank), columns sum to 1
        return super().compute_attention(x) @ share.T


class Mlp(nn.Module):
    """Two linear layers with exact GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class TransformerBlock(nn.Module):
    """Pre-norm block: attention and MLP, each with a residual connection."""

    def __init__(self, dim: int, attn: Attention, *, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, mlp_ratio * dim)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """New values of the first ``num_queries`` tokens (all of them by default)."""
        x = x[:, :num_queries] + self.attn(self.norm1(x), num_queries)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VitBranch(nn.Module):
    """Patches of `patch_size` pixels, `grid_size` a side, to the class token's embedding."""

    def __init__(
        self,
        *,
        in_chans: int,
        patch_size: int,
        depth: int,
        linformer_rank: int | None = None,
        grid_size: int = 7,
        embed_dim: int = 128,
        num_heads: int = 4,
        num_features: int = 256,
    ) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.num_features = num_features
        num_tokens = grid_size**2 + 1
        self.patch_embed = nn.Conv2d(in_chans, embed_dim, patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, num_tokens, embed_dim) * 0.02)
        attend: Callable[[int, int], Attention] = Attention
        if linformer_rank is not None:
            attend = partial(LinformerAttention, num_tokens=num_tokens, rank=linformer_rank)
        blocks = (TransformerBlock(embed_dim, attend(embed_dim, num_heads)) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_features)

    def tokenize(self, x: Tensor) -> Tensor:
        """Patches with the class token before them, (n, grid_size**2 + 1, embed_dim)."""
        patches = self.patch_embed(x).flatten(2).transpose(1, 2)  # (n, grid_size**2, embed_dim)
        cls_token = self.cls_token.expand(x.shape[0], -1, -1)
        return torch.cat((cls_token, patches), dim=1) + self.pos_embed

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.blocks[:-1](self.tokenize(x))
        cls_token = self.blocks[-1](tokens, 1)[:, 0]  # nothing else of the last block is used
        out: Tensor = self.head(self.norm(cls_token))  # (n, num_features)
        return out

    def forward_attention(self, x: Tensor) -> Tensor:
        """Attention of every block, (n, depth, num_heads, tokens, tokens)."""
        maps, tokens = [], self.tokenize(x)
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            maps.append(block.attn.compute_attention(block.norm1(tokens)))
            tokens = block(tokens)
        return torch.stack(maps, dim=1)
