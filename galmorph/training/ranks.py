"""Several processes that train one network together: each takes its share of every batch.

Views, activations and gradients of a step are those of the whole batch, whatever the number of
processes: the projections are gathered, batch normalization takes its mean and variance over all
processes (or a network could tell positive pairs by the statistics that they share), and gradients
are summed. Only the order of sums differs, and with it the rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

__all__ = ["Ranks", "SharedBatchNorm", "share_batch_norm"]


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is. With one process nothing is exchanged.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    count : int
        Of all; more than one need a process group of `torch.distributed`.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that logs, saves and measures."""
        return self.rank == 0

    def share(self, total: int) -> Tensor:
        """Which of ``total`` rows are this process's: a run of them, in order."""
        return torch.arange(total).tensor_split(self.count)[self.rank]

    def gather(self, part: Tensor, rows: Tensor, total: int) -> Tensor:
        """Rows of all processes, with the gradient of one's own.

        The gradients that all processes find for a function of the result add up to the whole.

        Parameters
        ----------
        part : Tensor, shape (n, ...)
            Rows that this process has computed.
        rows : Tensor of int, shape (n,)
            Where they belong.
        total : int
            Rows of the result.
        """
        if self.count == 1:
            return part
        whole = part.new_zeros((total, *part.shape[1:]))
        whole[rows] = part.detach()
        distributed.all_reduce(whole)
        return whole.index_copy(0, rows, part)

    def add_up(self, part: Tensor) -> Tensor:
        """Sum over the processes, with the gradient of one's own part."""
        if self.count == 1:
            return part
        whole = part.detach().clone()
        distributed.all_reduce(whole)
        return part + (whole - part.detach())

    def any(self, flag: bool) -> bool:
        """Whether it is so in any of the processes; all get the same answer."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag))
        distributed.all_reduce(flags)
        return bool(flags)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients; a parameter without one in any of the processes stays without."""
        if self.count == 1:
            return
        listed = list(parameters)
        parts = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in listed]
        present = parts[0].new_tensor([p.grad is not None for p in listed])
        flat = torch.cat([*(part.flatten() for part in parts), present])
        distributed.all_reduce(flat)
        *sums, present = torch.split(flat, [*(p.numel() for p in listed), len(listed)])
        for parameter, part, found, there in zip(
            listed, parts, sums, present.tolist(), strict=True
        ):
            parameter.grad = part.copy_(found.reshape(part.shape)) if there else None


class _Normalize(torch.autograd.Function):
    """Batch normalization by the mean and variance of what all processes have."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [0, *range(2, x.ndim)]
        size = x.numel() // x.shape[1]
        # Moments of the parts are exact; in double precision nothing is lost in joining them.
        own_variance, own_mean = (m.double() for m in torch.var_mean(x.float(), axes, correction=0))
        sums = torch.cat((own_mean, own_variance + own_mean**2, own_mean.new_ones(1))) * size
        distributed.all_reduce(sums)
        count = sums[-1]
        mean, square = (sums[:-1] / count).chunk(2)
        variance = (square - mean**2).clamp(min=0).to(weight.dtype)
        mean = mean.to(weight.dtype)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        normal = (x.float() - mean.reshape(shape)) * scale.reshape(shape)
        grad = grad.float()
        by_bias, by_weight = grad.sum(axes), (grad * normal).sum(axes)
        sums = torch.cat((by_bias, by_weight))
        distributed.all_reduce(sums)
        shift, slope = (s.reshape(shape) for s in (sums / count.to(sums.dtype)).chunk(2))
        by_x = (grad - shift - normal * slope) * (weight * scale).reshape(shape)
        return by_x.to(x.dtype), by_weight, by_bias, None


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`torch.nn.BatchNorm2d` over what all processes have; the CPU may be the device.

    `torch.nn.SyncBatchNorm` is for GPUs only. Evaluation exchanges nothing.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch normalization needs 2 axes or more, not {input.ndim}")

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, and follow mean and variance while training."""
        if not self.training:
            normal: Tensor = super().forward(x)
            return normal
        y, mean, variance, count = _Normalize.apply(x, self.weight, self.bias, self.eps)
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        unbiased = variance * (count / (count - 1)).to(variance.dtype)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)
        normalized: Tensor = y
        return normalized


def share_batch_norm(network: nn.Module) -> None:
    """Let the batch normalizations inside a network span all processes; weights stay theirs."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
            shared.weight, shared.bias = child.weight, child.bias
            for buffer, tensor in child.named_buffers():
                setattr(shared, buffer, tensor)
            setattr(network, name, shared)
        else:
            share_batch_norm(child)
