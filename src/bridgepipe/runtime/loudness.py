"""How much a verb says beside its results: nothing, what it always says, or more."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr

from bridgepipe import artifacts

KEY = "bridgepipe.loudness"  # of a call's context: the name of the option that was given
ENDLESS = ("serve", "status")  # verbs that go on until they are stopped


@contextmanager
def of(asked: str | None, verb: str) -> Iterator[None]:
    """Run a verb with everything but its results, and the error that ends it, left out; or with more said."""
    if asked == "quiet":
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            yield
        return
    started, before = time.monotonic(), len(artifacts.written)
    try:
        with _beating(verb):
            yield
    except Exception:
        if asked == "verbose":
            traceback.print_exc()
        raise
    if asked == "verbose":
        for path in dict.fromkeys(artifacts.written[before:]):
            print(f"wrote {path}", file=sys.stderr)
        print(f"took {time.monotonic() - started:.1f} s", file=sys.stderr)


def _beating(verb: str) -> AbstractContextManager[None]:
    from bridgepipe.runtime import launch, progress

    if verb in ENDLESS or not launch.is_main():
        return nullcontext()
    return progress.beating(verb.removeprefix("stage "))
