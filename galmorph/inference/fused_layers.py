"""Convolutions together with the sum and the ReLU that follow them, on processors.

Each of these steps alone reads and writes a whole feature map, which costs a tenth of the encoder's
time. oneDNN does them while the values are at hand. The operators are those with which
`torch.compile` reaches it; torch does not promise to keep them, so that they are used only where a
trial gives what the plain layers give.
"""

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn

from galmorph.encoders.cnn import BasicBlock, ConvNorm
from galmorph.encoders.fused import FusedEncoder

logger = logging.getLogger(__name__)

# Of the trial, as a fraction of the largest feature: rounding, and no wrong layer.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}


USUAL_BATCH = 64


class _FusedConv(nn.Module):
    """A convolution whose normalization is folded in, then perhaps ReLU.

    Its weights are laid out as oneDNN wants them once, at the first call, and not in every call.
    """

    def __init__(self, layer: ConvNorm, *, relu: bool) -> None:
        super().__init__()
        conv = layer.conv
        if not isinstance(layer.norm, nn.Identity):
            raise ValueError("the normalization is not folded into its convolution")
        self.weight, self.bias = conv.weight, conv.bias
        self.relu = relu
        self._geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self._laid_out: Tensor | None = None

    def _lay_out(self, x: Tensor) -> Tensor:
        if self._laid_out is None:
            lay_out = torch.ops.mkldnn._reorder_convolution_weight
            size = [USUAL_BATCH, *x.shape[1:]]
            self._laid_out = lay_out(self.weight.detach(), *self._geometry, size)
        return self._laid_out

    def forward(self, x: Tensor) -> Tensor:
        run = torch.ops.mkldnn._convolution_pointwise
        after = "relu" if self.relu else "none"
        out: Tensor = run(x, self._lay_out(x), self.bias, *self._geometry, after, [], "")
        return out

    def add_to(self, other: Tensor, x: Tensor) -> Tensor:
        """ReLU of the convolution of ``x`` plus ``other``."""
        run = torch.ops.mkldnn._convolution_pointwise.binary
        after: tuple[Any, ...] = ("add", None, "relu", [], None)
        out: Tensor = run(x, other, self._lay_out(x), self.bias, *self._geometry, *after)
        return out


class _FusedBlock(nn.Module):
    """`BasicBlock` in two or three steps."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.conv1 = _FusedConv(block.conv1, relu=True)
        self.conv2 = _FusedConv(block.conv2, relu=False)
        self.shortcut = block.shortcut
        if isinstance(block.shortcut, ConvNorm):
            self.shortcut = _FusedConv(block.shortcut, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2.add_to(self.shortcut(x), self.conv1(x))


def _replace_layers(module: nn.Module) -> None:
    """Replace blocks, and convolutions right before a ReLU, at every level."""
    before: str | None = None
    for name, layer in list(module.named_children()):
        if isinstance(layer, BasicBlock):
            setattr(module, name, _FusedBlock(layer))
        elif isinstance(layer, nn.ReLU) and before is not None:
            conv: Any = getattr(module, before)
            setattr(module, before, _FusedConv(conv, relu=True))
            setattr(module, name, nn.Identity())
        elif not isinstance(layer, ConvNorm):
            _replace_layers(layer)
        before = name if isinstance(layer, ConvNorm) else None


def can_fuse() -> bool:
    """Whether this torch has the operators."""
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def fuse_layers(encoder: nn.Module) -> nn.Module:
    """The same function for a processor, of an encoder whose normalizations are folded.

    The encoder itself where it is not one of ours, or fusing does not work with this torch.
    """
    if not isinstance(encoder, FusedEncoder):
        return encoder
    fused = copy.deepcopy(encoder)
    weight = next(encoder.cnn_branch.parameters())
    generator = torch.Generator().manual_seed(0)
    size = (2, encoder.in_chans, encoder.img_size, encoder.img_size)
    trial = torch.randn(size, generator=generator).to(weight.dtype)
    trial = trial.contiguous(memory_format=torch.channels_last)
    try:
        _replace_layers(fused)
        with torch.inference_mode():
            expected, found = encoder(trial).float(), fused(trial).float()
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        logger.debug("layers are not fused: %s", error)
        return encoder
    bound = TOLERANCE[weight.dtype] * float(expected.abs().max())
    return fused if float((found - expected).abs().max()) <= bound else encoder
