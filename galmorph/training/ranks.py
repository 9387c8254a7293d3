"""Training on several processes of torchrun, with a share of every batch, all of its loss."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather


@dataclass(frozen=True)
class Ranks:
    """Number of this process and of all; one alone exchanges nothing, and leads."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that logs, saves, measures and speaks."""
        return self.rank == 0

    def place(self, device: str) -> str:
        """The GPU of this process, where the device is one of several."""
        return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and self.count > 1 else device

    def share_batch_norm(self, network: nn.Module) -> nn.Module:
        """The network with normalization over all processes, which torch has for GPUs alone."""
        if self.count == 1 or next(network.parameters(), torch.empty(0)).device.type != "cuda":
            return network
        shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return shared

    def share(self, rows: Tensor) -> Tensor:
        """The rows of a batch that are this process's."""
        return rows.chunk(self.count)[self.rank]

    def gather(self, part: Tensor, views: int) -> Tensor:
        """Rows of all processes, (views * n, d) to (views * count * n, d), view by view."""
        if self.count == 1:
            return part
        parts = all_gather(part.unflatten(0, (views, -1)).contiguous())  # type: ignore[no-untyped-call]
        return torch.cat(parts, dim=1).flatten(0, 1)

    def any(self, flag: bool) -> bool:
        """Whether it is so in any of the processes; all get the same answer."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag))
        distributed.all_reduce(flags)
        return bool(flags)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The same parameters have a gradient in all processes: the loss is the same."""
        for parameter in parameters:
            if self.count > 1 and parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Meet the processes that torchrun has started with this one, if it has."""
    if not distributed.is_torchelastic_launched():
        yield Ranks()
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    yield Ranks(distributed.get_rank(), distributed.get_world_size())
    distributed.destroy_process_group()
