"""Commands of this environment that start at once, for tests of what comes after their start.

A job of a tiny project works for a tenth of a second after two seconds of `import torch`, and these tests
start hundreds. Here one process imports the libraries, and every command is a fork of it in the folder, with
the arguments, environment and open files of whoever called. Nothing of bridgepipe's own work is imported
before the fork. Tests about the start, the end and the processes of a command ask for the fixture `anew`.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import marshal
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

folder: Path | None = None  # of the commands, while they are served

# what each command imports before its own work
COMMANDS = {
    "snakemake": ("snakemake.cli", "bridgepipe.config"),
    "bridgepipe": (
        *("bridgepipe.config", "accelerate", "matplotlib.style", "matplotlib.figure", "ot", "pandas"),
        *(
            "scipy.stats",
            "sklearn.datasets",
            "sklearn.model_selection",
            "sklearn.svm",
            "torch._dynamo",
            "typer",
        ),
    ),
}
# hands everything over and waits; whoever kills it kills the fork
CLIENT = """\
#!{python} -IS
import marshal, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect({place!r})
    socket.send_fds(s, [b"."], [0, 1, 2])
    s.sendall(marshal.dumps((sys.argv[1:], dict(os.environ), os.getcwd())))
    code = s.recv(1)
sys.exit(code[0] if code else 137)
"""


@contextmanager
def serving(place: Path) -> Iterator[None]:
    """Start the processes that fork, and let `folder` name the commands. Elsewhere than on Linux: nothing."""
    global folder
    if sys.platform != "linux":
        yield
        return
    servers = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    for name in COMMANDS:
        command = [sys.executable, __file__, name, str(place / f"{name}.socket")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        servers.append(subprocess.Popen(command, env=environment, **pipes))
        (place / name).write_text(CLIENT.format(python=sys.executable, place=command[-1]))
        (place / name).chmod(0o755)
    try:
        for server in servers:
            assert server.stdout.readline() == b"ready\n"
        folder = place
        yield
    finally:
        folder = None
        for server in servers:
            server.communicate()


def main(name: str, place: str) -> None:
    for module in COMMANDS[name]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    asked = _next(place)
    if asked is None:
        return
    conn, command = asked
    try:
        _become(name, *command)
        code = 0
    except SystemExit as e:
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    conn.sendall(bytes([code & 255]))
    os._exit(code & 255)


def _next(place: str) -> tuple[socket.socket, tuple[list[str], dict[str, str], str]] | None:
    """In every fork what it is asked for; nothing in the process that forks, when the tests have ended."""
    running = set()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            conn, _ = listener.accept()
            with conn:
                if (pid := os.fork()) == 0:
                    return conn.dup(), _received(conn)
            running = {p for p in running | {pid} if os.waitpid(p, os.WNOHANG) == (0, 0)}
    for pid in running:  # nobody waits for them any more
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _received(conn: socket.socket) -> tuple[list[str], dict[str, str], str]:
    _, files, _, _ = socket.recv_fds(conn, 1, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    with conn.makefile("rb") as content:
        asked = marshal.load(content)
    # from now on the other end is silent until it is closed: the fork dies with it
    fcntl.fcntl(conn, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(conn, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(conn, fcntl.F_SETFL, fcntl.fcntl(conn, fcntl.F_GETFL) | os.O_ASYNC)
    return asked


def _become(name: str, words: list[str], environment: dict[str, str], here: str) -> None:
    """What the command does from its first own line on, with random numbers of its own."""
    os.chdir(here)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    for library in ("numpy.random", "torch"):
        if library in sys.modules:
            sys.modules[library].seed()
    if name == "snakemake":
        sys.argv, sys.path[0] = [name, *words], here
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        command = Path(sys.executable).with_name(name)
        sys.argv, sys.path[0] = [str(command), *words], str(command.parent)
        runpy.run_path(str(command), run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
