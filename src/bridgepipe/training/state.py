"""What a training leaves between calls: its state, and states of other trainings that were set aside.

A state is resumed when what its next step depends on (the *identity* of the training) is the same. A state of
another configuration or of other data is set aside under its own name, because the edit may be undone: the
state that fits is taken up again. A state that only the code has changed under is somebody's work that
nobody gave up, so training stops and asks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError, is_out_of_memory
from bridgepipe.names import Json

if TYPE_CHECKING:  # states on the disk are listed without torch
    from torch import Tensor

FILE = "state.safetensors"
FORMAT = 2
MAX_ASIDE = 3  # states that were set aside in one folder, the newest ones
DAMAGED = "damaged"
CODE = "code"  # the entry of an identity that nobody edits on purpose to train something else

Say = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on; noise and order of the data follow from the step.

    Attributes:
        step: steps that are made.
        losses, norms: loss and gradient norm of every step, float64 [step]; NaN: the norm was not finite.
        network, ema: weights and averaged weights by name.
        optimizer: moments by the number of the parameter.
        scaler: state of the fp16 gradient scaler.
        objective: state of the objective.
        history: machine and settings of every session, each with its first step.
        others: averages of further decays, as ``train.ema`` lists them: decay -> weights by name.
    """

    step: int
    losses: Tensor
    norms: Tensor
    network: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    scaler: Json | None
    objective: dict[str, Tensor]
    history: list[Json]
    others: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, by their names in the file."""
        found = {"log.losses": self.losses, "log.norms": self.norms}
        for part in ("network", "ema", "objective"):
            found |= {f"{part}.{k}": v for k, v in getattr(self, part).items()}
        for decay, weights in self.others.items():
            found |= {f"ema-{decay}/{k}": v for k, v in weights.items()}
        for index, moments in self.optimizer.items():
            found |= {f"optimizer.{index}.{k}": v for k, v in moments.items()}
        return found

    def not_finite(self) -> str | None:
        """Name of a tensor that the next step would compute with and that holds NaN or infinity."""
        values = {k: v for k, v in self.tensors().items() if not k.startswith("log.")}
        return next((k for k, v in values.items() if v.is_floating_point() and not v.isfinite().all()), None)


@dataclass(frozen=True)
class Saved:
    """The header of a state on the disk.

    Attributes:
        path: file of the state.
        identity: identity of its training; None when the file is damaged or was written by another version.
        step: steps that are made.
        trouble: why it cannot be used.
        other_version: another version of bridgepipe wrote it.
    """

    path: Path
    identity: Json | None
    step: int
    trouble: UserError | None = None
    other_version: bool = False

    def fits(self, identity: Mapping[str, Any], steps: int) -> bool:
        """Whether a training of this identity that ends at ``steps`` goes on from it."""
        return self.differs(identity) == set() and self.step <= steps

    def differs(self, identity: Mapping[str, Any]) -> set[str]:
        """Entries of the identity that differ; code does not once a person accepted the state."""
        mine = self.identity or {}
        keys = {k for k in {*mine, *identity} if not _same(mine.get(k), identity.get(k))}
        accepted = CODE in mine and mine[CODE] is None
        return keys - {CODE} if accepted else keys


def save(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write the state atomically, with the identity (configuration, data, code) of its training."""
    card = {"format": FORMAT, "identity": dict(identity), "step": state.step}
    artifacts.save_tensors(path, state.tensors(), {**card, "scaler": state.scaler, "history": state.history})


def resume(folder: Path, identity: Mapping[str, Any], steps: int, say: Say) -> State | None:
    """The state that a training goes on from, which is then the one under `FILE`; None: it begins.

    Args:
        folder: folder of the training.
        identity: everything that its next step depends on.
        steps: total steps of the training; it cannot use a state beyond them.
        say: callback, given a message about each state that was set aside.

    Raises:
        UserError: only the code has changed since the state was saved, or another version saved it.
    """
    while True:
        states = {s.path.name: s for s in saved(folder)}
        current, fitting = states.get(FILE), [s for s in states.values() if s.fits(identity, steps)]
        best = max(fitting, key=lambda s: s.step, default=None)
        if current is not None and current is not best:
            if best is None:
                _ask(current, identity, steps)
            say(f"{_why(current, identity, steps)}: it is kept as {set_aside(current).name}")
            _prune(folder, say)
        if best is None:
            return None
        if best is not current:
            os.replace(best.path, folder / FILE)
            say(f"{best.path.name} is taken up again")
        try:
            return _read(folder / FILE)
        except UserError as e:
            _stop_unless_damaged(e)
            damaged = Saved(folder / FILE, None, best.step, e)
            say(f"{e}: it is kept as {set_aside(damaged).name}")


def saved(folder: Path) -> list[Saved]:
    """States in a folder: the current one, and those that were set aside for another training."""
    files = [*folder.glob(FILE), *folder.glob("state-*.safetensors")]
    return [_header(file) for file in sorted(files) if not file.name.startswith(f"state-{DAMAGED}")]


def described(folder: Path) -> list[str]:
    """A line for every state in a folder: its file, the steps that are made, what it is for."""
    lines = []
    for state in saved(folder):
        use = "resumed by the same training" if state.path.name == FILE else "set aside"
        accepted = (state.identity or {CODE: ""}).get(CODE, "") is None
        use += ", whatever the code" if accepted else ""
        lines.append(f"{state.path}: step {state.step}, {use if state.trouble is None else state.trouble}")
    return lines


def set_aside(state: Saved) -> Path:
    """Give a state the name of its identity, under which a training finds it again."""
    if state.identity is None:
        kind = "old" if state.other_version else DAMAGED
        name = f"{kind}-{artifacts.digest_file(state.path)[:12]}"
    else:
        name = f"{artifacts.digest_of(state.identity)[:12]}-{state.step}"
    aside = state.path.with_name(f"state-{name}.safetensors")
    os.replace(state.path, aside)
    os.utime(aside)  # the newest are kept
    return aside


def accept(state: Saved) -> None:
    """Let a training of the same configuration and data resume from a state of any code.

    Raises:
        UserError: the file cannot be used.
    """
    if state.trouble is not None:
        raise state.trouble
    tensors, card = artifacts.load_tensors(state.path, any_number=True)
    card["identity"][CODE] = None
    artifacts.save_tensors(state.path, tensors, card)


def _header(file: Path) -> Saved:
    try:
        card = artifacts.load_card(file)
    except UserError as e:
        _stop_unless_damaged(e)
        return Saved(file, None, 0, e)
    if card.get("format") != FORMAT:
        trouble = UserError(
            f"the state of step {card.get('step')} was saved by another version of bridgepipe",
            file,
            f"go on with that version, or begin anew: {_command(file.parent, 'start-again')}",
        )
        return Saved(file, None, card.get("step", 0), trouble, other_version=True)
    return Saved(file, card["identity"], card["step"])


def _stop_unless_damaged(error: UserError) -> None:
    """A disk that cannot be read, or no memory, says nothing about the file."""
    if is_out_of_memory(error) or isinstance(error.__cause__, OSError):
        raise error


def _ask(current: Saved, identity: Mapping[str, Any], steps: int) -> None:
    """Stop where training anew would lose what nobody gave up."""
    if current.other_version and current.trouble is not None:
        raise current.trouble
    if current.differs(identity) == {CODE} and 0 < current.step <= steps:
        folder = current.path.parent
        raise UserError(
            f"the code of this training has changed since its state of step {current.step} was saved",
            current.path,
            f"go on from it with `{_command(folder, 'go-on')}`,"
            f" or begin anew with `{_command(folder, 'start-again')}`; then repeat the command",
        )


def _command(folder: Path, choice: str) -> str:
    return f"bridgepipe training-state {folder} --{choice}"


def _why(current: Saved, identity: Mapping[str, Any], steps: int) -> str:
    if current.trouble is not None:
        return str(current.trouble)
    if not (changed := sorted(current.differs(identity))):
        return f"the state of step {current.step} is beyond the {steps} steps of this training"
    found, wanted = current.identity or {}, identity
    details = (f"{key} was {artifacts.difference(found.get(key), wanted.get(key))}" for key in changed)
    return f"the state of step {current.step} is of another training ({', '.join(details)})"


def _prune(folder: Path, say: Say) -> None:
    aside = sorted(folder.glob("state-*.safetensors"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in aside[MAX_ASIDE:]:
        file.unlink()
        say(f"removed {file.name}: the newest {MAX_ASIDE} states that were set aside are kept")


def _read(path: Path) -> State:
    tensors, card = artifacts.load_tensors(path, any_number=True)  # norms in the log are NaN after overflow
    parts = {name: dict(_under(tensors, f"{name}.")) for name in ("network", "ema", "objective")}
    return State(
        step=card["step"],
        losses=tensors["log.losses"],
        norms=tensors["log.norms"],
        optimizer=_moments(tensors),
        scaler=card["scaler"],
        history=card["history"],
        others=_others(tensors),
        **parts,
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((k.removeprefix(prefix), v) for k, v in tensors.items() if k.startswith(prefix))


def _moments(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _under(tensors, "optimizer."):
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    return moments


def _others(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    averages: dict[str, dict[str, Tensor]] = {}
    for key, value in _under(tensors, "ema-"):
        decay, name = key.split("/", 1)
        averages.setdefault(decay, {})[name] = value
    return averages


def _same(a: Any, b: Any) -> bool:
    return artifacts.canonical(a) == artifacts.canonical(b)
