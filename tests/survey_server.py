"""The services of three surveys on the loopback interface, with their silences and their faults."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from astropy.io import fits
from PIL import Image
from synthetic import make_flux, make_header, make_rgb

OUTSIDE_DEC = -60.0
LAYERS = ("ls-dr9", "ls-dr10")
HIPS = ("CDS/P/DESI-Legacy-Surveys/DR10/color",)
PAGE = b"<!doctype html><html><title>Down for maintenance</title><p>Back soon</html>"


@cache
def make_picture(side: int, kind: str = "galaxy") -> bytes:
    """A JPEG: "galaxy", or of one colour: "grey", "black"."""
    value = {"grey": 32, "black": 0}.get(kind, 0)
    flat = np.full((side, side, 3), value, np.uint8)
    file = io.BytesIO()
    Image.fromarray(make_rgb(side) if kind == "galaxy" else flat).save(file, "JPEG", quality=90)
    return file.getvalue()


def make_fits(side: int, bands: str) -> bytes:
    file = io.BytesIO()
    header = make_header(BANDS=bands, SURVEY="LegacySurvey")
    fits.PrimaryHDU(make_flux(tuple(bands), side=side), header).writeto(file)
    return file.getvalue()


class SurveyServer(ThreadingHTTPServer):
    """``faults`` holds, for a right ascension, what goes wrong with its next requests."""

    daemon_threads = True

    def __init__(self, pace: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pace = pace
        self.faults: dict[float, list[str]] = {}
        self.asked: Counter[float] = Counter()
        self.agents: set[str] = set()
        self.open = self.most = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serve_surveys(pace: float = 0.0) -> Iterator[SurveyServer]:
    server = SurveyServer(pace)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: SurveyServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.open += 1
            server.most = max(server.most, server.open)
        try:
            self._answer()
        except OSError:  # whoever asked has gone
            self.close_connection = True
        finally:
            with server.lock:
                server.open -= 1

    def _answer(self) -> None:
        server = self.server
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if not {"ra", "dec"} <= asked.keys():
            self._send(400, b"missing coordinates", "text/plain")
            return
        ra, dec = float(asked["ra"]), float(asked["dec"])
        with server.lock:
            server.asked[ra] += 1
            server.agents.add(self.headers["User-Agent"])
            waiting = server.faults.get(ra, [])
            fault = waiting[0] if waiting[:1] and waiting[0].endswith("*") else None
            fault = fault or (waiting.pop(0) if waiting else "")
        time.sleep(server.pace)
        fault = fault.rstrip("*")
        if not self._misbehave(fault):
            self._serve(parts.path, asked, dec < OUTSIDE_DEC, fault)

    def _misbehave(self, fault: str) -> bool:
        """Whether the answer is none of the service's own."""
        if fault == "429":
            self._send(429, b"slow down", "text/plain", {"Retry-After": "1"})
        elif fault in ("500", "502", "503", "404"):
            self._send(int(fault), PAGE, "text/html")
        elif fault == "html":
            self._send(200, PAGE, "text/html")
        elif fault == "slow":
            self.server.closing.wait(30)
        elif fault == "drop":
            self.close_connection = True
        return fault in ("429", "500", "502", "503", "404", "html", "slow", "drop")

    def _serve(self, path: str, asked: dict[str, str], outside: bool, fault: str) -> None:
        side = int(asked.get("size") or asked["width"])
        side = 40 if fault == "small" else side
        empty = outside or fault == "flat"
        if path == "/viewer/cutout.jpg":
            if asked["layer"] not in LAYERS:
                self._send(200, b"no such layer", "text/html")
                return
            self._send_picture(min(side, 3000), "grey" if empty else "galaxy", fault)
        elif path == "/viewer/cutout.fits":
            if outside:
                self._send(500, PAGE, "text/html")
                return
            known = asked["bands"] if set(asked["bands"]) <= set("griz") else "griz"
            self._send(200, make_fits(min(side, 3000), known), "image/fits")
        elif path.endswith("/SkyServerWS/ImgCutout/getjpeg"):
            side = min(max(side, 64), 2048)
            self._send_picture(side, "black" if empty else "galaxy", fault)
        elif asked["hips"] not in HIPS:
            text = {"title": "Unknown HiPS", "description": f"no HiPS {asked['hips']}"}
            self._send(400, json.dumps(text).encode(), "application/json")
        else:
            self._send_picture(side, "grey" if empty else "galaxy", fault)

    def _send_picture(self, side: int, kind: str, fault: str) -> None:
        data = make_picture(side, kind)
        self._send(200, data, "image/jpeg", cut=len(data) // 2 if fault == "cut" else None)

    def _send(
        self,
        status: int,
        data: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:cut])
