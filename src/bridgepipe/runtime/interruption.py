"""Asked to stop: Slurm's warning before a time limit, an eviction, Ctrl-C. Imports nothing heavy.

A verb that keeps what it has finished raises `Interrupted`; the command line puts the job back into the
queue and exits with `RESUME_ME`. The same command goes on from there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

RESUME_ME = 75  # EX_TEMPFAIL: what is finished is kept, the same command goes on from it
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
FINISHED_KEPT = "finished images are kept"  # said when a signal stops the work
WARNING = signal.SIGUSR1  # sent by Slurm before a time limit to every process of a job; kills by default

_received: list[int] = []


class Interrupted(Exception):
    """Work was asked to stop; what is finished is kept and the same command goes on from it."""


def expect_warning() -> None:
    """Note a warning from now on instead of dying of it; work that can stop does so when it begins.

    To be called before anything slow is imported.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(WARNING, _note)
        # blocked where `held_back` started this process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def received() -> list[int]:
    """Numbers of the signals that were noted so far."""
    return list(_received)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals wait until the block ends, and in processes that start in it until `expect_warning`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run work in a thread until the block ends, which sets its event; signals are for the main thread."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True)
    with held_back():  # a thread starts with the mask of the one that starts it
        thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Turn the signals into a flag that is read between pieces of work."""
    try:
        with _handled(_note):
            yield lambda: bool(_received)
    finally:
        _received.clear()


@contextmanager
def at_once(saved: str) -> Iterator[None]:
    """Give up the work at hand as soon as a signal comes.

    Args:
        saved: what is not lost, for the message.

    Raises:
        Interrupted: a signal came, or had come before.
    """

    stopped = Interrupted(f"stopped: {saved}; run the same command to go on")

    def stop(number: int, _: FrameType | None) -> None:
        first = not _received
        _received.append(number)
        if first:  # a second one must not break into what ends the work
            raise stopped

    try:
        with _handled(stop):
            if _received:
                raise stopped
            yield
    except BaseException as e:
        if not _received:
            raise
        # whatever went wrong after it: processes that are asked to stop also lose each other
        raise stopped from (None if e is stopped else e)
    finally:
        _received.clear()


def _note(number: int, _: FrameType | None) -> None:
    _received.append(number)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, handler) for s in SIGNALS}
    try:
        yield
    finally:
        for s, old in before.items():
            signal.signal(s, old)
