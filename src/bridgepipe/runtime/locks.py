"""Who is at work: names that are unique across machines, and locks that say who holds them.

A process is known by its host, the boot of that host, its space of process numbers (two
containers may both have a process 1) and its number. A lock is the system's ``flock``
together with a record of the holder in the lock file. Where several machines see the
folder, ``flock`` may hold on one machine only, or not at all (NFS and Lustre have mount
options for each); there the record decides, whose time the holder renews while it lives.

What that cannot do: two machines that begin within a second on a file system without
locks, or a holder that is suspended for longer than `WATCHED` seconds, can pass each other.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import IO
from uuid import uuid4

from bridgepipe.errors import UserError, writing
from bridgepipe.runtime import interruption

LOCK = ".snakemake/bridgepipe.lock"  # held by the run of the workflow that is at work in a folder
BEAT = 5.0  # seconds after which the holder of a lock renews its time
WATCHED = 20.0  # seconds without a new time after which a holder on another machine is taken for dead
SETTLING = 1.0  # seconds that two processes need to see each other's record where flock does not work
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@dataclass(frozen=True)
class Owner:
    """A process, as others see it."""

    host: str
    boot: str
    pids: str
    pid: int
    started: str = ""
    token: str = field(default_factory=lambda: uuid4().hex[:8])

    @property
    def here(self) -> bool:
        """Whether it ran under this kernel, whose own locks can be trusted for it."""
        return (self.host, self.boot) == machine()[:2]

    @property
    def dead(self) -> bool:
        """Whether it is known to have ended: of other machines and containers that is not known."""
        return self.here and self.pids == machine()[2] and not _alive(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} of {self.host}, begun {self.started}"


@cache
def machine() -> tuple[str, str, str]:
    """Name of this host, its boot, and its space of process numbers; fixed while this process lives."""
    boot = pids = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        pids = os.readlink("/proc/self/ns/pid")
    return platform.node(), boot, pids


def me() -> Owner:
    return Owner(*machine(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextmanager
def exclusive(path: str | Path, wait: bool = False, keep: bool = True) -> Iterator[Owner | None]:
    """Hold a lock file; it is free again when this process ends, however it ends.

    Args:
        path: lock file, made when missing.
        wait: wait until the other process is done, saying so once.
        keep: leave the file behind, empty.

    Yields:
        Who held it before and ended without giving it back; None when nobody did.

    Raises:
        UserError: another process holds the lock and ``wait`` is false, or the file cannot be written.
    """
    path, own = Path(path), me()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file, before = _opened(path, wait)
    with file:
        with writing(path):
            _write(file, own)
        try:
            with renewed(path):
                yield before
        finally:
            with suppress(OSError):  # a disk that is full by now hides no other error
                if owner_of(path) == own:
                    _write(file, None)
                    if not keep:
                        path.unlink()


def _opened(path: Path, wait: bool) -> tuple[IO[str], Owner | None]:
    """The lock file, locked, and who held it before. Its last holder may have removed it meanwhile."""
    while True:
        file = open(path, "a+", encoding="utf8")  # noqa: SIM115  # closing it gives the lock back
        try:
            before = _take(file, path, wait)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file, before
        except BaseException:
            file.close()
            raise
        file.close()


def owner_of(path: str | Path) -> Owner | None:
    """Who holds a lock file, by its own record; None when nobody does."""
    with suppress(OSError, ValueError, TypeError):
        return Owner(**json.loads(Path(path).read_text(encoding="utf8")))
    return None


def held(path: str | Path) -> Owner | None:
    """Who holds a lock file and is alive, as far as that can be seen without touching it."""
    owner = owner_of(path)
    return owner if owner is not None and lives(owner, path) else None


def lives(owner: Owner, path: str | Path) -> bool:
    """Whether a process is alive that renews the time of a file, as far as that can be seen."""
    known = owner.here and owner.pids == machine()[2]
    return not owner.dead and (known or time.time() - Path(path).stat().st_mtime < WATCHED)


def renewed(path: Path) -> AbstractContextManager[None]:
    """Renew the time of a file in the block, by which other machines see that this process is alive."""
    return interruption.beside(partial(_renew, path))


def _take(file: IO[str], path: Path, wait: bool) -> Owner | None:
    """Wait for the lock, or refuse; who held it before and did not give it back."""
    said = False
    while True:
        locked = _flock(file, path)
        before = owner_of(path)
        if locked is not False and _free(before, path, bool(locked)):
            if locked or _settled(file, path):
                return before
            before = owner_of(path)
        if not wait:
            at_work = f"another run is at work here ({before})" if before else "another run is at work here"
            raise UserError(at_work, path, "wait until it is done or stop it, then repeat the command")
        if not said:
            said = True
            text = f"bridgepipe: waiting for another process at work here ({path})"
            print(text, file=sys.stderr, flush=True)
        time.sleep(0.2)


def _flock(file: IO[str], path: Path) -> bool | None:
    """Whether the system gave the lock; None where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as e:
        if e.errno not in UNSUPPORTED:
            raise
        _say_once(f"the file system of {path.parent} has no locks: {path.name} is kept by its record alone")
        return None
    return True


@cache
def _say_once(text: str) -> None:
    print(f"bridgepipe: {text}", file=sys.stderr, flush=True)


def _free(before: Owner | None, path: Path, locked: bool) -> bool:
    """Whether the one who left a record is gone. The system's lock proves it for processes of this kernel."""
    if before is None or before.dead or (locked and before.here):
        return True
    if before.here and before.pids == machine()[2]:
        return False
    _say_once(f"{before} left {path}: watching for {WATCHED:.0f} s whether it is alive")
    seen, deadline = path.stat().st_mtime_ns, time.monotonic() + WATCHED
    while time.monotonic() < deadline:
        time.sleep(min(0.5, WATCHED / 10))
        with open(path, encoding="utf8"):  # a network file system looks anew when a file is opened
            if path.stat().st_mtime_ns != seen:
                return owner_of(path) is None
    return True


def _settled(file: IO[str], path: Path) -> bool:
    """Without locks: whether our record is still there after others had time to write theirs."""
    own = me()
    _write(file, own)
    time.sleep(SETTLING)
    return owner_of(path) == own


def _write(file: IO[str], owner: Owner | None) -> None:
    file.truncate(0)  # opened for appending: what follows is written at the beginning
    file.write("" if owner is None else json.dumps(asdict(owner)) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _renew(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with suppress(OSError):
            os.utime(path)


# names of temporary files


def temporary_name(name: str) -> str:
    """A hidden name beside ``name`` that no other process on any machine takes: see `is_left_over`."""
    short = name.encode()[:80].decode(errors="ignore")  # long names must leave room for the rest
    return f".{short}.{_here()}-{os.getpid()}-{uuid4().hex[:8]}.tmp"


def is_left_over(name: str) -> bool:
    """Whether a file has a temporary name of a process that is known to have ended."""
    match = re.search(r"\.([^.]+)-(\d+)-[0-9a-f]{8}\.tmp$", name)
    return match is not None and match[1] == _here() and not _alive(int(match[2]))


@cache
def _here() -> str:
    """This host, its boot and its space of process numbers, fit for a file's name."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", machine()[0])[:40]
    return f"{host}-{hashlib.sha256('/'.join(machine()).encode()).hexdigest()[:12]}"
