"""A hub on the loopback interface: what huggingface_hub asks of one, and no more."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "c0ffee" * 6 + "c0ff"
LARGE = (".safetensors", ".bin", ".pt", ".parquet")


class Hub:
    """Repositories by name, each a dict of contents by path.

    The name of a dataset begins with ``datasets/``; a revision that is no commit is ``NAME@REVISION``.

    Attributes:
        url: endpoint.
        asked: every request, method and path.
        breaks: bytes after which an answer breaks off, by path, once.
        lists: what is listed in place of a file's true size or digest, by path.
        token: what a request has to carry; None: nothing.
        room: uploads that are answered before the others are held.
        held: set when one is held.
        leave: set to let go of those that are held.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.breaks: dict[str, int] = {}
        self.lists: dict[str, dict[str, Any]] = {}
        self.token: str | None = None
        self.sent: dict[str, bytes] = {}  # by sha256
        self.room, self.lock = 1000, threading.Lock()
        self.held, self.leave = threading.Event(), threading.Event()
        self.url = ""

    def contents(self, name: str) -> dict[str, bytes]:
        """Files of all revisions of a repository, as one commit has them here."""
        named = [one for one in self.repositories if one.partition("@")[0] == name]
        return {path: content for one in named for path, content in self.repositories[one].items()}

    def listed(self, name: str) -> dict[str, Any]:
        files = self.repositories[name].items()
        return {
            "id": name.partition("@")[0].removeprefix("datasets/"),
            "sha": COMMIT,
            "siblings": [self._sibling(path, content) for path, content in files],
        }

    def _sibling(self, path: str, content: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        told: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": blob}
        if path.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            told["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        return told | self.lists.get(path, {})


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        do_HEAD = do_POST = do_PUT = do_GET

        def _answer(self) -> None:
            body = self._body()
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            open_to_all = hub.token is None or path.startswith("/lfs/")  # addresses that are signed
            if not open_to_all and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self._json({"error": "no access"}, 401, {"X-Error-Code": "RepoNotFound"})
            if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(/revision/(.+))?", path):
                name = match[2] if match[1] == "models" else f"datasets/{match[2]}"
                return self._listing(name, unquote(match[4] or "main"))
            if match := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                return self._file(hub.contents(match[1])[match[2]], match[2])
            return self._written(path, body)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _listing(self, name: str, revision: str) -> None:
            if name not in hub.repositories:
                return self._json({"error": "none"}, 404, {"X-Error-Code": "RepoNotFound"})
            known = name if revision in ("main", COMMIT) else f"{name}@{revision}"
            if known not in hub.repositories:
                return self._json({"error": "none"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return self._json(hub.listed(known))

        def _file(self, content: bytes, path: str) -> None:
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(match[1]) if match else 0
            part = content[start:]
            self.send_response(206 if match else 200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(part)))
            if match:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            cut = hub.breaks.pop(path, None)
            self.wfile.write(part[:cut])
            if cut is not None:
                self.close_connection = True

        def _written(self, path: str, body: bytes) -> None:
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                hub.repositories.setdefault(name, {})
                return self._json({"url": f"{hub.url}/{name}", "name": name})
            if path == "/api/validate-yaml":
                return self._json({"errors": [], "warnings": []})
            if path.endswith("/preupload/main"):
                files = [f["path"] for f in json.loads(body)["files"]]
                modes = [(f, "lfs" if f.endswith(LARGE) else "regular") for f in files]
                told = [{"path": f, "uploadMode": mode, "shouldIgnore": False} for f, mode in modes]
                return self._json({"files": told})
            if path.endswith(".git/info/lfs/objects/batch"):
                return self._json(
                    {"transfer": "basic", "objects": [*map(self._action, json.loads(body)["objects"])]}
                )
            if path.startswith("/lfs/"):
                with hub.lock:
                    hub.room -= 1
                    left = hub.room
                if left < 0:
                    hub.held.set()
                    hub.leave.wait(600)
                    self.close_connection = True
                    return None
                hub.sent[path.removeprefix("/lfs/")] = body
                return self._json({})
            if match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
                self._commit(hub.repositories[match[1]], body)
                url = f"{hub.url}/{match[1]}/commit/{COMMIT}"
                return self._json({"success": True, "commitOid": COMMIT, "commitUrl": url})
            return self._json({"error": "unknown"}, 404)

        def _action(self, one: dict[str, Any]) -> dict[str, Any]:
            there = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] in hub.sent:
                return there
            return there | {"actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}", "header": {}}}}

        def _commit(self, files: dict[str, bytes], body: bytes) -> None:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "lfsFile":
                    files[value["path"]] = hub.sent[value["oid"]]
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])

        def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            for key, text in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(key, text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
