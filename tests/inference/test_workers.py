"""Threads that step aside: more of them than there are places, and places that come free late."""

from __future__ import annotations

import threading
import time

import pytest

from galmorph.inference import workers
from galmorph.inference.workers import Workers

PATIENCE = 20


@pytest.fixture
def one() -> Workers:
    return Workers(1, "test", lambda: None)


def test_more_aside_than_there_are_threads_for_come_back(monkeypatch):
    monkeypatch.setattr(workers, "MOST_ASIDE", 2)
    small = Workers(1, "test", lambda: None)
    go = threading.Event()

    def wait() -> bool:
        with small.step_aside():
            return go.wait(PATIENCE)

    futures = [small.submit(wait) for _ in range(8)]
    late = small.submit(lambda: "late")
    threading.Timer(0.3, go.set).start()
    assert all(future.result(PATIENCE) for future in futures)
    assert late.result(PATIENCE) == "late"
    small.close()


def test_a_place_that_comes_free_goes_to_who_is_back(one):
    first_ready, second_aside, end = threading.Event(), threading.Event(), threading.Event()

    def first() -> str:
        with one.step_aside():
            first_ready.wait(PATIENCE)
        return "back"

    def second() -> bool:
        first_ready.set()
        threading.Event().wait(0.3)  # the first waits for this place by now
        with one.step_aside():
            second_aside.set()
            return end.wait(PATIENCE)

    done, slow = one.submit(first), one.submit(second)
    assert second_aside.wait(PATIENCE)
    assert done.result(5) == "back"  # and not when the second is done
    end.set()
    assert slow.result(PATIENCE)
    one.close()


def test_one_place_without_work_is_enough_to_lack_work():
    two, go = Workers(2, "test", lambda: None), threading.Event()
    begun = threading.Semaphore(0)

    def wait() -> bool:
        begun.release()
        return go.wait(PATIENCE)

    def wait_aside() -> bool:
        with two.step_aside():
            return wait()

    futures = [two.submit(wait_aside), two.submit(wait)]
    assert begun.acquire(timeout=PATIENCE) and begun.acquire(timeout=PATIENCE)
    assert not two.lack_work()  # nobody waits for a result
    two.awaited = True
    deadline = time.monotonic() + PATIENCE
    while not two.lack_work():
        assert time.monotonic() < deadline
    futures.append(two.submit(wait))
    assert begun.acquire(timeout=PATIENCE)
    assert not two.lack_work()  # both places are taken
    go.set()
    assert all(future.result(PATIENCE) for future in futures)
    two.close()
