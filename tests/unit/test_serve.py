"""The web page over HTTP: what it refuses, whose pictures are whose, and what it leaves behind."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
from PIL import Image

from bridgepipe import cli
from bridgepipe.errors import UserError
from bridgepipe.photographs.files import Photo
from bridgepipe.web.app import Page, shown_name
from bridgepipe.web.guard import is_own
from bridgepipe.web.queue import Report
from bridgepipe.web.tasks import Made, Options, Recolour, Recolouring
from bridgepipe.web.visitors import Limits


class Delay(Options):
    """Of the task of these tests."""

    seconds: float = 0.0


@dataclass
class Turn:
    """A picture upside down, after a while."""

    options: type[Options] = Delay
    pictures: int = 1
    done: list[str] = field(default_factory=list)

    def work(self, photos: Sequence[Photo], options: Delay) -> float:
        return 1.0

    def run(self, photos: Sequence[Photo], options: Delay, report: Report) -> Made:
        for _ in range(int(options.seconds * 100)):
            time.sleep(0.01)
            report(0.01 / options.seconds)
        with Image.open(io.BytesIO(photos[0].bytes())) as image:
            turned = image.rotate(180)
        self.done.append(str(photos[0].name))
        return Made(str(photos[0].name), encoded(turned, "PNG"), notes=photos[0].remarks)


class Broken(Turn):
    """A task with a defect."""

    def run(self, *_: Any) -> Made:
        raise ZeroDivisionError("secret")


def encoded(image: Image.Image, format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


JPEG = encoded(Image.new("RGB", (40, 30), (200, 120, 30)))


def begun(side: int) -> bytes:
    """The beginning of a PNG file of many pixels."""
    header = struct.pack(">II5B", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b""))
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


class Served:
    """A page that is served, as visitors reach it."""

    def __init__(self, page: Page, folder: Path, port: int) -> None:
        self.page, self.folder, self.port = page, folder, port
        self.address = f"http://127.0.0.1:{port}"

    def visitor(self) -> Client:
        return Client(self.address)

    def files(self) -> list[bytes]:
        return sorted(file.read_bytes() for file in self.folder.iterdir())


class Client:
    """A browser with cookies of its own."""

    def __init__(self, address: str) -> None:
        self._session, self._address = requests.Session(), address
        self._session.trust_env = False
        self.welcome = self.ask("GET", "/")

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:
        return self._session.request(method, self._address + path, timeout=30, **how)

    def give(self, content: bytes = JPEG, name: str = "a.jpg") -> requests.Response:
        return self.ask("POST", "/pictures", params={"name": name}, data=content)

    def begin(self, task: str = "turn", *pictures: str, **options: Any) -> requests.Response:
        named = list(pictures) or [self.give().json()["id"]]
        return self.ask("POST", "/jobs", json={"task": task, "pictures": named, "options": options})

    def done(self, job: str) -> dict[str, Any]:
        for _ in range(1000):
            told = self.ask("GET", f"/jobs/{job}").json()
            if told["state"] not in ("waiting", "working"):
                return told
            time.sleep(0.02)
        raise AssertionError(told)


@contextmanager
def serving(folder: Path, **limits: Any) -> Iterator[Served]:
    folder.mkdir()
    tasks = {"turn": Turn(), "broken": Broken(), "colours": Recolour()}
    page = Page(tasks, folder, Limits(**limits), {"boundaries": [], "restores": "."})
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(page.app("127.0.0.1"), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield Served(page, folder, port)
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(serving(tmp_path / "pictures", **limits))


def error(answer: requests.Response) -> tuple[int, str]:
    line = answer.json()["error"]
    assert "\n" not in line
    return answer.status_code, line


def test_a_picture_is_given_worked_on_and_downloaded(serve: Callable[..., Served]) -> None:
    served = serve()
    client = served.visitor()
    picture = client.give(name="Ferien/été 1.jpg").json()
    assert {k: picture[k] for k in ("name", "width", "height")} == {
        "name": "été 1.jpg",
        "width": 40,
        "height": 30,
    }
    assert picture["remarks"] == ["JPEG of quality about 75, 4:2:0"]
    assert client.ask("GET", f"/pictures/{picture['id']}").content == JPEG
    job = client.begin("turn", picture["id"]).json()["id"]
    assert client.done(job) == {
        "state": "done",
        "name": "été 1.jpg",
        "notes": picture["remarks"],
        "own": False,
    }
    result = client.ask("GET", f"/jobs/{job}/file")
    assert result.content == encoded(Image.open(io.BytesIO(JPEG)).rotate(180), "PNG")
    assert result.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9t%C3%A9%201.jpg"
    assert served.files() == sorted([JPEG, result.content])
    assert all(re.fullmatch(r"[0-9a-f]{32}(\.jpg)?", file.name) for file in served.folder.iterdir())


def test_a_visitor_sees_no_picture_of_another(serve: Callable[..., Served]) -> None:
    served = serve()
    one, other = served.visitor(), served.visitor()
    picture = one.give().json()["id"]
    job = one.begin("turn", picture).json()["id"]
    one.done(job)
    for path in (f"/pictures/{picture}", f"/jobs/{job}", f"/jobs/{job}/file", f"/jobs/{job}/after"):
        assert one.ask("GET", path).ok
        assert other.ask("GET", path).status_code == 404
        assert requests.get(served.address + path, timeout=30).status_code == 403  # no cookie
    assert error(other.begin("turn", picture))[0] == 404
    assert other.ask("DELETE", f"/jobs/{job}").status_code == 404


def test_a_visit_begins_at_the_page_with_a_cookie_of_its_own(serve: Callable[..., Served]) -> None:
    served = serve()
    cookie = served.visitor().welcome.headers["set-cookie"]
    assert re.fullmatch(rf"bridgepipe-{served.port}=[\w-]{{43}}; HttpOnly; Path=/; SameSite=strict", cookie)
    chosen = {"Cookie": f"bridgepipe-{served.port}=chosen"}  # a secret that a visitor makes up is none
    assert error(requests.post(f"{served.address}/pictures", data=JPEG, headers=chosen, timeout=30)) == (
        403,
        "this visit is over (page): load the page again",
    )
    assert served.files() == []


WRONG = [
    ({"Host": "evil.example"}, "not a name of this page (evil.example): open it as 127.0.0.1"),
    ({"Host": "127.0.0.1.evil.example"}, "not a name of this page"),
    ({"Host": "10.1.2.3"}, "not a name of this page"),
    ({"Origin": "http://evil.example"}, "a request of another page (http://evil.example)"),
    ({"Origin": "http://localhost:1"}, "a request of another page"),
    ({"Origin": "null"}, "a request of another page (null): open this page itself"),
    ({"Sec-Fetch-Site": "same-site"}, "a request of another page"),
    ({"Sec-Fetch-Site": "cross-site"}, "a request of another page"),
]


@pytest.mark.parametrize(("headers", "line"), WRONG)
def test_requests_of_other_pages_are_refused(
    serve: Callable[..., Served], headers: dict[str, str], line: str
) -> None:
    served = serve()
    client = served.visitor()
    status, told = error(client.ask("POST", "/pictures", data=JPEG, headers=headers))
    assert status == 403
    assert told.startswith(line)
    assert served.files() == []
    if "Host" in headers or "Origin" in headers:
        assert client.ask("GET", "/", headers=headers).status_code == 403


def test_requests_of_the_page_itself_are_answered(serve: Callable[..., Served]) -> None:
    served = serve()
    client = served.visitor()
    own = {"Origin": served.address, "Sec-Fetch-Site": "same-origin"}
    assert client.ask("POST", "/pictures", data=JPEG, headers=own).status_code == 201
    for path in ("/page.css", "/page.js", "/page.svg"):
        assert client.ask("GET", path).ok
    policy = client.welcome.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert client.welcome.headers["x-content-type-options"] == "nosniff"
    assert not re.search(
        r"""(src|href)=["'](https?:)?//|<style|<script>| style=| on\w+=""", client.welcome.text
    )


def test_names_of_this_machine() -> None:
    assert all(is_own(host, "127.0.0.1") for host in ("localhost:9", "127.0.0.1:9", "127.0.0.2", "[::1]:9"))
    assert not any(
        is_own(host, "127.0.0.1") for host in ("", "[::1", "a.example", "10.0.0.1", "localhost.evil")
    )
    assert all(is_own(host, "0.0.0.0") for host in ("10.0.0.1:9", "localhost:9", socket.gethostname()))
    assert not any(is_own(host, "0.0.0.0") for host in ("evil.example:9", "1.2.3.4.evil"))


def test_limits_are_told_in_one_line(serve: Callable[..., Served]) -> None:
    served = serve(bytes=2000, pixels=1000, storage=3000)
    client = served.visitor()
    large = "the file is larger than 0.002 MB (limit of this page): give a smaller one"
    assert error(client.give(b"x" * 2001)) == (413, large)
    assert f'data-too-large="{large}"' in client.welcome.text  # the page refuses it before it is sent
    line = "40 x 30 are more than 0.001 million pixels (a.jpg): give a smaller picture"
    assert error(client.give()) == (413, line)
    frames, film = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")], io.BytesIO()
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    line = "3 frames of 20 x 20 are more than 0.001 million pixels (a.gif): give a smaller picture"
    assert error(client.give(film.getvalue(), "a.gif")) == (413, line)
    for side, status in ((10000, 413), (30000, 400)):  # the second is more than Pillow opens
        assert error(client.give(begun(side), "bomb.png"))[0] == status
    assert served.files() == []
    small = encoded(Image.new("RGB", (20, 20)))
    given = [client.give(small).status_code for _ in range(6)]
    assert given == [201] * (3000 // len(small)) + [429] * (6 - 3000 // len(small))
    assert len(served.files()) == 3000 // len(small)


@pytest.mark.parametrize(
    ("content", "name", "line"),
    [
        (b"", "a.jpg", "cannot be read as an image: its format is unknown (a.jpg): give a picture"),
        (b"%PDF-1.7", "../../a.pdf", "cannot be read as an image: its format is unknown (a.pdf): give"),
        (JPEG[:300], "C:\\a\\cut.jpg", "cannot be read as an image: "),
        (b"<svg onload='alert(1)'/>", "<b>.svg", "cannot be read as an image: its format is unknown (<b>"),
    ],
)
def test_what_is_no_picture_is_refused(
    serve: Callable[..., Served], content: bytes, name: str, line: str
) -> None:
    served = serve()
    answer = served.visitor().give(content, name)
    status, told = error(answer)
    assert (status, told[: len(line)]) == (400, line)
    assert answer.headers["content-type"] == "application/json"
    assert served.files() == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..", "picture"),
        ("", "picture"),
        ("a\x00b\n.png", "ab.png"),
        ("C:\\x\\ü.tif", "ü.tif"),
        (".bashrc", "bashrc"),
        ("n" * 5000 + ".jpg", "n" * 100 + ".jpg"),
    ],
)
def test_names_are_only_shown(given: str, shown: str) -> None:
    assert shown_name(given) == shown


def test_a_name_that_is_a_path_opens_nothing(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(encoded(Image.new("RGB", (8, 8))))
    served = serve()
    client = served.visitor()
    picture = client.give(name=str(tmp_path / "secret.jpg")).json()["id"]
    job = client.begin("turn", picture).json()["id"]
    client.done(job)
    assert Image.open(io.BytesIO(client.ask("GET", f"/jobs/{job}/file").content)).size == (40, 30)
    for path in ("/pictures/..%2f..%2fsecret.jpg", f"/jobs/{job}/..%2f..%2fsecret.jpg", "/..%2fsecret.jpg"):
        assert client.ask("GET", path).status_code == 404


def test_what_is_asked_is_checked(serve: Callable[..., Served]) -> None:
    client = serve().visitor()
    assert error(client.begin("nothing"))[1].startswith("unknown task (task): give one of: turn, ")
    assert error(client.begin(seconds="x"))[1].endswith("(seconds): choose another value")
    assert error(client.begin(minutes=1)) == (
        400,
        "extra inputs are not permitted (minutes): choose another value",
    )
    assert error(client.begin("colours"))[1] == "not as many pictures as this takes (pictures): give 2"
    assert error(client.ask("POST", "/jobs", data=b"["))[0] == 400
    assert error(client.ask("POST", "/jobs", data=b"[" * 9000))[0] == 400
    assert error(client.ask("POST", "/jobs", data=b" " * 20000))[0] == 413
    assert error(client.ask("GET", "/nothing"))[0] == 404


def test_the_queue_has_an_end(serve: Callable[..., Served]) -> None:
    served = serve(waiting=2, each=2)
    one, two, three = (served.visitor() for _ in range(3))
    jobs = [one.begin(seconds=5).json()["id"] for _ in range(2)]
    assert error(one.begin()) == (
        429,
        "2 of your pictures are waiting already (queue): wait until one is done, or stop one",
    )
    last = two.begin().json()["id"]
    assert error(three.begin()) == (429, "2 pictures are waiting already (queue): try again in a minute")
    assert two.ask("GET", f"/jobs/{last}").json() == {"state": "waiting", "ahead": 2}
    while not (told := one.ask("GET", f"/jobs/{jobs[0]}").json()).get("share"):
        time.sleep(0.02)
    assert told["state"] == "working"
    assert 0 < told["left"] < 60
    for job in jobs:  # at work, and waiting
        assert one.ask("DELETE", f"/jobs/{job}").status_code == 204
        assert one.done(job) == {"state": "stopped"}
    assert two.done(last)["state"] == "done"
    assert three.begin().status_code == 202


def test_a_defect_is_told_without_its_details(
    serve: Callable[..., Served], capsys: pytest.CaptureFixture[str]
) -> None:
    client = serve().visitor()
    told = client.done(client.begin("broken").json()["id"])
    assert told["state"] == "failed"
    assert "secret" not in told["error"]
    assert "ZeroDivisionError: secret" in capsys.readouterr().err
    assert client.done(client.begin().json()["id"])["state"] == "done"  # the thread goes on


def test_what_is_old_is_removed(serve: Callable[..., Served]) -> None:
    served = serve(age=0.3)
    client = served.visitor()
    picture = client.give().json()["id"]
    job = client.begin("turn", picture).json()["id"]
    client.done(job)
    assert len(served.files()) == 2
    for _ in range(200):
        if not served.files():
            break
        time.sleep(0.05)
    assert served.files() == []
    assert client.ask("GET", f"/pictures/{picture}").status_code in (403, 404)


def test_a_format_that_browsers_do_not_show_is_shown(serve: Callable[..., Served]) -> None:
    client = serve().visitor()
    tiff = encoded(Image.new("RGB", (40, 30), (200, 120, 30)), "TIFF")
    shown = client.ask("GET", f"/pictures/{client.give(tiff, 'a.tif').json()['id']}")
    assert shown.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(shown.content)).getpixel((5, 5)) == (200, 120, 30)


def test_colours_become_those_of_another_photograph() -> None:
    rng = np.random.default_rng(0)
    blue, red = (
        (rng.random((48, 64, 3)) * 60 + shift).astype(np.uint8) for shift in ((20, 60, 150), (150, 60, 20))
    )
    first, second = (
        Photo(
            Path("a.png"),
            Path("a.png"),
            encoded(Image.fromarray(p), "PNG"),
            format="PNG",
            shape=(48, 64, 1, ""),
        )
        for p in (blue, red)
    )
    shares: list[float] = []
    made = Recolour().run([first, second], Recolouring(), shares.append)
    found = np.asarray(Image.open(io.BytesIO(made.content))).astype(float)
    assert np.abs(found.mean((0, 1)) - red.mean((0, 1))).max() < 3
    assert np.abs(found.std((0, 1)) - red.std((0, 1))).max() < 5
    assert sum(shares) == pytest.approx(1)
    half = np.asarray(
        Image.open(
            io.BytesIO(Recolour().run([first, second], Recolouring(strength=0.5), shares.append).content)
        )
    )
    assert np.abs(half - (found + blue) / 2).max() <= 1
    grey = Photo(Path("g.png"), Path("g.png"), encoded(Image.new("L", (9, 9)), "PNG"), format="PNG")
    with pytest.raises(UserError, match=r"the photograph has no colours \(g.png\): give one in colour"):
        Recolour().run([grey, second], Recolouring(), shares.append)


@contextmanager
def command(folder: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`bridgepipe serve` in a process of its own, and its address."""
    words = [sys.executable, "-m", "bridgepipe", "serve", "--port", "0", *map(str, options)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    server = subprocess.Popen(words, cwd=folder, env=environment, **pipes)
    try:
        assert server.stdout is not None
        yield server, server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()


def test_the_command_serves_the_shipped_network_and_ends_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is downloaded is, byte for byte, what the command line makes; results stay in the folder given."""
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(JPEG)
    with command(tmp_path, "--folder", "given") as (server, address):
        page = Client(address)
        job = page.begin("restore").json()["id"]
        assert page.done(job)["state"] == "done"
        result = page.ask("GET", f"/jobs/{job}/file").content
        (place,) = Path("given").iterdir()
        assert place.stat().st_mode & 0o777 == 0o700
        port = address.rpartition(":")[2]
        assert bridgepipe("serve", "--port", port) == 2
        assert capsys.readouterr().err == (
            f"bridgepipe: cannot listen: Address already in use (127.0.0.1:{port}): "
            "give another --port, or an address of this machine to --host\n"
        )
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=60) == ("", "Ctrl-C ends it\nstopped\n")
        assert server.returncode == 0
    assert [file.read_bytes() for file in place.iterdir()] == [result]  # what was given is gone
    assert bridgepipe("restore", "a.jpg") == 0
    assert result == Path("restored/a.jpg").read_bytes()


def test_nothing_stays_of_a_temporary_folder_and_a_wide_address_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bridgepipe.web import serving

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[list[Path]] = []

    def answer(app: Any, bound: socket.socket) -> None:
        seen.append(list(tmp_path.iterdir()))
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "_answer", answer)
    monkeypatch.setattr(serving, "_restoration", lambda *_: Turn())
    assert bridgepipe("serve", "--host", "0.0.0.0", "--port", "0") == 0
    told = capsys.readouterr()
    assert re.fullmatch(r"http://0\.0\.0\.0:\d+\n", told.out)
    warning = "bridgepipe: anyone who reaches 0.0.0.0 can use this page: it asks for no password and encrypts"
    assert told.err == f"{warning} nothing\nCtrl-C ends it\nstopped\n"
    assert len(seen[0]) == 1
    assert list(tmp_path.iterdir()) == []


def bridgepipe(*words: str) -> int:
    """Exit code of a command in this process."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", *words])
        cli.main()
    return int(end.value.code or 0)
