"""Processes that a test starts beside each other."""

from __future__ import annotations

import socket
import subprocess

PATIENCE = 1200  # seconds; a machine that does something else besides may need many


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def all_succeed(started: list[subprocess.Popen[str]]) -> None:
    """Wait for processes whose standard error is piped; none is left behind, whatever happens."""
    try:
        errors = [process.communicate(timeout=PATIENCE)[1] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0] * len(started), "\n".join(errors)
