"""Polite downloads: few connections, pauses that grow, time limits, a name to complain to."""

import http.client
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from email.utils import mktime_tz, parsedate_tz
from itertools import cycle

from galmorph.errors import NotAnsweredError
from galmorph.remote import PASSING, Passing, ask
from galmorph.surveys.services import IMAGE_MAGIC, say_answer

AGENT = "galmorph (galaxy morphology; Python)"
CONNECTIONS = 4
LONGEST_PAUSE_S = 300.0  # who is told to wait longer gives up
SILENCE_S = 30.0
WHOLE_S = 120.0
MAX_BYTES = 128 << 20
PIECE = 1 << 16
MISHAPS = (OSError, ValueError, OverflowError, http.client.HTTPException)


class Client:
    """Of this process the one that asks; all threads share its connections and its pauses."""

    def __init__(self) -> None:
        self._slots = threading.Semaphore(CONNECTIONS)
        self._quiet_until = 0.0

    def limit(self, connections: int) -> None:
        """Open so many connections at once, from now on."""
        self._slots = threading.Semaphore(connections)

    def fetch(self, urls: Sequence[str], stopped: threading.Event) -> bytes:
        """An image from one of these addresses of the same, or a NotAnsweredError."""
        turns = cycle(urls)
        return ask(None, lambda: self._ask(next(turns), stopped), stopped)

    def _ask(self, url: str, stopped: threading.Event) -> bytes:
        with self._slots:
            self._keep_quiet(stopped)
            try:
                return _ask(url)
            except Passing as passing:  # said to one, meant for all
                self._quiet_until = max(self._quiet_until, time.monotonic() + passing.pause)
                raise

    def _keep_quiet(self, stopped: threading.Event) -> None:
        while (seconds := self._quiet_until - time.monotonic()) > 0:
            if seconds > LONGEST_PAUSE_S:
                raise NotAnsweredError(f"the service asks to wait for {seconds:.0f} s")
            if stopped.wait(seconds * random.uniform(1.0, 1.1)):
                raise NotAnsweredError("the run was stopped")


def _ask(url: str) -> bytes:
    """One request; what is no image, cut or late is no answer. Addresses are not repeated."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": AGENT})
        with urllib.request.urlopen(request, timeout=SILENCE_S) as answer:
            data = _read(answer)
    except urllib.error.HTTPError as error:
        said, pause = f"the service says {error.code}", 0.0
        with error, suppress(*MISHAPS):
            pause = _read_pause(error.headers.get("Retry-After", ""))
            said += f" ({say_answer(error.read(4096))})"
        if error.code < 500 and error.code not in PASSING:
            raise NotAnsweredError(said) from None
        raise Passing(said, pause) from None
    except NotAnsweredError:
        raise
    except MISHAPS as error:
        reason = getattr(error, "reason", None) or error
        raise Passing(f"no answer ({type(reason).__name__})") from None
    if data.startswith(IMAGE_MAGIC):
        return data
    said = say_answer(data)
    if data.lstrip()[:1] == b"<":  # a page of a proxy, or of a server under repair
        raise Passing(f"a web page came in place of an image: {said}")
    raise NotAnsweredError(f"no image came, but: {said or 'nothing'}")


def _read(answer: http.client.HTTPResponse) -> bytes:
    until, parts, size = time.monotonic() + WHOLE_S, [], 0
    while part := answer.read1(PIECE):
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise NotAnsweredError(f"more than {MAX_BYTES >> 20} MiB came")
        if time.monotonic() > until:
            raise Passing(f"the answer took longer than {WHOLE_S:.0f} s")
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) != size:
        raise Passing(f"the answer was cut after {size} of {length} bytes")
    return b"".join(parts)


def _read_pause(text: str) -> float:
    """Seconds of a Retry-After: a number, or a date; 0 where it is neither."""
    if text.strip().isdecimal():
        return float(text)
    date = parsedate_tz(text)
    return 0.0 if date is None else max(0.0, mktime_tz(date) - time.time())
