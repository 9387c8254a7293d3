"""Fused CNN-ViT encoders: normalized cutouts to 512-d embeddings."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from galmorph.encoders.cnn import CnnBranch, ConvNorm
from galmorph.encoders.vit import VitBranch

IN_CHANS = 3


class FusedEncoder(nn.Module):
    """A CNN branch and a ViT branch, concatenated: (n, 3, 84, 84), normalized, to (n, 512)."""

    cnn_branch: CnnBranch
    vit_branch: VitBranch
    img_size = 84
    in_chans = IN_CHANS

    @property
    def num_features(self) -> int:
        """Length of the embedding."""
        return self.cnn_branch.num_features + self.vit_branch.num_features

    def branch_inputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the CNN branch and the ViT branch each see of the input."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        cnn_input, vit_input = self.branch_inputs(x)
        return torch.cat((self.cnn_branch(cnn_input), self.vit_branch(vit_input)), dim=1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature map of the CNN branch before the average, (n, channels, h, w)."""
        return self.cnn_branch.forward_features(self.branch_inputs(x)[0])

    def forward_attention(self, x: Tensor) -> Tensor:
        """Attention of the ViT branch, (n, depth, num_heads, 50, 50); token 0 is the class."""
        return self.vit_branch.forward_attention(self.branch_inputs(x)[1])


class Wei2022(FusedEncoder):
    """Wei et al. 2022, PASP 134, 114508: a ResNet without max pool beside a Linformer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(IN_CHANS, 64, 7, padding=1)
        self.activation = nn.ReLU()
        self.cnn_branch = CnnBranch(64, widths=(128, 256), depths=(2, 2), strides=(2, 2))
        self.vit_branch = VitBranch(in_chans=IN_CHANS, patch_size=12, depth=6, linformer_rank=64)

    def branch_inputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.activation(self.stem(x)), x  # (n, 64, 80, 80) and the image


class FusedFast(FusedEncoder):
    """The same fusion at a ninth of the operations: both branches see 21 by 21 features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(IN_CHANS, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            ConvNorm(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.cnn_branch = CnnBranch(64, widths=(64, 128, 256), depths=(1, 2, 2), strides=(1, 2, 2))
        self.vit_branch = VitBranch(in_chans=64, patch_size=3, depth=2)

    def branch_inputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.stem(x)  # (n, 64, 21, 21)
        return features, features


class Expander(nn.Module):
    """Embedding to the wide space in which VICReg compares views (training only)."""

    def __init__(self, num_features: int, *, hidden_dim: int = 1024, out_dim: int = 1024) -> None:
        super().__init__()
        self.fc1 = nn.Linear(num_features, hidden_dim)
        self.norm = nn.BatchNorm1d(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, out_dim)

    def forward(self, embedding: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.relu(self.norm(self.fc1(embedding))))
        return out  # (n, out_dim)


class ProjectionHead(Expander):
    """Embedding to the unit sphere on which contrastive training compares (training only)."""

    def __init__(self, num_features: int = 512) -> None:
        super().__init__(num_features, hidden_dim=512, out_dim=128)

    def forward(self, embedding: Tensor) -> Tensor:
        return F.normalize(super().forward(embedding), dim=1)  # (n, 128), unit length
