"""One function in several processes of this machine, joined into a group of ranks.

This process starts the others, waits, and passes a stop on; it computes nothing itself. When one
of them fails, all are ended, and the reason is raised here.
"""

from __future__ import annotations

import datetime
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.multiprocessing
from torch import distributed

from galmorph.errors import GalmorphError, TrainingError
from galmorph.inference.devices import count_cores
from galmorph.training.ranks import Ranks

__all__ = ["run_in_processes"]

Result = TypeVar("Result")
ShouldStop = Callable[[], bool]

POLL_S = 0.2
GRACE_S = 5.0
"""After one process failed, the others have this long to end by themselves."""

TIMEOUT = datetime.timedelta(minutes=30)
"""How long a process waits for the others, who may be measuring or saving."""

LOOPBACK = {"linux": "lo", "darwin": "lo0"}


@dataclass(frozen=True)
class _Failure:
    """What went wrong in one process."""

    rank: int
    reason: str
    details: str = ""
    when: float = field(default_factory=time.monotonic)
    lost: bool = False
    """It ended without a word."""


def run_in_processes(
    work: Callable[[Ranks, ShouldStop], Result],
    count: int,
    *,
    should_stop: ShouldStop = lambda: False,
    advise: Callable[[], str] = lambda: "the others have been ended",
) -> Result:
    """Run ``work(ranks, should_stop)`` in each of several new processes.

    Parameters
    ----------
    work : callable
        Can be pickled; tensors in shared memory are not copied. Its own ``should_stop`` may turn
        true in one process alone: `Ranks.any` settles it.
    count : int
        Number of processes.
    should_stop : callable
        Asked here now and then; True is passed on.
    advise : callable
        Asked for the way out after a failure that ``work`` did not foresee.

    Returns
    -------
    object
        What rank 0 returned.

    Raises
    ------
    TrainingError
        One of them failed or was killed; the others have been ended.
    """
    with tempfile.TemporaryDirectory(prefix="galmorph-") as folder:
        members = [_Member.start(rank, count, Path(folder) / "meet") for rank in range(count)]
        try:
            for member in members:
                member.send(work)
            _wait(members, should_stop)
        finally:
            for member in members:
                member.end()
    failures = [m.outcome for m in members if isinstance(m.outcome, _Failure)]
    if failures:
        raise _explain(failures, count, advise())
    result: Result = members[0].outcome[0]
    return result


@dataclass
class _Member:
    """One process, as the one that started it sees it."""

    rank: int
    process: Any
    connection: Any
    outcome: Any = None

    @classmethod
    def start(cls, rank: int, count: int, meet: Path) -> _Member:
        context = torch.multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(
            target=_run_member, args=(rank, count, str(meet), there), daemon=True
        )
        with _interrupts_ignored():  # as the new process inherits it
            process.start()
        there.close()
        return cls(rank, process, here)

    def send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: `look` finds out
            self.connection.send(message)

    def look(self) -> None:
        """Take in how it ended, if it has."""
        gone = not self.process.is_alive()
        with suppress(EOFError, ConnectionResetError):
            if self.outcome is None and self.connection.poll():
                self.outcome = self.connection.recv()
        if self.outcome is None and gone:
            self.outcome = _Failure(self.rank, _describe_end(self.process.exitcode), lost=True)

    def end(self) -> None:
        self.process.join(GRACE_S if self.outcome is not None else 0)
        self.process.kill()
        self.process.join()
        self.connection.close()


def _wait(members: list[_Member], should_stop: ShouldStop) -> None:
    """Until all have said how they ended; not long after one that failed."""
    told, deadline = False, float("inf")
    while any(m.outcome is None for m in members) and time.monotonic() < deadline:
        open_ends = [m.connection for m in members if m.outcome is None]
        multiprocessing.connection.wait(open_ends, POLL_S)
        if not told and should_stop():
            told = True
            for member in members:
                member.send("stop")
        for member in members:
            member.look()
        if deadline == float("inf") and any(isinstance(m.outcome, _Failure) for m in members):
            deadline = time.monotonic() + GRACE_S


def _explain(failures: list[_Failure], count: int, advice: str) -> TrainingError:
    """The first cause: those that were waiting for a process that failed fail after it."""
    first = min(failures, key=lambda failure: (not failure.lost, failure.when))
    if not first.lost and not first.details:
        return TrainingError(first.reason)
    error = TrainingError(f"process {first.rank + 1} of {count} {first.reason}; {advice}")
    if first.details:
        error.add_note(first.details)
    return error


def _describe_end(exitcode: int) -> str:
    if exitcode >= 0:
        return f"ended with status {exitcode}"
    name = signal.Signals(-exitcode).name
    hint = " (too little memory?)" if name in ("SIGKILL", "SIGBUS") else ""
    return f"was ended by {name}{hint}"


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_member(rank: int, count: int, meet: str, connection: Any) -> None:
    """What a new process does."""
    caught: list[int] = []
    # Ctrl-C reaches every process of a terminal; the one that started this one passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    torch.set_num_threads(min(torch.get_num_threads(), max(1, count_cores() // count)))
    try:
        work = connection.recv()
        _join_group(rank, count, meet)
        # A pipe that is broken off can be read as well: its other end is gone.
        result = work(Ranks(rank, count), lambda: bool(caught) or connection.poll())
    except GalmorphError as error:
        _leave(connection, _Failure(rank, str(error)))
    except Exception as error:
        reason = f"failed: {type(error).__name__}: {error}"
        _leave(connection, _Failure(rank, reason, traceback.format_exc()))
    else:
        with suppress(OSError):  # nobody is left to hear it
            connection.send((result if rank == 0 else None,))
        distributed.destroy_process_group()


def _leave(connection: Any, failure: _Failure) -> None:
    """Say why, and go at once: the group cannot be closed while others wait in it."""
    with suppress(OSError):
        connection.send(failure)
    sys.stderr.flush()
    os._exit(1)


def _join_group(rank: int, count: int, meet: str) -> None:
    """Meet the others of this machine: gloo for tensors of the CPU, nccl for those of GPUs."""
    if sys.platform in LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    distributed.init_process_group(
        backend, init_method=f"file://{meet}", rank=rank, world_size=count, timeout=TIMEOUT
    )
