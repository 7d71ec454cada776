"""How results were computed: command, machine, libraries, threads, kernels; beside results, never in them.

The same command on the same machine gives the same bytes. Another number of threads, another CPU or another
GPU may round differently, and `bridgepipe verify --rerun` tells by these records which of them did.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.names import Json

Facts = Json
FOLDER = "provenance"
HOMES = {"results", "data"}  # folders of the workflow; what people write elsewhere is their own
# entries that explain no byte
NAMES = {"host", "platform", "from"}

_settings: Facts = {}  # of the runtime section, as this command read them
_sessions: list[Facts] = []  # of a training that was resumed


def use(**settings: Any) -> None:
    """Note the runtime settings of this command."""
    _settings.update(settings)


def trained(sessions: Iterable[Facts]) -> None:
    """Note how the steps of a training were computed, in place of how this command computes."""
    _sessions[:] = sessions


def facts(**settings: Any) -> Facts:
    """How this process computes; what concerns PyTorch only where it is used.

    Args:
        settings: settings of the runtime section, as they are used.
    """
    versions = {
        "host": platform.node(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
    }
    versions |= {n: sys.modules[n].__version__ for n in ("numpy", "scipy", "sklearn") if n in sys.modules}
    if "torch" in sys.modules:
        versions |= _torch()
    return {**versions, **settings}


def _torch() -> Facts:
    import torch

    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu_kernels": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "deterministic": torch.backends.cudnn.deterministic,
        "tf32": torch.backends.cudnn.allow_tf32,
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What may explain other bytes, such as ``threads: 2, now 1``."""
    keys = [k for k in now if k in then and k not in NAMES and then[k] != now[k]]
    return [f"{key}: {then[key]}, now {now[key]}" for key in keys]


def record(command: Sequence[str], started: float) -> None:
    """Write a record beside every result that a command of the workflow has made.

    Args:
        command: words after ``bridgepipe``.
        started: time of the start, from `time.monotonic`.
    """
    folders = {Path(value) for option, value in pairwise(command) if option == "--output"}
    made = [p for p in dict.fromkeys(artifacts.written) if str(p) in command or p.parent in folders]
    made = [p for p in made if HOMES & {*p.absolute().parts}]
    inputs = [p for p in map(Path, command) if p.is_file() and p not in made]
    record = {
        "command": list(command),
        "outputs": [str(p) for p in made],
        "inputs": {str(p): stamp(p) for p in inputs},
        "sessions": _sessions or [facts(**_settings)],
        "seconds": round(time.monotonic() - started, 1),
        "log": log_file(),
    }
    for path in made:
        artifacts.write_json(record_of(path), record)


def log_file() -> str:
    """The file that this command's output goes to; empty where that is no file, or unknown."""
    with suppress(OSError, ValueError):
        file = Path(_path_of(1))
        if file.is_file():
            return str(file.relative_to(Path.cwd()))
    return ""


def _path_of(descriptor: int) -> str:
    if hasattr(fcntl, "F_GETPATH"):  # macOS
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{descriptor}")


def record_of(path: Path) -> Path:
    """Where the record of a result lies."""
    return path.parent / FOLDER / f"{path.name}.json"


def stamp(path: Path) -> list[int]:
    """Size and time of a file: enough to see that it was written anew."""
    return [path.stat().st_size, path.stat().st_mtime_ns]
