"""Sources that lie elsewhere, brought here by several threads ahead of the work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from galmorph.errors import ImageError, NotAnsweredError, SurveyError
from galmorph.images.source import Lost, Source

__all__ = ["bring_ahead"]

AHEAD = 16
"""Sources under way for each connection."""

MAX_SILENT = 50
"""So many in a row that did not come: the service is down, or the name is wrong."""


def bring_ahead(
    sources: Iterable[Source], *, connections: int, within: str | None = None
) -> Iterator[Source]:
    """The same sources in order, each once it is here or given up."""
    stopped, pending = threading.Event(), deque[Future[Source]]()
    pool, listed, silent = ThreadPoolExecutor(connections, "galmorph-ahead"), iter(sources), 0
    try:
        while True:
            for source in islice(listed, AHEAD * connections - len(pending)):
                pending.append(pool.submit(_bring, source, within, stopped))
            if not pending:
                return
            source = pending.popleft().result()
            silent = silent + 1 if _is_silent(source) else 0
            if silent == MAX_SILENT and isinstance(source, Lost):
                raise SurveyError(
                    f"{silent} cutouts in a row were not answered ({source.error}); go on later "
                    "with --resume, which keeps what has come"
                )
            yield source
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _is_silent(source: Source) -> bool:
    return isinstance(source, Lost) and type(source.error) is NotAnsweredError


def _bring(source: Source, within: str | None, stopped: threading.Event) -> Source:
    bring: Callable[..., Source] | None = getattr(source, "bring", None)
    try:
        return source if bring is None else bring(within, stopped)
    except ImageError as error:
        return Lost(source.object_id, source.address, error, source.columns)
