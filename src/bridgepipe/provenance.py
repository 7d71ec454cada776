"""What decides the bytes of a result besides what is asked for: machine, libraries, threads, kernels.

The same command on the same machine gives the same bytes. Another number of threads, another CPU or another
GPU may round differently (docs/engines.md), so every result says how it was computed, in files beside the
results and never in them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

Facts = dict[str, Any]


def facts(**settings: Any) -> Facts:
    """How this process computes; ``settings`` are those of the runtime section that it uses."""
    import torch

    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cpu_kernels": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "deterministic": torch.backends.cudnn.deterministic,
        "tf32": torch.backends.cudnn.allow_tf32,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        **settings,
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What may explain other bytes: ``threads: 2, now 1``; the host's name alone explains none."""
    keys = [k for k in now if k in then and k not in ("host", "platform") and then[k] != now[k]]
    return [f"{key}: {then[key]}, now {now[key]}" for key in keys]
