"""Bring one file or folder from one place: a web server, Google Drive, or a local folder.

Nothing here knows what the content should be. A transfer that breaks off is
kept in a ``.part`` file and goes on from there, in this process or the next.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHUNK = 1 << 16  # what an interruption can lose
ATTEMPTS = 4  # at one place, each going on where the last one broke off
PAUSE = 1.0  # seconds before the second attempt; doubled each time
TIMEOUT = (10.0, 60.0)  # seconds to connect, and to wait for the next byte


class Failed(Exception):
    """One place did not deliver; the text says why."""


class Interrupted(Failed):
    """The transfer broke off; what has arrived is kept, and another attempt goes on from there."""


def is_web(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def from_disk(place: Path, target: Path) -> None:
    """Copy a file or a folder.

    Raises:
        Failed: there is none.
    """
    if place.is_dir():
        shutil.copytree(place, target, dirs_exist_ok=True)
    elif place.is_file():
        part = _part(target)
        shutil.copyfile(place, part)
        os.replace(part, target)
    else:
        raise Failed("no such file")


def file_from_drive(drive_id: str, target: Path, progress: bool = True) -> None:
    """A Google Drive file, through gdown, which knows Drive's confirmation pages.

    Raises:
        Failed: it is gone, not shared, or Drive cannot be reached.
    """
    _with_gdown("download", drive_id, target, progress)


def folder_from_drive(drive_id: str, target: Path, progress: bool = True) -> None:
    """A Google Drive folder with everything in it.

    Raises:
        Failed: it is gone, empty, not shared, or Drive cannot be reached.
    """
    if not _with_gdown("download_folder", drive_id, target, progress):
        raise Failed("the folder is empty: its files were removed or are no longer shared")


def _with_gdown(function: str, drive_id: str, target: Path, progress: bool) -> Any:
    import gdown
    import requests

    try:
        return getattr(gdown, function)(
            id=drive_id,
            output=str(target),
            quiet=not progress,
            use_cookies=False,
            resume=True,
            timeout=TIMEOUT,
            retries=ATTEMPTS - 1,
        )
    except gdown.DownloadError as e:
        raise Failed(" ".join(str(e).split())) from e
    except requests.RequestException as e:
        raise Failed(_why(e)) from e


def from_web(url: str, target: Path, progress: bool = True) -> None:
    """Plain HTTP(S), with several attempts.

    Raises:
        Failed: unreachable, refused, or a web page instead of the file.
        Interrupted: it broke off at every attempt; the next call goes on.
        OSError: the disk is full or not writable.
    """
    part = _part(target)
    for attempt in range(ATTEMPTS):
        try:
            _attempt(url, part, progress)
            break
        except Interrupted:
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(PAUSE * 2**attempt)
    os.replace(part, target)
    _version(part).unlink(missing_ok=True)


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _version(part: Path) -> Path:
    """Holds the server's name (ETag or date) of the version that ``part`` belongs to."""
    return part.with_name(part.name + "-version")


def _attempt(url: str, part: Path, progress: bool) -> None:
    """One request: the rest of ``part`` if the server still has that version, else all of it."""
    import requests

    version = _version(part).read_text() if _version(part).exists() else ""
    have = part.stat().st_size if version and part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException as e:
        raise Failed(_why(e)) from e
    with answer:
        if answer.status_code != 416:
            return _receive(answer, part, have, progress)
        if answer.headers.get("Content-Range") == f"bytes */{have}":
            return None  # every byte had arrived already
        part.unlink()
        raise Interrupted("the server has another version than the one that was begun")


def _receive(answer: Any, part: Path, have: int, progress: bool) -> None:
    """Write the body behind the bytes that are there, and see that it is complete."""
    _refuse_errors(answer, have)
    have = have if answer.status_code == 206 else 0
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    if (total or 0) - have > shutil.disk_usage(part.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _version(part).write_text(_strong_version(answer.headers))
    _append(answer, part, have, total, progress)
    if total is not None and part.stat().st_size != total:
        raise Interrupted(_broke_off(part, total))


def _append(answer: Any, part: Path, have: int, total: int | None, progress: bool) -> None:
    import requests
    from tqdm import tqdm

    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, leave=False, disable=not progress)
    try:
        with open(part, "ab" if have else "wb") as f, bar:
            for chunk in answer.iter_content(CHUNK):
                f.write(chunk)
                bar.update(len(chunk))
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
    if answer.status_code == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise Failed("answers with another part of the file than was asked for")


def _why(e: Exception) -> str:
    import requests

    kinds: Sequence[tuple[type[Exception], str]] = (
        (requests.exceptions.SSLError, "no secure connection"),
        (requests.exceptions.Timeout, "no answer in time"),
        (requests.exceptions.ConnectionError, "host unreachable"),
    )
    return next((text for kind, text in kinds if isinstance(e, kind)), type(e).__name__)
