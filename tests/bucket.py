"""A bucket that speaks S3 on the loopback interface, with faults on request."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

SECRET = "loopback-secret-key-0123456789"
KEPT: list[Any] = []
BUSY = b"<Error><Code>SlowDown</Code><Message>busy</Message></Error>"


class Bucket:
    """``faults`` holds, for the end of a name, what goes wrong with its next requests."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.url = ""
        self.faults: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.pace = 0.0
        self.open = self.most = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked[f"{environ['REQUEST_METHOD']} {path}"] += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            time.sleep(self.pace)
            return self._answer(path, environ, start)
        finally:
            self.open -= 1

    def _answer(self, path: str, environ: Any, start: Callable[..., Any]) -> Iterable[bytes]:
        waiting = next((f for end, f in self.faults.items() if path.endswith(end)), [])
        fault = waiting[0] if waiting else ""
        if not fault.endswith("*"):
            del waiting[:1]
        if fault.startswith("503"):
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [BUSY]
        if fault.startswith("403"):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"]
        if fault.startswith("slow"):
            time.sleep(8)
        answer: Iterable[bytes] = self._app(environ, start)
        return answer


@contextmanager
def serve_bucket() -> Iterator[Bucket]:
    """The bucket ``galaxies``."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    assert server._server is not None
    bucket = Bucket(server._server.app)
    server._server.app = bucket
    host, port = server.get_host_and_port()
    bucket.url = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=bucket.url,
        region_name="us-east-1",
        aws_access_key_id="loopback",
        aws_secret_access_key=SECRET,
    ).create_bucket(Bucket="galaxies")
    try:
        yield bucket
    finally:
        server.stop()


def forget_connections() -> None:
    """Have the next URL read the environment; closing the old connections would be waited for."""
    import s3fs

    from galmorph import remote

    KEPT.extend(s3fs.S3FileSystem._cache.values())
    s3fs.S3FileSystem.clear_instance_cache()
    remote._get_system.cache_clear()
