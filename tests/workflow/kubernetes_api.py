"""As much of Kubernetes as Snakemake uses: jobs are taken over HTTP, and their containers run here."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Cluster:
    """Jobs by name as they were sent, and the process of each.

    Args:
        folder: working directory of the containers.
    """

    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, body: dict[str, Any]) -> None:
        name, container = body["metadata"]["name"], self.container(body)
        with (self.folder / f"{name}.log").open("wb") as log:
            self.jobs[name] = body
            self.running[name] = subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=self.folder,
                env=dict(os.environ),
                stdout=log,
                stderr=log,
            )

    def container(self, body: dict[str, Any]) -> dict[str, Any]:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        return container

    def status(self, name: str) -> dict[str, int]:
        code = self.running[name].poll()
        return {} if code is None else {"failed": 1} if code else {"succeeded": 1}


@contextmanager
def serving(folder: Path) -> Iterator[Cluster]:
    """A cluster whose address is in ``folder/kubeconfig``."""
    cluster = Cluster(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/jobs"):
                cluster.start(body)
            self.answer(body)

        def do_GET(self) -> None:
            if "/pods" in self.path:
                return self.answer({"kind": "PodList", "items": []})
            name = self.path.split("/jobs/")[1].split("/")[0]
            return self.answer({"kind": "Job", "status": cluster.status(name)})

        def do_DELETE(self) -> None:
            self.answer({"kind": "Status"})

        def answer(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: requests are not the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    (folder / "kubeconfig").write_text(yaml.safe_dump(_kubeconfig(server.server_port)))
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
    }
