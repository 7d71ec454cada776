"""What a person reads when something is wrong: one exception, and what a disk or the memory can refuse."""

from __future__ import annotations

import errno
import os
import re
import resource
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

# how allocators say it that have no exception of their own
# (PyTorch on a CPU, cuBLAS and cuDNN, C++, the loader of shared libraries)
NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "alloc_failed",
    "bad_alloc",
    "failed to map segment from shared object",
    "can't start new thread",
)
FOREIGN = ("lmdb", "safetensors")  # libraries in C and Rust that tell the system's error in their text only
# errno -> (what, how to mend it)
REFUSED: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "remove files of yours, or ask for a larger quota"),
    errno.EROFS: ("Read-only file system", "make the folder writable, or give another one"),
    errno.EACCES: ("Permission denied", "make it writable and readable for you, or give another path"),
    errno.EPERM: ("Operation not permitted", "make it writable and readable for you, or give another path"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "give a shorter name"),
    errno.EMFILE: ("too many open files in this process", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many open files on this machine", "close other programs"),
    errno.EFBIG: ("larger than a file may become here", "raise the limit (ulimit -f), or take another disk"),
    errno.EIO: ("Input/output error of the disk", "look at the system's log, or take another disk"),
    errno.ESTALE: ("the network file system has lost the file", "mount it again"),
    errno.ENOMEM: ("not enough memory", "use smaller batches, or a machine (or ulimit -v) with more memory"),
    errno.ENOENT: ("no such file", "make it first, or give another path"),
    errno.EISDIR: ("no such file: a folder is here", "give a file"),
    errno.ENOTDIR: ("a file stands where a folder should be", "give another path"),
    errno.ELOOP: ("its links lead in a circle", "mend the links, or give another path"),
    errno.EEXIST: ("a file stands where a folder should be", "give another path"),
    errno.ENXIO: ("not a regular file", "give a file"),
}

# files that a rule of the workflow makes, and not the Snakefile or a training on its way
MADE = re.compile(
    r"results/(?!config/|plan/)(?!.*/(config|train|logs|benchmarks|provenance)/).+\.(safetensors|lmdb|json|csv|png|md)"
    r"|data/(prepared|points|stats|checkpoints)/.+\.(safetensors|lmdb)"
)


class UserError(Exception):
    """Bad input, reported in one line: what is wrong, where, and how to mend it.

    The command line prints the line and exits with code 2; anything else that
    is raised is a defect of bridgepipe and keeps its traceback.
    """

    def __init__(self, what: str, where: object, mend: str) -> None:
        self.what, self.where, self.mend = what, where, mend
        line = f"{what} ({where}): {mend}"
        # names and values of others may hold line breaks and signs that a terminal obeys
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, is that memory ran out: of a GPU, or of the CPU under a limit.

    Readers take almost any error for a damaged file; this finds out when the file is not to blame.
    """
    return any(_no_memory(e) for e in _causes(error))


def may_pass(error: BaseException) -> bool:
    """Whether the same command may succeed on the same input another time, or on another machine."""
    of_machine = isinstance(error, UserError) and str(error.where).startswith("runtime.")
    return of_machine or is_out_of_memory(error) or any(isinstance(e, OSError) for e in _causes(error))


def out_of_memory(error: BaseException, where: object) -> UserError:
    """What a person reads when memory ran out and nothing smaller can be tried."""
    cause = next((e for e in _causes(error) if _no_memory(e)), error)
    detail = " ".join(str(cause).split())[:200]
    mend = "give the command more memory, or lower runtime.batch_size, runtime.microbatch or the image size"
    return UserError(f"out of memory: {detail}" if detail else "out of memory", where, mend)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _no_memory(error: BaseException) -> bool:
    if isinstance(error, SystemError):  # under a limit Python itself can fail without an exception of its own
        return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # torch.OutOfMemoryError, lmdb.MemoryError: this module imports neither library
    named = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
    return named or (
        isinstance(error, RuntimeError | OSError | ImportError)
        and any(text in str(error).lower() for text in NO_MEMORY)
    )


def errno_of(error: BaseException) -> int | None:
    """The system's error number behind an exception; None when it has none.

    LMDB and safetensors raise exceptions of their own, which hold it as text.
    """
    if _no_memory(error):
        return errno.ENOMEM
    if isinstance(error, OSError):
        return error.errno
    if not type(error).__module__.startswith(FOREIGN):
        return None
    if numbered := re.search(r"os error (\d+)", str(error)):
        return int(numbered[1])
    return next((number for number in REFUSED if os.strerror(number) in str(error)), None)


def refused(error: BaseException, where: object, verb: str, again: str = "") -> UserError:
    """What the system refused, in one line; the file that the system names goes before ``where``."""
    number = errno_of(error) or 0
    named = getattr(error, "filename", None)
    if number not in REFUSED:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UserError(f"cannot {verb}: {' '.join(text.split())}", named or where, f"mend that{again}")
    what, mend = REFUSED[number]
    absent = verb == "read" and number in (errno.ENOENT, errno.EISDIR)
    return UserError(what if absent else f"cannot {verb}: {what}", named or where, mend + again)


def maker(path: str | Path) -> str | None:
    """The command that makes a file of the project in the current folder; None of other files."""
    here = os.path.relpath(path)
    return f"snakemake {shlex.quote(here)}" if MADE.fullmatch(here) and os.path.exists("Snakefile") else None


def mend_missing(path: str | Path) -> str:
    """Advice where no file is."""
    by = f" (`{command}`)" if (command := maker(path)) else ""
    return f"make it first{by}, or give another path"


def stop(error: UserError) -> NoReturn:
    """Print one line and leave with code 2, where an exception would be buried in the output of others."""
    print(f"bridgepipe: {error}", file=sys.stderr, flush=True)
    raise SystemExit(2) from None


@contextmanager
def writing(path: str | Path, verb: str = "write", again: str = "") -> Iterator[None]:
    """Whatever the system refuses becomes one line that says which limit was met.

    The rest passes, and also running out of memory, after which the work may go on in smaller pieces.
    """
    try:
        yield
    except Exception as e:
        if errno_of(e) in (None, errno.ENOMEM):
            raise
        raise refused(e, path, verb, again) from e


@contextmanager
def reading(path: str | Path, what: str, mend: str, missing: str = "") -> Iterator[None]:
    """Whatever goes wrong while a file is read becomes one line: what is there is not of this kind.

    Args:
        path: file that could not be read.
        what: what is wrong when the reader fails, such as "not a JSON file"; the reader's reason follows.
        mend: advice when it is something else. It must hold for a sound file of another kind, too.
        missing: advice when nothing is there.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as e:
        raise UserError("no such file", path, missing or mend_missing(path)) from e
    except Exception as e:  # readers of damaged bytes raise anything
        if errno_of(e) is not None:
            raise refused(e, path, "read") from e
        reason = next(iter(str(e).splitlines()), "") or type(e).__name__
        raise UserError(f"{what}: {reason}", path, mend) from e
