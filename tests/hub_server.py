"""A small Hub on the loopback interface, over real HTTP: the calls that huggingface_hub makes.

Read from huggingface_hub's own source: ``resolve`` with HEAD and GET (commit and ETag headers,
ranges, the redirect of large files to another host), and, for uploads, ``repos/create``,
``preupload``, the LFS batch and ``commit``. Faults make it misbehave in a stated way, a stated
number of times.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"
"""The one token that this Hub knows."""


@dataclass
class Fault:
    """One way to misbehave.

    Parameters
    ----------
    method : str
        HTTP method that it applies to.
    kind : str
        ``status`` (answer with `value`), ``drop`` (close without an answer), ``cut`` (close after
        `value` bytes of the body), ``stall`` (fall silent there), ``pace`` (the body over `value`
        seconds), ``flip`` (one wrong byte), ``short`` and ``long`` (a body of another length,
        rightly declared), ``silent`` (no byte for `value` seconds), ``whole`` (ignore the range),
        ``no_commit`` and ``no_etag`` (leave the header out), ``commit`` (another commit).
    value : float
    times : int or None
        How often; None for always.
    path : str
        Part of the path that it applies to.
    after : int
        Requests that are let through first.
    """

    method: str
    kind: str
    value: float = 0
    times: int | None = None
    path: str = ""
    after: int = 0


@dataclass(frozen=True)
class Seen:
    """One request as it came in; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Repo:
    """One repository: the files of each commit, the newest last."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Add a commit on top of the last one; returns its 40 hex digits."""
        last = next(reversed(self.commits.values()), {})
        number = str(len(self.commits)).encode()
        revision = hashlib.sha1(number + b"".join(files.values())).hexdigest()
        self.commits[revision] = {**last, **files}
        return revision

    def resolve(self, revision: str) -> str | None:
        """Commit of a branch or a commit."""
        if revision == "main":
            return next(reversed(self.commits), None)
        return revision if revision in self.commits else None


class HubServer(ThreadingHTTPServer):
    """The server; `url` is what ``HF_ENDPOINT`` is set to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Make a repository with one commit; returns the commit."""
        self.repos[repo_id] = Repo(private=private, gated=gated)
        return self.repos[repo_id].commit(files)

    def count(self, method: str, part: str = "/resolve/") -> int:
        """Number of requests of a method so far."""
        return sum(seen.method == method and part in seen.path for seen in self.seen)

    def take_fault(self, method: str, path: str, *kinds: str) -> Fault | None:
        """The first fault that applies, counted down."""
        with self.lock:
            for fault in self.faults:
                if (
                    fault.method == method
                    and fault.kind in kinds
                    and fault.path in path
                    and fault.times != 0
                ):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the game."""


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    """Run a Hub for the duration of a block."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self._read_chunks() if self._is_chunked() else self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, path, headers))
        if self._misbehaves(path):
            return
        for pattern, method in _ROUTES:
            if match := re.fullmatch(pattern, path):
                method(self, *match.groups())
                return
        self._send(404, {})

    def _is_chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _misbehaves(self, path: str) -> bool:
        """Faults that replace the whole answer."""
        fault = self.server.take_fault(self.command, path, "status", "drop", "silent")
        if fault is None:
            return False
        if fault.kind == "silent":
            self.server.stopping.wait(fault.value)
        if fault.kind == "status":
            self._send(int(fault.value), {})
        else:
            self.close_connection = True
        return True

    def _send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_json(self, value: Any) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"X-Error-Code": code, "X-Error-Message": code})

    def _may(self, repo: Repo) -> bool:
        authorization = self.headers.get("Authorization", "")
        if authorization and authorization != f"Bearer {TOKEN}":
            self._send(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
            return False
        if repo.private and not authorization:
            self._refuse(401, "RepoNotFound")
            return False
        if repo.gated and not authorization:
            self._refuse(403, "GatedRepo")
            return False
        return True

    def _resolve(self, repo_id: str, revision: str, filename: str) -> None:
        repo = self.server.repos.get(repo_id)
        if repo is None:
            self._refuse(401 if "Authorization" not in self.headers else 404, "RepoNotFound")
            return
        if not self._may(repo):
            return
        commit = repo.resolve(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound")
        elif filename not in repo.commits[commit]:
            self._refuse(404, "EntryNotFound")
        else:
            self._send_file(commit, filename, repo.commits[commit][filename])

    def _send_file(self, commit: str, filename: str, content: bytes) -> None:
        headers = {"X-Repo-Commit": commit}
        if self.server.take_fault(self.command, filename, "commit"):
            headers["X-Repo-Commit"] = "f" * 40
        if self.server.take_fault(self.command, filename, "no_commit"):
            del headers["X-Repo-Commit"]
        if not filename.endswith((".safetensors", ".bin")):
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._send_bytes(filename, content, {**headers, "ETag": f'"{git}"'})
            return
        oid = hashlib.sha256(content).hexdigest()
        self.server.objects[oid] = content
        headers["X-Linked-Size"] = str(len(content))
        if not self.server.take_fault(self.command, filename, "no_etag"):
            headers["X-Linked-Etag"] = f'"{oid}"'
        # Another host than the endpoint's, as the Hub's storage is: the token must not go there.
        place = f"http://localhost:{self.server.server_port}/storage/{oid}/{filename}"
        self._send(302, {**headers, "Location": place})

    def _storage(self, oid: str, filename: str) -> None:
        self._send_bytes(filename, self.server.objects[oid], {"ETag": f'"{oid}"'})

    def _send_bytes(self, filename: str, content: bytes, headers: Mapping[str, str]) -> None:
        take = self.server.take_fault
        if take(self.command, filename, "flip"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        if take(self.command, filename, "short"):
            content = content[:-7]
        if take(self.command, filename, "long"):
            content += b"more"
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and not take(self.command, filename, "whole") else 0
        if start >= len(content) > 0:
            self._send(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        size = {"Content-Length": str(len(content) - start), "Accept-Ranges": "bytes"}
        if start:
            size["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if start else 200)
        for name, value in {**headers, **size}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._write_body(filename, content[start:])

    def _write_body(self, filename: str, content: bytes) -> None:
        if pace := self.server.take_fault(self.command, filename, "pace"):
            self._write_slowly(content, pace.value)
            return
        fault = self.server.take_fault(self.command, filename, "cut", "stall")
        if fault is None:
            self.wfile.write(content)
            return
        self.wfile.write(content[: int(fault.value)])
        self.wfile.flush()
        if fault.kind == "stall":
            self.server.stopping.wait(60)
        self.close_connection = True

    def _write_slowly(self, content: bytes, seconds: float) -> None:
        step = len(content) // 20 + 1
        for start in range(0, len(content), step):
            self.wfile.write(content[start : start + step])
            self.server.stopping.wait(seconds / 20)

    # Uploads

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._refuse(401, "Unauthorized")
        return False

    def _create(self) -> None:
        if not self._may_write():
            return
        asked = json.loads(self.body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        if repo_id in self.server.repos:
            self._send(409, {}, json.dumps({"url": f"{self.server.url}/{repo_id}"}).encode())
            return
        private = asked.get("private") or asked.get("visibility") == "private"
        self.server.repos[repo_id] = Repo(private=bool(private))
        self._send_json({"url": f"{self.server.url}/{repo_id}"})

    def _validate_yaml(self) -> None:
        self._send_json({"errors": [], "warnings": []})

    def _info(self, repo_id: str) -> None:
        repo = self.server.repos.get(repo_id)
        if repo is None:
            self._refuse(404, "RepoNotFound")
            return
        sha = repo.resolve("main")
        self._send_json({"id": repo_id, "sha": sha, "siblings": [], "xetEnabled": False})

    def _preupload(self, repo_id: str) -> None:
        files = json.loads(self.body)["files"]
        modes = {True: "lfs", False: "regular"}
        answer = [
            {
                "path": file["path"],
                "uploadMode": modes[file["path"].endswith(".safetensors")],
                "shouldIgnore": False,
            }
            for file in files
        ]
        self._send_json({"files": answer})

    def _batch(self, repo_id: str) -> None:
        objects = []
        for item in json.loads(self.body)["objects"]:
            href = f"{self.server.url}/upload/{item['oid']}"
            objects.append({**item, "actions": {"upload": {"href": href}}})
        self._send_json({"transfer": "basic", "objects": objects})

    def _upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._send(400, {})
            return
        self.server.objects[oid] = self.body
        self._send(200, {"ETag": f'"{oid}"'})

    def _commit(self, repo_id: str) -> None:
        if not self._may_write():
            return
        files = {}
        for line in self.body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.server.objects[item["value"]["oid"]]
        commit = self.server.repos[repo_id].commit(files)
        url = f"{self.server.url}/{repo_id}/commit/{commit}"
        self._send_json({"success": True, "commitOid": commit, "commitUrl": url})


_ID = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    (rf"/{_ID}/resolve/([^/]+)/(.+)", _Handler._resolve),
    (r"/storage/([0-9a-f]{64})/(.+)", _Handler._storage),
    (r"/api/repos/create", _Handler._create),
    (r"/api/validate-yaml", _Handler._validate_yaml),
    (rf"/api/models/{_ID}(?:/revision/main)?", _Handler._info),
    (rf"/api/models/{_ID}/preupload/main", _Handler._preupload),
    (rf"/{_ID}\.git/info/lfs/objects/batch", _Handler._batch),
    (r"/upload/([0-9a-f]{64})", _Handler._upload),
    (rf"/api/models/{_ID}/commit/main", _Handler._commit),
)
