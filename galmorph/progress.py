"""One bar of progress, in a terminal, a notebook and a file."""

import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[..., None]  # numbers done, failed, done by an earlier run; what else is shown
FILE_INTERVAL_S = 10.0  # between two states of the bar where standard error is a file
DELAY_S = 0.5  # a run that is over sooner shows no bar


def count_items(items: Iterable[Any], stopped: threading.Event) -> int | None:
    """The number of items; given up at the first that carries its bytes."""
    count = 0
    try:
        for item in items:
            if stopped.is_set() or getattr(item, "data", None) is not None:
                return None
            count += 1
    except Exception:  # whatever it is, the run meets it too and says so
        return None
    return count


@contextmanager
def show_progress(
    shown: bool | Callable[[int], None] | None = None,
    *,
    items: Iterable[Any] = (),
    unit: str = "cutouts",
) -> Iterator[Report]:
    """A function of the numbers done and failed; ``shown`` None: a bar in terminal or notebook."""
    if callable(shown):
        yield lambda done, *_, **__: shown(done)
        return
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if shown is False or (shown is None and not (terminal or "ipykernel" in sys.modules)):
        yield lambda *_, **__: None
        return
    from concurrent.futures import ThreadPoolExecutor

    stopped, thread = threading.Event(), ThreadPoolExecutor(1)
    counted = thread.submit(count_items, items, stopped)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what tqdm thinks of notebooks without widgets
        from tqdm.auto import tqdm

        bar = tqdm(
            unit=f" {unit}",
            leave=False,
            delay=DELAY_S,
            mininterval=0.2 if terminal else FILE_INTERVAL_S,
            dynamic_ncols=terminal,
        )

    shown_beside: dict[str, Any] = {}

    def report(done: int, failed: int = 0, start: int = 0, **beside: Any) -> None:
        bar.total = (counted.done() and counted.result()) or None
        if bar.n == 0:
            bar.initial = bar.n = bar.last_print_n = start
        shown_beside.update(beside, **({"failed": failed} if failed else {}))
        if shown_beside:
            bar.set_postfix(shown_beside, refresh=False)
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        stopped.set()
        thread.shutdown()
        bar.close()
