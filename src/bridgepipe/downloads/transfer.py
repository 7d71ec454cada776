"""Bring one file or folder from one place: a web server or a local folder; `drive` knows Google Drive.

Nothing here knows what the content should be. A transfer that breaks off is
kept in a ``.part`` file and goes on from there, in this process or the next.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bridgepipe.artifacts import sync

CHUNK = 1 << 16  # what an interruption can lose
ATTEMPTS = 4  # at one place, each going on where the last one broke off
PAUSE = 1.0  # seconds before the second attempt; doubled each time
TIMEOUT = (10.0, 60.0)  # seconds to connect, and to wait for the next byte
# a server that sends a byte now and then would keep the others of the list waiting for ever
GRACE = 120.0  # seconds that one request may take in any case
TICK = 1.0  # seconds between looks at the time
SLOWEST = 10_000  # bytes per second that give it more time
DEADLINE = 24 * 3600.0  # seconds for one file or folder in all


class Failed(Exception):
    """One place did not deliver; the text says why."""


class Interrupted(Failed):
    """The transfer broke off; what has arrived is kept, and another attempt goes on from there."""


def is_web(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def from_disk(place: Path, target: Path) -> None:
    """Copy a file or a folder.

    Raises:
        Failed: nothing is there.
    """
    if place.is_dir():
        try:
            shutil.copytree(place, target, dirs_exist_ok=True)
        except shutil.Error as e:  # a list of what could not be copied
            raise Failed(f"cannot be copied: {e.args[0][0][-1]}") from e
    elif place.is_file():
        part = _part(target)
        shutil.copyfile(place, part)
        _refuse_empty(part)
        os.replace(part, target)
    else:
        raise Failed("no such file")


def from_web(
    url: str,
    target: Path,
    progress: bool = True,
    headers: Mapping[str, str] | None = None,
    empty: bool = False,
) -> None:
    """Plain HTTP(S), with several attempts.

    Args:
        headers: these go with every request.
        empty: whether the file is known to have no bytes; else one without any is refused.

    Raises:
        Failed: unreachable, refused, empty, or a web page instead of the file.
        Interrupted: the transfer broke off at every attempt; the next call goes on.
        OSError: the disk is full or not writable.
    """
    part, ends = _part(target), time.monotonic() + DEADLINE
    for attempt in range(ATTEMPTS):
        try:
            _attempt(url, part, progress, ends, headers or {})
            break
        except Interrupted:
            if attempt + 1 == ATTEMPTS or time.monotonic() > ends:
                raise
            time.sleep(PAUSE * 2**attempt)
    if not empty:
        _refuse_empty(part)
    os.replace(part, target)
    _version(part).unlink(missing_ok=True)


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _version(part: Path) -> Path:
    """Holds the server's name (ETag or date) of the version that ``part`` belongs to."""
    return part.with_name(part.name + "-version")


def _begun(part: Path) -> str:
    """The version that ``part`` belongs to; "" where none can be continued, also for a damaged record."""
    try:
        version = _version(part).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return version if re.fullmatch(r"[ -~]{1,1000}", version) and part.is_file() else ""


@contextmanager
def until(seconds: Callable[[], float]) -> Iterator[None]:
    """Break the block off when it has taken longer than ``seconds()``, which may grow meanwhile.

    The system's timer interrupts any call that waits. Only the main thread has it.
    """
    started = time.monotonic()

    def look(_number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - started > seconds():
            raise Interrupted(f"too slow: broken off after {time.monotonic() - started:.0f} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _attempt(url: str, part: Path, progress: bool, ends: float, headers: Mapping[str, str]) -> None:
    """One request: the rest of ``part`` if the server still has that version, else all of it."""
    left, have = ends - time.monotonic(), part.stat().st_size if part.is_file() else 0

    def allowed() -> float:
        arrived = part.stat().st_size if part.is_file() else 0
        return min(GRACE + max(0, arrived - have) / SLOWEST, left)

    with until(allowed):
        _request(url, part, progress, headers)


def _request(url: str, part: Path, progress: bool, more: Mapping[str, str]) -> None:
    import requests

    version = _begun(part)
    have = part.stat().st_size if version else 0
    headers = {**more, "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException as e:
        raise Failed(why(e)) from e
    with answer:
        offered = _strong_version(answer.headers)
        complete = answer.headers.get("Content-Range") == f"bytes */{have}" and offered in ("", version)
        if answer.status_code == 416 and complete:
            return  # every byte had arrived already
        # some servers ignore If-Range
        if answer.status_code == 416 or (answer.status_code == 206 and have and offered != version):
            part.unlink(missing_ok=True)
            raise Interrupted("the server has another version than the one that was begun")
        _receive(answer, part, have, progress)


def _receive(answer: Any, part: Path, have: int, progress: bool) -> None:
    """Write the body behind the bytes that are there, and see that it is complete."""
    _refuse_errors(answer, have)
    have = have if answer.status_code == 206 else 0
    total = _total(answer.headers, have)
    if (total or 0) - have > shutil.disk_usage(part.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _version(part).write_text(_strong_version(answer.headers), encoding="ascii", errors="ignore")
    _append(answer, part, have, total, progress)
    if total is not None and part.stat().st_size != total:
        raise Interrupted(_broke_off(part, total))


def _total(headers: Mapping[str, str], have: int) -> int | None:
    """Size of the whole file as the server reports it; None when it does not.

    Raises:
        Failed: the answer is no size, or contradicts itself.
    """
    length = headers.get("Content-Length")
    if length is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", length.strip()):
        raise Failed(f"tells a length that is no number: {length!r}")
    total = have + int(length)
    content_range = re.fullmatch(r"bytes [0-9]+-[0-9]+/([0-9]+)", headers.get("Content-Range", ""))
    if have and content_range and int(content_range[1]) != total:
        raise Failed(f"tells two sizes, {content_range[1]} and {total} bytes")
    return total


def _refuse_empty(file: Path) -> None:
    if file.stat().st_size == 0:
        file.unlink()
        raise Failed("the file there is empty")


def settle(arrived: Path) -> None:
    """Bring a file or a folder to the disk, and see that a folder holds nothing but its own files.

    Raises:
        Failed: a link, or something that is no file.
    """
    for file in sorted(arrived.rglob("*")) if arrived.is_dir() else [arrived]:
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise Failed(f"{file.name} in it is a link or no file")
        sync(file)
    sync(arrived)


def _append(answer: Any, part: Path, have: int, total: int | None, progress: bool) -> None:
    import requests

    from bridgepipe.runtime.progress import Progress

    bar = Progress(total, have, part.name.removesuffix(".part").lstrip("."), "byte", progress)
    try:
        with open(part, "ab" if have else "wb") as f, bar:
            for chunk in answer.iter_content(CHUNK):
                f.write(chunk)
                bar.after(len(chunk))
    except requests.RequestException as e:
        raise Interrupted(_broke_off(part, total)) from e


def _broke_off(part: Path, total: int | None) -> str:
    wanted = f"{total / 1e6:.1f} MB" if total else "an unknown length"
    return f"broke off after {part.stat().st_size / 1e6:.1f} of {wanted}"


def _strong_version(headers: Mapping[str, str]) -> str:
    """A validator that If-Range accepts; empty when the server gives none (then nothing is resumed)."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _refuse_errors(answer: Any, have: int) -> None:
    status = f"{answer.status_code} {answer.reason}"
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Interrupted(status)
    if answer.status_code not in (200, 206):
        raise Failed(status)
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        # A login or "not found" page must never be trusted as the first version of a file.
        raise Failed("answers with a web page instead of the file")
    if answer.status_code == 206 and not have:
        raise Failed("answers with a part of the file where all of it was asked for")
    if answer.status_code == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise Failed("answers with another part of the file than was asked for")


def why(e: Exception) -> str:
    import requests

    kinds: Sequence[tuple[type[Exception], str]] = (
        (requests.exceptions.SSLError, "no secure connection"),
        (requests.exceptions.Timeout, "no answer in time"),
        (requests.exceptions.ConnectionError, "host unreachable"),
    )
    return next((text for kind, text in kinds if isinstance(e, kind)), type(e).__name__)
