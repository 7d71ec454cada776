"""Progress of long work: bars on a terminal, lines in a log, and what `status` reads of them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from bridgepipe.runtime import progress
from bridgepipe.runtime.progress import Progress, last_report

WORK = """
import sys, time
from bridgepipe.runtime import progress
progress.FIRST, progress.EVERY, progress.BEAT, progress.SOON = 0.2, 0.2, 0.05, 0.0
with progress.beating("search"):
    time.sleep(0.5)
    with progress.Progress(4, 0, "sampling") as shown:
        for _ in range(4):
            time.sleep(0.3)
            shown.after(1, "loss 0.5")
    print("result.png")
"""


def on_terminal(code: str, stream: str = "stderr", **more: Any) -> str:
    """What a terminal shows of a program one of whose streams it is; the other goes elsewhere."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    streams: Any = {"stdout": subprocess.DEVNULL, "stderr": None, stream: theirs}
    process = subprocess.Popen([sys.executable, "-c", code], **streams, **more)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_a_terminal_shows_a_bar_with_the_time_left() -> None:
    shown = on_terminal(WORK)
    assert re.search(r"\rsearch: at work, 00:00", shown)
    assert re.search(r"\rsampling:  50%\|.*2/4 \[00:00<00:0\d, .*loss 0.5\]", shown)
    assert "100%" in shown
    assert "about" not in shown  # no lines of a log


def test_a_log_gets_a_line_now_and_then_although_nothing_is_finished() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True)
    assert done.stdout == "result.png\n"
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"search: at work, \d s so far", lines[0])
    assert any(line.startswith("sampling: 0 of 4 images (0 %)") for line in lines)  # within the first batch
    pattern = r"sampling: [123] of 4 images \(\d+ %\), \S+ images/s, about \d+ s left, loss 0.5"
    assert any(re.fullmatch(pattern, line) for line in lines)
    assert "\r" not in done.stderr


@pytest.mark.parametrize(
    ("done", "total", "unit", "percent", "left"),
    [
        (300, 5000, "image", 6, "78 min"),
        (0, 10, "step", 0, ""),
        (3_000_000, 9_000_000, "byte", 33, "10 min"),
        (7, None, "file", None, ""),
    ],
)
def test_what_a_log_says_is_read_again(
    done: int,
    total: int | None,
    unit: str,
    percent: int | None,
    left: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress(total, 0, "work", unit) as shown:
        now[0] = 300.0
        shown.after(done)
    log = f"a first line: with 3 of 4 images\n{capsys.readouterr().err}finished: 5 images\n"
    report = last_report(log)
    assert report is not None
    assert (report.percent, report.left) == (percent, left)
    assert report.line.startswith("work: ")


def test_a_log_without_progress_says_nothing() -> None:
    assert last_report("") is None
    assert last_report("bridgepipe: cannot be read: x.png (mend it)\naccuracy: 0.5 of 3 images\n") is None
    report = last_report("search: at work, 25 min so far\n")
    assert report == progress.Report(None, "", "search: at work, 25 min so far")


def test_bars_end_with_their_block() -> None:
    with pytest.raises(ZeroDivisionError), Progress(3, 0, "work"):
        assert Progress.beat()
        raise ZeroDivisionError
    assert not Progress.beat()


def test_the_thread_ends_with_the_verb() -> None:
    code = """
        import threading
        from bridgepipe.runtime import progress
        try:
            with progress.beating("verb"):
                raise ValueError
        except ValueError:
            assert threading.active_count() == 1
    """
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=Path(__file__).parent)
    assert time.monotonic() - began < 60


def test_signals_wait_for_the_main_thread() -> None:
    """Also while it holds them back: what is then started must not miss them."""
    code = """
        import os, signal, time
        from bridgepipe.runtime import interruption, progress
        interruption.expect_warning()
        with progress.beating("verb"):
            with interruption.held_back():
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.2)
                assert interruption.received() == []
            assert interruption.received() == [signal.SIGUSR1]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
