"""Threads that work in order; while one waits for a slow file, another takes its place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

MOST_ASIDE = 64

T = TypeVar("T")


class Workers:
    """So many threads at work, begun as they are needed, and as many again as wait aside."""

    def __init__(self, count: int, name: str, initializer: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(count + MOST_ASIDE, name, initializer=initializer)
        self._tasks: deque[Callable[[], None]] = deque()
        self._futures: deque[Future[Any]] = deque()
        self._lock = threading.Condition()
        self._idle = count
        self.aside = self._coming_back = 0
        self.awaited = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it done, after what was submitted before."""
        future: Future[T] = Future()
        with self._lock:
            self._tasks.append(lambda: _carry_out(work, future))
            self._futures.append(future)
            self._begin()
        return future

    def _begin(self) -> None:
        """Give a free place to what waits, as long as there are threads for all who are aside."""
        if self._idle > self._coming_back and self._tasks and self.aside <= MOST_ASIDE:
            self._idle -= 1
            self._pool.submit(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._coming_back or not self._tasks:
                    self._idle += 1
                    self._lock.notify()
                    self._begin()
                    return
                task = self._tasks.popleft()
                self._futures.popleft()
            task()

    @contextmanager
    def step_aside(self) -> Iterator[Workers]:
        """Of a thread that waits: the others go on as if it were none of them, until it is back."""
        with self._lock:
            self.aside += 1
            self._idle += 1
            self._lock.notify()
            self._begin()
        try:
            yield self
        finally:
            with self._lock:
                self._coming_back += 1
                self._lock.wait_for(lambda: self._idle > 0)
                self._coming_back -= 1
                self._idle -= 1
                self.aside -= 1
                self._begin()

    def lack_work(self) -> bool:
        """Whether somebody waits for a result (`awaited`), and a place has nothing to do."""
        with self._lock:
            return self.awaited and self._idle > self._coming_back and not self._tasks

    def close(self) -> None:
        """Forget what has not begun, and wait for the rest."""
        with self._lock:
            self._tasks.clear()
            futures, self._futures = self._futures, deque()
        for future in futures:
            future.cancel()
        self._pool.shutdown()


def _carry_out(work: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
