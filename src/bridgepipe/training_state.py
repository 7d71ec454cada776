"""What a training run leaves between calls: one file, whole or absent, resumed only by the same run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bridgepipe import artifacts
from bridgepipe.errors import UserError, is_out_of_memory

Row = dict[str, float | None]


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on; noise and order of the data follow from the step."""

    step: int
    rows: list[Row]
    network: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    scaler: dict[str, Any] | None
    objective: dict[str, Tensor]


def save(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write the state atomically, with the identity (configuration, data, code) of its run."""
    tensors = {f"network.{k}": v for k, v in state.network.items()}
    tensors |= {f"ema.{k}": v for k, v in state.ema.items()}
    tensors |= {f"objective.{k}": v for k, v in state.objective.items()}
    for index, moments in state.optimizer.items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in moments.items()}
    card = {"identity": dict(identity), "step": state.step, "rows": state.rows, "scaler": state.scaler}
    artifacts.save_tensors(path, tensors, card)


def load(path: Path, identity: Mapping[str, Any], say: Callable[[str], None]) -> State | None:
    """The state of the same run, None when there is none.

    A damaged state, or one of another run, may be somebody's work: it is
    renamed and never overwritten.
    """
    if not path.exists():
        return None
    try:
        tensors, card = artifacts.load_tensors(path, {"identity": dict(identity)})
    except UserError as reason:
        if is_out_of_memory(reason):
            raise
        kept = path.with_name(f"{path.stem}-{artifacts.digest_file(path)[:12]}{path.suffix}")
        os.replace(path, kept)
        say(f"not resumed, kept as {kept.name}: {reason}")
        return None
    network, ema = _under(tensors, "network."), _under(tensors, "ema.")
    objective = _under(tensors, "objective.")
    return State(card["step"], card["rows"], network, ema, _moments(tensors), card["scaler"], objective)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _moments(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _under(tensors, "optimizer.").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    return moments
