"""Published files through the rule that fetches them, from a server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from project import Project

FOLDER = "data/checkpoints/i2sb/jpeg-5"
FILE = "data/checkpoints/adm/256x256_classifier.pt"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that the mirror serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("BRIDGEPIPE_MIRRORS", f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_published_folder_and_a_file_arrive_once(tmp_path: Path, mirror: Path) -> None:
    published = {f"{FOLDER}/latest.pt": b"weights", f"{FOLDER}/options.pkl": b"options", FILE: b"classifier"}
    for name, content in published.items():
        place = mirror / name.removeprefix("data/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    project = Project.create(tmp_path / "project")
    project.snakemake("--", FOLDER, FILE)
    assert project.read(*published) == published
    assert not [f for f in (project.folder / "data").rglob(".*") if f.name != ".snakemake_timestamp"]
    assert "Nothing to be done" in project.snakemake("--", FOLDER, FILE).stderr
