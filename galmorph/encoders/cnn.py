"""Convolutional branches and the pieces that they are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalization."""

    def __init__(
        self, in_chans: int, out_chans: int, kernel_size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_chans, out_chans, kernel_size, stride=stride, padding=padding, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(out_chans)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions (He et al. 2016, CVPR, fig. 2)."""

    def __init__(self, in_chans: int, out_chans: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_chans, out_chans, 3, stride=stride, padding=1)
        self.conv2 = ConvNorm(out_chans, out_chans, 3, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_chans != out_chans:
            self.shortcut = ConvNorm(in_chans, out_chans, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))  # (n, out_chans, h / stride, w / stride)
        return F.relu(y + self.shortcut(x))


class CnnBranch(nn.Module):
    """Residual stages on the feature map of a stem, averaged over the plane."""

    def __init__(
        self, in_chans: int, widths: Sequence[int], depths: Sequence[int], strides: Sequence[int]
    ) -> None:
        super().__init__()
        stages = []
        for width, depth, stride in zip(widths, depths, strides, strict=True):
            blocks = [BasicBlock(in_chans, width, stride=stride)]  # widens and strides
            blocks += [BasicBlock(width, width) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            in_chans = width
        self.stages = nn.Sequential(*stages)
        self.num_features = in_chans

    def forward_features(self, x: Tensor) -> Tensor:
        """Feature map before the average, (n, num_features, h, w)."""
        features: Tensor = self.stages(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        return torch.mean(self.forward_features(x), dim=(2, 3))  # (n, num_features)
