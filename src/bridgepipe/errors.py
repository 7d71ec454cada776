"""The one exception that a person reads, and the one condition that is nobody's mistake: no memory left."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator

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


class UserError(Exception):
    """Bad input, told in one line: what is wrong, where, and how to mend it.

    The command line prints the line and exits with code 2; anything else that
    is raised is a defect of bridgepipe and keeps its traceback.
    """

    def __init__(self, what: str, where: object, mend: str) -> None:
        self.what, self.mend = what, mend
        line = f"{what} ({where}): {mend}"
        # names and values of others may hold line breaks and signs that a terminal obeys
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, is that memory ran out: of a GPU, or of the CPU under a limit.

    Readers take almost any error for a damaged file; this tells when the file is not to blame.
    """
    return any(_no_memory(e) for e in _causes(error))


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
