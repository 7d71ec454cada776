"""How much a verb says beside its results: nothing, what it always says, or more."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

from bridgepipe import artifacts

KEY = "bridgepipe.loudness"  # of a call's context: the name of the option that was given


@contextmanager
def of(asked: str | None) -> Iterator[None]:
    """Run a verb with everything but its results, and the error that ends it, left out; or with more said."""
    if asked == "quiet":
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            yield
        return
    started, before = time.monotonic(), len(artifacts.written)
    try:
        yield
    except Exception:
        if asked == "verbose":
            traceback.print_exc()
        raise
    if asked == "verbose":
        for path in dict.fromkeys(artifacts.written[before:]):
            print(f"wrote {path}", file=sys.stderr)
        print(f"took {time.monotonic() - started:.1f} s", file=sys.stderr)
