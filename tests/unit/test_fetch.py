"""The downloader against a real server on loopback that can be told to misbehave."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gdown
import pytest
import requests

from bridgepipe.downloads import transfer
from bridgepipe.downloads.fetch import fetch, fetch_all
from bridgepipe.downloads.sources import Source, load_sources
from bridgepipe.errors import UserError
from bridgepipe.evaluation.published_numbers import load_published

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Behaviour:
    """How the server answers for one path."""

    body: bytes = BODY
    status: int = 200
    cuts: int = 0  # how many answers break off half-way
    ranges: bool = True
    length: bool = True
    etag: str | None = '"v1"'
    kind: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)  # in place of the right ones
    part_headers: dict[str, str] = field(default_factory=dict)  # the same for a part
    careless: bool = False  # sends the rest whatever version was begun
    drips: str = ""  # "head" or "body": comes byte by byte without end
    pause: float = 0.0  # before the answer


@dataclass
class Server:
    address: str = ""
    paths: dict[str, Behaviour] = field(default_factory=dict)
    seen: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range header)


class Handler(BaseHTTPRequestHandler):
    server_state: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        state = self.server_state
        wanted = self.headers.get("Range")
        state.seen.append((self.path, wanted))
        how = state.paths.get(self.path, Behaviour(body=b"", status=404))
        start = self._start(how, wanted)
        body = how.body[start:] if how.status in (200, 206) else b"error page"
        time.sleep(how.pause)
        if how.drips:
            self._drip(how)
            return
        if start >= len(how.body) and wanted and how.status == 200:
            self._head(416, {"Content-Range": f"bytes */{len(how.body)}", "Content-Length": "0"})
            return
        headers = {"Content-Type": how.kind}
        if how.length:
            headers["Content-Length"] = str(len(body))
        if how.etag:
            headers["ETag"] = how.etag
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(how.body) - 1}/{len(how.body)}"
        self._head(206 if start else how.status, headers | (how.part_headers if start else how.headers))
        if how.cuts:
            how.cuts -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def _drip(self, how: Behaviour) -> None:
        if how.drips == "body":
            self._head(200, {"Content-Length": str(len(how.body)), "ETag": str(how.etag)})
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(1000):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.02)

    def _start(self, how: Behaviour, wanted: str | None) -> int:
        same = how.careless or self.headers.get("If-Range") in (None, how.etag)
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        return int(match[1]) if match and how.ranges and same else 0

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is part of the tests."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("BRIDGEPIPE_MIRRORS", raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    state = Server()
    http = Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {"server_state": state}))
    state.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def source(server: Server, *paths: str, **more: object) -> Source:
    urls = [server.address + p for p in paths]
    return Source(path="checkpoints/a.pt", licence="MIT", home="https://home", urls=urls, **more)  # type: ignore[arg-type]


def get(tmp_path: Path, one: Source, **options: object) -> Path:
    return fetch("x/a", tmp_path, sources={"x/a": one}, progress=False, **options)  # type: ignore[arg-type]


def left_over(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def test_a_file_arrives_verified_with_its_licence_shown_and_is_not_fetched_again(server, tmp_path, capsys):
    server.paths["/a"] = Behaviour()
    one = source(server, "/a", size=len(BODY), sha256=SHA256, md5=hashlib.md5(BODY).hexdigest())
    path = get(tmp_path, one)
    assert path == tmp_path / "checkpoints/a.pt"
    assert path.read_bytes() == BODY
    assert "x/a: licence MIT; see https://home" in capsys.readouterr().err
    assert left_over(path.parent) == []
    server.paths.clear()
    assert get(tmp_path, one) == path
    assert len(server.seen) == 1


def test_the_output_can_be_put_elsewhere(server, tmp_path):
    server.paths["/a"] = Behaviour()
    place = tmp_path / "b" / "c.pth"
    assert get(tmp_path, source(server, "/a"), output=place) == place
    assert place.read_bytes() == BODY


def test_the_next_mirror_is_tried_when_one_has_lost_the_file(server, tmp_path):
    server.paths["/b"] = Behaviour()
    get(tmp_path, source(server, "/a", "/b", sha256=SHA256))
    assert [p for p, _ in server.seen] == ["/a", "/b"]


def test_an_interrupted_transfer_goes_on_where_it_broke_off(server, tmp_path):
    server.paths["/a"] = Behaviour(cuts=2)
    assert get(tmp_path, source(server, "/a", sha256=SHA256)).read_bytes() == BODY
    half, three_quarters = len(BODY) // 2, len(BODY) * 3 // 4
    assert [r for _, r in server.seen] == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_the_next_run_goes_on_as_well(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.paths["/a"] = Behaviour(cuts=1)
    with pytest.raises(UserError, match=r"broke off after 0\.5 of 1\.0 MB.*run the same command again"):
        get(tmp_path, source(server, "/a"))
    assert not (tmp_path / "checkpoints/a.pt").exists()
    assert get(tmp_path, source(server, "/a")).read_bytes() == BODY
    assert server.seen[-1][1] == f"bytes={len(BODY) // 2}-"
    assert left_over(tmp_path / "checkpoints") == []


def test_a_part_that_is_complete_is_not_fetched_again(server, tmp_path, monkeypatch):
    server.paths["/a"] = Behaviour()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(transfer.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path, source(server, "/a"))
    assert get(tmp_path, source(server, "/a")).read_bytes() == BODY
    assert server.seen[-1][1] == f"bytes={len(BODY)}-"


@pytest.mark.parametrize("change", [{"ranges": False}, {"etag": None}, {"etag": 'W/"v1"'}])
def test_without_range_support_or_a_version_it_starts_again(server, tmp_path, change):
    server.paths["/a"] = replace(Behaviour(cuts=1), **change)
    assert get(tmp_path, source(server, "/a", sha256=SHA256)).read_bytes() == BODY
    assert len(server.seen) == 2


def test_a_version_that_changed_between_two_attempts_is_not_mixed_with_the_old_one(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.paths["/a"] = Behaviour(cuts=1)
    with pytest.raises(UserError):
        get(tmp_path, source(server, "/a"))
    new = BODY[::-1]
    server.paths["/a"] = Behaviour(body=new, etag='"v2"')
    assert get(tmp_path, source(server, "/a")).read_bytes() == new


def test_a_shorter_new_version_starts_again(server, tmp_path, monkeypatch):
    server.paths["/a"] = Behaviour(cuts=1)
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    with pytest.raises(UserError):
        get(tmp_path, source(server, "/a"))
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    server.paths["/a"] = Behaviour(body=b"short", etag='"v1"')  # 416: nothing behind the part's end
    assert get(tmp_path, source(server, "/a")).read_bytes() == b"short"


def test_a_body_without_a_length_is_accepted_and_its_size_still_checked(server, tmp_path):
    server.paths["/a"] = Behaviour(length=False)
    assert get(tmp_path, source(server, "/a", size=len(BODY))).read_bytes() == BODY
    server.paths["/a"] = Behaviour(length=False, cuts=1)
    with pytest.raises(UserError, match="it has 524288 bytes, published are 1048576"):
        get(tmp_path / "other", source(server, "/a", size=len(BODY)))


def test_wrong_content_is_set_aside_and_the_next_mirror_used(server, tmp_path):
    server.paths |= {"/a": Behaviour(body=b"wrong"), "/b": Behaviour()}
    path = get(tmp_path, source(server, "/a", "/b", sha256=SHA256))
    assert path.read_bytes() == BODY
    assert path.with_name("a.pt.bad").read_bytes() == b"wrong"


@pytest.mark.parametrize(
    ("published", "complaint"),
    [
        ({"sha256": "0" * 64}, "its sha256 is .* published is 0000"),
        ({"md5": "0" * 32}, "its md5 is .* published is 0000"),
        ({"size": 7}, "it has 1048576 bytes, published are 7"),
    ],
)
def test_content_that_is_not_the_published_one_is_refused(server, tmp_path, published, complaint):
    server.paths["/a"] = Behaviour()
    with pytest.raises(UserError, match=complaint + r".*\(set aside as a\.pt\.bad\)"):
        get(tmp_path, source(server, "/a", **published))
    assert not (tmp_path / "checkpoints/a.pt").exists()


def test_gone_everywhere_says_where_to_put_the_file_in_one_line(server, tmp_path):
    with pytest.raises(UserError) as e:
        get(tmp_path, source(server, "/a", "/b", manual="ask a friend"))
    line = str(e.value)
    assert "\n" not in line
    assert line.count("404 Not Found") == 2
    assert f"put the file here: {tmp_path / 'checkpoints/a.pt'} (ask a friend)" in line


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (Behaviour(status=403), "403 Forbidden"),
        (Behaviour(status=503), "503 Service Unavailable"),
        (Behaviour(kind="text/html; charset=utf-8"), "a web page instead of the file"),
    ],
)
def test_other_refusals_are_named(server, tmp_path, how, why):
    server.paths["/a"] = how
    with pytest.raises(UserError, match=why):
        get(tmp_path, source(server, "/a"))


def test_an_unreachable_host_is_named(server, tmp_path):
    nowhere = Source(path="a", licence="MIT", home="h", urls=["http://127.0.0.1:1/a", "nonsense://b"])
    with pytest.raises(
        UserError, match=r"http://127\.0\.0\.1:1/a: host unreachable; nonsense://b: no such file"
    ):
        get(tmp_path, nowhere)


def test_a_file_without_a_published_digest_is_trusted_once_and_then_kept(server, tmp_path):
    server.paths["/a"] = Behaviour()
    one = source(server, "/a")
    path = get(tmp_path, one)
    record = json.loads(path.with_name("a.pt.fetched.json").read_text())
    assert record["sha256"] == {"a.pt": SHA256}
    assert record["from"] == f"{server.address}/a"
    assert record["licence"] == "MIT"

    path.write_bytes(b"changed on disk")
    with pytest.raises(UserError, match=r"a\.pt changed since it was first fetched"):
        get(tmp_path, one)
    path.unlink()
    server.paths["/a"] = Behaviour(body=b"changed on the server", etag='"v2"')
    with pytest.raises(UserError, match=r"a\.pt changed since it was first fetched"):
        get(tmp_path, one)
    assert not path.exists()
    path.with_name("a.pt.fetched.json").unlink()
    assert get(tmp_path, one).read_bytes() == b"changed on the server"


def test_a_file_put_in_place_by_hand_is_checked_and_used_without_network(tmp_path):
    path = tmp_path / "checkpoints/a.pt"
    path.parent.mkdir()
    path.write_bytes(BODY)
    unreachable = Source(path="checkpoints/a.pt", licence="MIT", home="h", sha256=SHA256)
    assert get(tmp_path, unreachable) == path
    assert json.loads(path.with_name("a.pt.fetched.json").read_text())["from"] == "found in place"
    with pytest.raises(UserError, match="not the x/a that was expected: its sha256 is"):
        get(tmp_path, replace(unreachable, sha256="0" * 64))
    assert path.read_bytes() == BODY


def test_mirrors_come_first_from_the_argument_or_the_environment(server, tmp_path, monkeypatch):
    server.paths["/mirror/checkpoints/a.pt"] = Behaviour()
    get(tmp_path / "1", source(server, "/a"), mirrors=[f"{server.address}/mirror/"])
    monkeypatch.setenv("BRIDGEPIPE_MIRRORS", f"{tmp_path}/none {server.address}/mirror")
    get(tmp_path / "2", source(server, "/a"))
    assert [p for p, _ in server.seen] == ["/mirror/checkpoints/a.pt"] * 2


def test_a_local_folder_can_be_a_mirror(tmp_path):
    shared = tmp_path / "shared/checkpoints"
    (shared / "both").mkdir(parents=True)
    (shared / "a.pt").write_bytes(BODY)
    (shared / "both/latest.pt").write_bytes(BODY)
    single = Source(path="checkpoints/a.pt", licence="MIT", home="h")
    folder = Source(path="checkpoints/both", licence="MIT", home="h", folder="id")
    assert get(tmp_path / "data", single, mirrors=[str(tmp_path / "shared")]).read_bytes() == BODY
    there = get(tmp_path / "data", folder, mirrors=[str(tmp_path / "shared")])
    assert (there / "latest.pt").read_bytes() == BODY


def test_a_full_disk_is_told_before_and_during_the_transfer(server, tmp_path, monkeypatch):
    server.paths["/a"] = Behaviour()
    with monkeypatch.context() as m:
        m.setattr(transfer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
        with pytest.raises(UserError, match=r"the disk is full.*free some space"):
            get(tmp_path, source(server, "/a"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_append", full)
    with pytest.raises(UserError, match="the disk is full"):
        get(tmp_path, source(server, "/a"))


FOLDER = Source(
    path="checkpoints/both",
    licence="CC",
    home="h",
    folder="id0",
    files=["latest.pt", "options.pkl"],
    manual="ask",
)


def drive_folder(files: dict[str, bytes]):
    """A stand-in for gdown.download_folder that writes these files."""

    def download(id: str, output: str, **_: object) -> list[str]:
        assert id == "id0"
        for name, content in files.items():
            place = Path(output) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return list(files)

    return download


def test_a_drive_folder_arrives_whole(tmp_path, monkeypatch):
    files = {"latest.pt": b"weights", "options.pkl": b"options", "sub/log.txt": b"log"}
    monkeypatch.setattr(gdown, "download_folder", drive_folder(files))
    path = get(tmp_path, FOLDER)
    assert {f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()} == set(files)
    record = json.loads(path.with_name("both.fetched.json").read_text())
    assert record["sha256"]["latest.pt"] == hashlib.sha256(b"weights").hexdigest()
    monkeypatch.delattr(gdown, "download_folder")
    assert get(tmp_path, FOLDER) == path
    (path / "latest.pt").write_bytes(b"other")
    with pytest.raises(UserError, match=r"latest\.pt changed"):
        get(tmp_path, FOLDER)


def test_a_folder_begun_by_hand_is_completed(tmp_path, monkeypatch):
    (tmp_path / "checkpoints/both").mkdir(parents=True)
    (tmp_path / "checkpoints/both/notes.txt").write_text("mine")
    monkeypatch.setattr(gdown, "download_folder", drive_folder({"latest.pt": b"w", "options.pkl": b"o"}))
    path = get(tmp_path, FOLDER)
    assert sorted(f.name for f in path.iterdir()) == ["latest.pt", "notes.txt", "options.pkl"]
    assert left_over(path.parent) == []


def test_a_drive_folder_that_vanished_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setattr(gdown, "download_folder", drive_folder({}))
    with pytest.raises(
        UserError, match=r"drive:id0: the folder is empty.*put a folder with latest\.pt and options\.pkl"
    ):
        get(tmp_path, FOLDER)
    monkeypatch.setattr(gdown, "download_folder", drive_folder({"latest.pt": b"w"}))
    with pytest.raises(UserError, match=r"options\.pkl missing"):
        get(tmp_path, FOLDER)


@pytest.mark.parametrize(
    ("raised", "why"),
    [
        (
            gdown.DownloadError("Cannot retrieve the link.\n\tYou may need permission"),
            "Cannot retrieve the link. You",
        ),
        (requests.ConnectionError("dns"), "host unreachable"),
        (requests.exceptions.SSLError("dns"), "no secure connection"),
        (requests.Timeout("slow"), "no answer in time"),
    ],
)
def test_drive_failures_are_told_in_one_line(tmp_path, monkeypatch, raised, why):
    def download(**_: object) -> None:
        raise raised

    monkeypatch.setattr(gdown, "download", download)
    with pytest.raises(UserError, match=why) as e:
        get(tmp_path, Source(path="masks.npz", licence="?", home="h", drive="id1"))
    assert "\n" not in str(e.value)


def test_a_drive_file_is_the_last_resort(server, tmp_path, monkeypatch):
    def download(id: str, output: str, **settings: object) -> str:
        assert (id, settings["resume"], settings["quiet"]) == ("id1", True, True)
        Path(output).write_bytes(BODY)
        return output

    monkeypatch.setattr(gdown, "download", download)
    assert get(tmp_path, source(server, "/a", drive="id1")).read_bytes() == BODY
    assert [p for p, _ in server.seen] == ["/a"]


def test_a_web_mirror_serves_a_folder_file_by_file_and_resumes_within_it(server, tmp_path, monkeypatch):
    base = "/m/checkpoints/both"
    server.paths |= {f"{base}/latest.pt": Behaviour(cuts=1), f"{base}/options.pkl": Behaviour(body=b"o")}
    path = get(tmp_path, FOLDER, mirrors=[server.address + "/m"])
    assert sorted(f.name for f in path.iterdir()) == ["latest.pt", "options.pkl"]
    assert (path / "latest.pt").read_bytes() == BODY


def test_a_group_goes_on_after_a_failure_and_names_what_failed(server, tmp_path):
    server.paths["/a"] = Behaviour()
    group = {
        "x/b": replace(source(server, "/b"), path="b"),
        "x/a": source(server, "/a"),
        "y/a": source(server, "/a"),
    }
    with pytest.raises(UserError, match=r"1 of 2 failed \(x/b\): cannot fetch x/b.*404"):
        fetch_all("x", tmp_path, sources=group, progress=False)
    assert (tmp_path / "checkpoints/a.pt").exists()
    assert fetch_all("y", tmp_path, sources=group, progress=False) == [tmp_path / "checkpoints/a.pt"]
    with pytest.raises(UserError, match="nothing of this name"):
        fetch_all("z", tmp_path, sources=group)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"i2sb/jpeg_5\): use one of: i2sb/jpeg-5"):
        fetch("i2sb/jpeg_5", tmp_path)
    with pytest.raises(UserError, match="lists what can be"):
        fetch("xyzzy", tmp_path)


def test_the_list_of_sources_is_sound(tmp_path):
    sources = load_sources()
    assert len({s.path for s in sources.values()}) == len(sources)
    for name, s in sources.items():
        assert s.urls or s.drive or s.folder or s.hub, name
        assert s.licence, name
        assert s.manual, name
        assert all(u.startswith("https://") for u in s.urls), name
        assert s.sha256 is None or re.fullmatch("[0-9a-f]{64}", s.sha256), name
        assert s.md5 is None or re.fullmatch("[0-9a-f]{32}", s.md5), name
    assert sources["i2sb/jpeg-5"].folder == "17bPMUX5yBcL8YTN8nbfJT6WHXU6CNLd7"
    assert len({s.folder for n, s in sources.items() if n.startswith("i2sb/") and s.folder}) == 9


@pytest.mark.parametrize(
    "text", ["a/b: {path: c, licence: MIT, home: h, colour: red}", "[1, 2]", "a: {b", "a: 1"]
)
def test_a_faulty_list_of_sources_is_refused(tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError, match="not a list of sources"):
        load_sources(tmp_path / "s.yaml")


def test_published_numbers_carry_their_protocol():
    numbers = load_published()
    assert len({(n.system, n.by, n.experiment, n.metric, n.nfe) for n in numbers}) == len(numbers)
    by_name = {(n.experiment, n.metric, n.nfe): n for n in numbers if not n.baseline}
    jpeg, pool = by_name["jpeg-5", "fid", 999], by_name["sr4x-pool", "fid", 999]
    assert (jpeg.value, jpeg.protocol["samples"]) == (4.6, 10000)
    assert (pool.value, pool.protocol["samples"]) == (2.7, 50000)
    assert "validation" in jpeg.protocol["reference"]
    assert "training" in pool.protocol["reference"]
    assert "ResNet-50" in by_name["jpeg-5", "accuracy", 999].protocol["extractor"]
    assert by_name["heun", "fid", 19].value == 29.61
    assert by_name["cycle", "cycle_l2_highest", 4000].value == 0.0143
    assert len([n for n in numbers if n.system == "i2sb" and n.same]) == 18
    assert len([n for n in numbers if n.system == "gaussian" and n.same]) == 25
    assert all(
        n.source and n.by and n.protocol["dataset"] and None not in n.protocol.values() for n in numbers
    )
    assert all(n.protocol["reference"] for n in numbers if n.same)


def test_baselines_stand_beside_the_system_of_their_table_and_never_beside_ours():
    others = {(n.by, n.experiment, n.metric): n for n in load_published() if n.baseline}
    assert (others["DDRM", "jpeg-5", "fid"].value, others["DDRM", "jpeg-5", "fid"].nfe) == (28.2, 20)
    assert others["CDSB", "sr4x-pool", "accuracy"].value == 61.3
    assert others["CDSB", "blur-uni", "fid"].nfe is None  # where no number of calls is told
    assert not any(n.same for n in others.values())
    assert {n.by for n in others.values()} >= {"DDRM", "DDNM", "ΠGDM", "ADM", "Palette", "CDSB"}


@pytest.mark.parametrize("length", ["twelve", "-5", "1e6", "", "9" * 30])
def test_a_length_that_is_no_number_is_refused(server, tmp_path, length):
    server.paths["/a"] = Behaviour(headers={"Content-Length": length})
    with pytest.raises(UserError, match=r"tells a length that is no number|unreachable") as e:
        get(tmp_path, source(server, "/a"))
    assert "\n" not in str(e.value)
    assert left_over(tmp_path / "checkpoints") == []


def test_a_size_that_contradicts_itself_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    end = len(BODY) - 1
    server.paths["/a"] = Behaviour(cuts=1, part_headers={"Content-Range": f"bytes {len(BODY) // 2}-{end}/7"})
    with pytest.raises(UserError, match="tells two sizes, 7 and 1048576 bytes"):
        get(tmp_path, source(server, "/a"))


@pytest.mark.parametrize("length", [True, False])
def test_an_empty_body_is_no_file(server, tmp_path, length):
    server.paths |= {"/a": Behaviour(body=b"", length=length), "/b": Behaviour()}
    with pytest.raises(UserError, match="the file there is empty"):
        get(tmp_path, source(server, "/a"))
    assert get(tmp_path, source(server, "/a", "/b")).read_bytes() == BODY


def test_an_empty_file_in_place_is_not_trusted(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/a.pt").touch()
    with pytest.raises(UserError, match=r"not the x/a that was expected: it is empty"):
        get(tmp_path, Source(path="checkpoints/a.pt", licence="MIT", home="h"))
    assert left_over(tmp_path) == []


def test_a_part_that_nobody_asked_for_is_refused(server, tmp_path):
    server.paths["/a"] = Behaviour(status=206, headers={"Content-Range": "bytes 0-9/1048576"})
    with pytest.raises(UserError, match="a part of the file where all of it was asked for"):
        get(tmp_path, source(server, "/a"))


@pytest.mark.parametrize("etag", ['"v2"', None])
def test_a_rest_of_another_version_is_not_appended(server, tmp_path, monkeypatch, etag):
    """A server that ignores If-Range sends the rest of what it has now."""
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.paths["/a"] = Behaviour(cuts=1)
    with pytest.raises(UserError, match="broke off"):
        get(tmp_path, source(server, "/a"))
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    new = BODY[::-1]
    server.paths["/a"] = Behaviour(body=new, etag=etag, careless=True)
    assert get(tmp_path, source(server, "/a")).read_bytes() == new
    record = json.loads((tmp_path / "checkpoints/a.pt.fetched.json").read_text())
    assert record["sha256"] == {"a.pt": hashlib.sha256(new).hexdigest()}


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'"v1"\r\nX: y', b'"v0"'])
def test_a_damaged_note_of_the_version_starts_again(server, tmp_path, monkeypatch, damage):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.paths["/a"] = Behaviour(cuts=1)
    with pytest.raises(UserError, match="broke off"):
        get(tmp_path, source(server, "/a"))
    (note,) = (tmp_path / "checkpoints").glob(".*-version")
    note.write_bytes(damage)
    assert get(tmp_path, source(server, "/a")).read_bytes() == BODY
    assert left_over(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("damage", ["", "nonsense", "[]", "{}", '{"sha256": 3}', '{"sha256": {"a.pt": 3}}'])
def test_a_damaged_record_of_a_download_is_told(server, tmp_path, damage):
    server.paths["/a"] = Behaviour()
    path = get(tmp_path, source(server, "/a"))
    path.with_name("a.pt.fetched.json").write_text(damage)
    with pytest.raises(UserError, match=r"damaged record of a download: .*a\.pt\.fetched\.json"):
        get(tmp_path, source(server, "/a"))
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("slow", ["head", "body"])
def test_a_server_that_drips_is_given_up_for_the_next(server, tmp_path, monkeypatch, slow):
    monkeypatch.setattr(transfer, "TICK", 0.02)
    monkeypatch.setattr(transfer, "GRACE", 0.3)
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.paths |= {"/a": Behaviour(drips=slow), "/b": Behaviour()}
    started = time.monotonic()
    assert get(tmp_path, source(server, "/a", "/b", sha256=SHA256)).read_bytes() == BODY
    assert time.monotonic() - started < 5
    with pytest.raises(UserError, match="too slow: broken off after 0 s"):
        get(tmp_path / "other", source(server, "/a"))


def test_all_attempts_together_have_a_deadline(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "DEADLINE", 0.0)
    monkeypatch.setattr(transfer, "TICK", 0.02)
    server.paths["/a"] = Behaviour(drips="body")
    with pytest.raises(UserError, match="too slow"):
        get(tmp_path, source(server, "/a"))
    assert len(server.seen) == 1


def test_two_fetches_of_one_file_take_turns(server, tmp_path, capfd):
    server.paths["/a"] = Behaviour(pause=0.3, etag=None)
    threads = [threading.Thread(target=get, args=(tmp_path, source(server, "/a"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "checkpoints/a.pt").read_bytes() == BODY
    assert len(server.seen) == 1
    assert "waiting for another process" in capfd.readouterr().err
    assert left_over(tmp_path / "checkpoints") == []


def test_what_arrived_is_on_the_disk_before_it_has_its_name(server, tmp_path, monkeypatch):
    done: list[str] = []
    fsync, replace_ = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: [done.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)][1]
    )
    monkeypatch.setattr(os, "replace", lambda a, b: [done.append(f"-> {b}"), replace_(a, b)][1])
    server.paths["/a"] = Behaviour()
    path = get(tmp_path, source(server, "/a"))
    named = done.index(f"-> {path}")
    assert any(f"{path.parent}/.a.pt." in name for name in done[:named] if not name.startswith("->"))
    assert done[named + 1] == str(path.parent)


def test_a_mirror_folder_with_a_dangling_link_is_told(tmp_path):
    shared = tmp_path / "shared/checkpoints/both"
    shared.mkdir(parents=True)
    (shared / "latest.pt").symlink_to("/nowhere")
    with pytest.raises(UserError, match=r"cannot be copied: .*latest\.pt"):
        get(tmp_path / "data", FOLDER, mirrors=[str(tmp_path / "shared")])


@pytest.mark.parametrize("place", ["../a", "/etc/a", "a/../../b"])
@pytest.mark.parametrize("key", ["path", "files"])
def test_a_source_outside_the_data_folder_is_refused(tmp_path, place, key):
    entry = {"path": "a", "licence": "MIT", "home": "h", "folder": "id"}
    entry |= {key: [place] if key == "files" else place}
    (tmp_path / "s.yaml").write_text(json.dumps({"x/a": entry}))
    with pytest.raises(UserError, match="stay below data/"):
        load_sources(tmp_path / "s.yaml")
