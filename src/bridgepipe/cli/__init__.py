"""The command line: the verbs for people, and under ``stage`` one verb per rule of the workflow.

Verbs read their stage's configuration, hand plain values to the module that
does the work, and write its result. Every path is an option.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Any

from bridgepipe.runtime import interruption

interruption.expect_warning()  # before the imports that take long

# Threads that wait must sleep: jobs that share cores are many times slower when they spin.
# Read by OpenMP when torch is first imported, which no verb does before it runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Read by PyTorch with its first tensor: it asks for large tensors in pages of 2 MB, of which Linux gives a
# batch of 256x256 images in a third of the time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Imports make objects by the hundred thousand, which all stay. Looked through for garbage as often as Python
# does by itself, they take a tenth longer.
gc.set_threshold(50_000)

import typer

from bridgepipe.cli.groups import STAGE
from bridgepipe.cli.groups import app as app
from bridgepipe.errors import UserError, is_out_of_memory, may_pass, out_of_memory, refused
from bridgepipe.runtime import jobs, launch, locks, provenance


def main() -> None:
    """Run the command line. Exit codes: 2 for bad input (one line says what), 75 for "run me again"."""
    with jobs.recorded(sys.argv[1:], run=locks.held(locks.LOCK)):
        _main()


def _main() -> None:
    try:
        code = _run()
    except interruption.Interrupted as e:
        if launch.is_main():
            from bridgepipe.runtime import slurm

            requeued = slurm.requeue()
            print(f"bridgepipe: {e}{'; back in the queue' if requeued else ''}", file=sys.stderr)
        raise SystemExit(interruption.RESUME_ME) from None
    except typer.Abort:  # Ctrl-C
        raise SystemExit(130) from None
    except Exception as e:
        line = f"bridgepipe: {_as_user_error(e)}"
        print(line, file=sys.stderr)
        jobs.failed(line, for_good=not may_pass(e) and _verb() != "fetch")
        raise SystemExit(jobs.BAD_INPUT) from None
    raise SystemExit(code)


def _run() -> Any:
    """The exit code of the command."""
    started = time.monotonic()
    try:
        # what the library would print itself takes several lines
        code = app(prog_name="bridgepipe", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as e:
        code = e.code
    if not code:
        provenance.record(sys.argv[1:], started)
    return code


def _as_user_error(error: Exception) -> UserError:
    """An error that a person can mend, as one line.

    Raises:
        Exception: the error itself when it is a defect of bridgepipe, which keeps its traceback.
    """
    if is_out_of_memory(error):  # also where a reader took it for a damaged file
        return out_of_memory(error, _verb())
    if isinstance(error, OSError) and error.errno is not None:  # a disk can refuse anything at any time
        return refused(error, _verb(), "read or write")
    if hasattr(error, "format_message"):  # of the library that reads options
        verb = getattr(getattr(error, "ctx", None), "command_path", "bridgepipe")
        return UserError(" ".join(error.format_message().split()), verb, f"see {verb} --help")
    if not isinstance(error, UserError):
        raise error
    return error


def _verb() -> str:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    return " ".join(words[: 2 if words[:1] == [STAGE] else 1])
