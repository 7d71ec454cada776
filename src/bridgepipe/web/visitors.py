"""Who visits the page, and the pictures of each, which nobody else sees."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridgepipe.errors import writing
from bridgepipe.photographs.files import Photo
from bridgepipe.web.queue import Job
from bridgepipe.web.refusals import FORBIDDEN, NOT_FOUND, TOO_LARGE, TOO_MANY, Refused

MOST = 1000  # visitors
EACH = 50  # pictures, and jobs, of a visitor; the oldest go first


@dataclass(frozen=True)
class Limits:
    """What visitors may ask for.

    Attributes:
        bytes, pixels: size of a picture.
        waiting: jobs in the queue.
        each: jobs of one visitor that wait or are at work.
        storage: bytes of all pictures and results.
        age: seconds after which a picture or a result is removed.
    """

    bytes: int = 50_000_000
    pixels: int = 40_000_000
    waiting: int = 8
    each: int = 3
    storage: int = 2_000_000_000
    age: float = 3600.0

    @property
    def too_large(self) -> Refused:
        what = f"the file is larger than {self.bytes / 1e6:g} MB"
        return Refused(TOO_LARGE, what, "limit of this page", "give a smaller one")

    def check_pixels(self, width: int, height: int, frames: int, name: str) -> None:
        """Refuse a picture with more pixels in all its frames.

        Raises:
            Refused: the picture has more.
        """
        if width * height * frames > self.pixels:
            many = f"{frames} frames of " if frames > 1 else ""
            what = f"{many}{width} x {height} are more than {self.pixels / 1e6:g} million pixels"
            raise Refused(TOO_LARGE, what, name, "give a smaller picture")


@dataclass(frozen=True)
class Upload:
    """A picture that a visitor gave: what it is, and the file that holds it."""

    photo: Photo
    file: Path
    at: float


@dataclass(eq=False)
class Visitor:
    """One browser: its pictures, and its work, by names that are drawn by chance."""

    seen: float
    pictures: dict[str, Upload] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def picture(self, name: object) -> Upload:
        """One of its pictures.

        Raises:
            Refused: the visit has no picture of this name.
        """
        return _own(self.pictures, name, "picture")

    def job(self, name: object) -> Job:
        """One of its jobs; raises as `picture`."""
        return _own(self.jobs, name, "result")


def _own(things: dict[str, Any], name: object, kind: str) -> Any:
    if isinstance(name, str) and name in things:
        return things[name]
    raise Refused(NOT_FOUND, f"there is no such {kind}, or it has been removed", "page", "give it again")


class Visitors:
    """All visitors, and the one folder in which their pictures lie, under names that are drawn by chance."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.limits = limits
        self._folder = folder
        self._visitors: dict[str, Visitor] = {}
        self._sizes: dict[Path, int] = {}
        self._lock = threading.Lock()  # of the sizes, which the thread that works also changes

    def new(self) -> str:
        """Welcome a visitor; returns the secret that it is known by."""
        while len(self._visitors) >= MOST:
            self._forget(min(self._visitors, key=lambda secret: self._visitors[secret].seen))
        secret = secrets.token_urlsafe(32)
        self._visitors[secret] = Visitor(time.monotonic())
        return secret

    def knows(self, secret: str | None) -> bool:
        return secret in self._visitors

    def find(self, secret: str | None) -> Visitor:
        """Whose secret it is.

        Raises:
            Refused: the secret is nobody's.
        """
        if secret not in self._visitors:
            raise Refused(FORBIDDEN, "this visit is over", "page", "load the page again")
        visitor = self._visitors[secret]
        visitor.seen = time.monotonic()
        return visitor

    def keep_picture(self, visitor: Visitor, photo: Photo, file: Path) -> str:
        """Take a picture in; returns its name."""
        for name in list(visitor.pictures)[: len(visitor.pictures) - EACH + 1]:
            self.remove(visitor.pictures.pop(name).file)
        name = secrets.token_urlsafe(16)
        visitor.pictures[name] = Upload(photo, file, time.monotonic())
        return name

    def keep_job(self, visitor: Visitor, job: Job) -> str:
        """Take a job in; returns its name."""
        over = [name for name, old in visitor.jobs.items() if old.is_over]
        for name in over[: len(visitor.jobs) - EACH + 1]:
            self._drop(visitor.jobs.pop(name))
        name = secrets.token_urlsafe(16)
        visitor.jobs[name] = job
        return name

    @contextmanager
    def arriving(self, suffix: str = "") -> Iterator[Path]:
        """A place for a file that arrives; nothing stays of one that does not arrive whole."""
        file = self._folder / f"{secrets.token_hex(16)}{suffix}"
        try:
            with writing("page"):
                yield file
        except BaseException:
            self.remove(file)
            raise

    def write(self, content: bytes, suffix: str = "") -> Path:
        """Keep a result, in a file of its own.

        Raises:
            Refused: no room is left.
        """
        with self.arriving(suffix) as file:
            self.count(file, len(content))
            file.write_bytes(content)
        return file

    def count(self, file: Path, size: int) -> None:
        """Note how many bytes a file has.

        Raises:
            Refused: all together would be more than may be kept.
        """
        with self._lock:
            others = sum(self._sizes.values()) - self._sizes.get(file, 0)
            if others + size > self.limits.storage:
                what = f"the page holds {self.limits.storage / 1e9:g} GB of pictures, as much as it may"
                raise Refused(TOO_MANY, what, "page", "try again later: pictures are removed after a while")
            self._sizes[file] = size

    def remove(self, file: Path) -> None:
        """Remove a file; one that is not there is no fault."""
        with self._lock:
            self._sizes.pop(file, None)
        file.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what is too old: pictures, results, and visitors that have neither."""
        before = time.monotonic() - self.limits.age
        for secret, visitor in list(self._visitors.items()):
            busy = [job for job in visitor.jobs.values() if not job.is_over]
            if not busy:
                for name in [name for name, picture in visitor.pictures.items() if picture.at <= before]:
                    self.remove(visitor.pictures.pop(name).file)
            for name in [name for name, job in visitor.jobs.items() if job.is_over and job.ended <= before]:
                self._drop(visitor.jobs.pop(name))
            if not visitor.pictures and not visitor.jobs and visitor.seen <= before:
                self._forget(secret)

    def close(self) -> None:
        """Remove all pictures that visitors gave; results stay."""
        for visitor in self._visitors.values():
            for picture in visitor.pictures.values():
                self.remove(picture.file)

    def _forget(self, secret: str) -> None:
        visitor = self._visitors.pop(secret)
        for picture in visitor.pictures.values():
            self.remove(picture.file)
        for job in visitor.jobs.values():
            job.stop()
            self._drop(job)

    def _drop(self, job: Job) -> None:
        for file in job.result.files if job.result else ():
            self.remove(file)
