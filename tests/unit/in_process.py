"""Verbs of the command line, run in the process of a test."""

from __future__ import annotations

import sys

from bridgepipe import cli


def run(*words: object) -> None:
    """``bridgepipe WORDS``; SystemExit where it fails."""
    before, sys.argv = sys.argv, ["bridgepipe", *map(str, words)]
    try:
        cli.main()
    except SystemExit as e:
        if e.code:
            raise
    finally:
        sys.argv = before
