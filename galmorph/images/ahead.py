"""Sources that lie elsewhere, brought here by several threads ahead of the work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

from galmorph.errors import ImageError, NotAnsweredError, SurveyError
from galmorph.images.source import Lost, Source
from galmorph.remote import CONNECTIONS, is_url

AHEAD = 16
"""Sources under way for each connection."""

MAX_SILENT = 50
"""So many in a row that did not come: the service is down, or the name is wrong."""


def bring_ahead(
    sources: Iterable[Source], *, connections: int = CONNECTIONS, within: str | None = None
) -> Iterator[Source]:
    """The same sources in order, each once it is here or given up; no other is listed ahead."""
    stopped, pending, silent = threading.Event(), deque[Source | Future[Source]](), 0
    pool, bound = ThreadPoolExecutor(connections, "galmorph-ahead"), AHEAD * connections
    listed = iter(sources)
    try:
        while True:
            while len(pending) < bound and (not pending or isinstance(pending[0], Future)):
                source = next(listed, None)
                if source is None:
                    break
                elsewhere = hasattr(source, "bring") and is_url(source.address)
                future = pool.submit(_bring, source, within, stopped) if elsewhere else None
                pending.append(future or source)
            if not pending:
                return
            first = pending.popleft()
            source = first.result() if isinstance(first, Future) else first
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
    try:
        brought: Source = cast("Any", source).bring(within, stopped)
        return brought
    except ImageError as error:
        return Lost(source.object_id, source.address, error, source.columns)
