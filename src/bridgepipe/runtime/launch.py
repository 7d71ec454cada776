"""One command as several processes of this machine: started, stopped and ended together.

A launcher for several machines may have started them instead (docs/several-processes.md).
Imports nothing heavy: the process that only waits for the others stays small.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from bridgepipe.errors import UserError
from bridgepipe.runtime import interruption

CHILD = "BRIDGEPIPE_CHILD"  # set in the processes that `start` started
LISTENER = "BRIDGEPIPE_LISTENER"  # set in the first of them: the socket on which all of them meet
GRACE = 5.0  # seconds for the others to end when one process has failed, and again after SIGTERM
REQUEUEING = 100.0  # seconds that the main process may need to put its job back into Slurm's queue

GPUS = Path("/proc/driver/nvidia/gpus")
LAUNCHERS = ("SLURM_JOB_ID", "WORLD_SIZE")

_claimed: list[IO[str]] = []  # locks of the GPUs of this process

Processes = Sequence[subprocess.Popen[bytes]]


def start(processes: int, threads: int = 1) -> None:
    """Go on as one of ``processes``; a command that nobody launched starts them and ends with them.

    The exit code of the command is that of the first process that failed, 0 when none did.

    Args:
        processes: number of processes that there must be.
        threads: CPU threads of each.

    Raises:
        UserError: a launcher started another number.
        SystemExit: the processes that were started here have ended.
    """
    launched = os.environ.get("WORLD_SIZE")
    if launched is None:
        _started_once()
        if processes > 1:
            raise SystemExit(_run(processes, threads))
    elif int(launched) != processes:
        raise UserError(
            f"{launched} processes were started where {processes} are wanted",
            "runtime.processes",
            f"start {processes}, or give --processes {launched}",
        )
    if CHILD in os.environ:
        _end_with_the_launcher()


def claim_gpus(count: int) -> None:
    """Use GPUs that no other command of this machine has claimed, until this process ends.

    Snakemake starts jobs beside each other and assigns none a GPU: all would take the first.
    Nothing is claimed where someone else hands GPUs out (Slurm, ``CUDA_VISIBLE_DEVICES``, another launcher).
    """
    present = len(list(GPUS.glob("*")))
    if present <= count or any(name in os.environ for name in ("CUDA_VISIBLE_DEVICES", *LAUNCHERS)):
        return
    free: dict[int, IO[str]] = {}
    for k in range(present):
        lock: IO[str] = open(Path(tempfile.gettempdir()) / f"bridgepipe-{os.getuid()}-gpu-{k}.lock", "a")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            free[k] = lock
        if len(free) == count:
            _claimed.extend(free.values())
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, free))
            return
    for lock in free.values():
        lock.close()


def local_world_size() -> int:
    """How many processes of this command share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the process that speaks for all of its command."""
    return os.environ.get("RANK", "0") == "0"


def _started_once() -> None:
    """srun starts a command once per task; each would do all of the work."""
    copies = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if copies > 1:
        raise UserError(
            f"srun started this command {copies} times, each for itself",
            "processes",
            f"start it once (srun --ntasks=1) with --processes {copies}",
        )


def _run(processes: int, threads: int) -> int:
    from bridgepipe.runtime.progress import Progress  # not for the help, which is to be fast

    started: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "bridgepipe", *sys.argv[1:]]
    with _signals_passed_on(started):
        with interruption.held_back(), _listener() as listener:
            for number in interruption.received():  # before there was anyone to pass it on to
                os.kill(os.getpid(), number)
            for rank in range(processes):
                environment = {
                    **os.environ,
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(processes),
                    "LOCAL_WORLD_SIZE": str(processes),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(listener.getsockname()[1]),
                    # the first process serves the store in which all meet, and is one of those that ask it
                    "TORCHELASTIC_USE_AGENT_STORE": "True",
                    "OMP_NUM_THREADS": str(threads),
                    CHILD: "1",
                }
                passed = []
                if rank == 0:
                    passed = [listener.fileno()]
                    environment[LISTENER] = str(listener.fileno())
                # the pipe is never written to: a child reads its end when the launcher is gone
                pipe = subprocess.PIPE
                started.append(subprocess.Popen(command, env=environment, stdin=pipe, pass_fds=passed))
        with Progress(None, 0, "processes", shown=False):  # the first of them tells how far all are
            return _wait(started)


@contextmanager
def _listener() -> Iterator[socket.socket]:
    """A socket that listens on a free port, for the first process: not every system lets it bind again."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


@contextmanager
def _signals_passed_on(processes: Processes) -> Iterator[None]:
    def pass_on(number: int, _: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    before = {s: signal.signal(s, pass_on) for s in interruption.SIGNALS}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def _wait(processes: Processes) -> int:
    """Wait for all; when one fails the others, which wait for it, are ended."""
    while all(p.poll() in (None, 0) for p in processes):
        if all(p.returncode == 0 for p in processes):
            return 0
        time.sleep(0.05)
    rank, code = next((k, p.returncode) for k, p in enumerate(processes) if p.returncode not in (None, 0))
    resumed = code == interruption.RESUME_ME
    _end([p for p in processes if p.returncode is None], REQUEUEING if resumed else GRACE)
    if not resumed:
        print(
            f"bridgepipe: process {rank} of {len(processes)} ended first, with code {code}", file=sys.stderr
        )
    return code if code > 0 else 128 - code


def _end(processes: Processes, patience: float) -> None:
    # most find out by themselves that one is missing
    for end, seconds in ((subprocess.Popen.terminate, patience), (subprocess.Popen.kill, GRACE)):
        deadline = time.monotonic() + seconds
        while any(p.poll() is None for p in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in processes:
            end(process)
    for process in processes:
        process.wait()


def _end_with_the_launcher() -> None:
    # SIGTERM raises, so that files under temporary names are removed
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    os.read(0, 1)
    os._exit(1)
