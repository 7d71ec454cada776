"""The one training loop: objective, accelerate, EMA, accumulation, exact resume.

Everything random in a step is a function of (seed, step, place in the global
batch): the order of the data, the flips, the time steps and the noise. A run
that is killed and resumed, split over processes or run in smaller pieces
therefore trains on the same numbers. (Dropout is drawn per piece.)

Longer than other files, so that a step can be read in one place with what it changes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from bridgepipe import artifacts
from bridgepipe.config.recipe import Recipe, checkpoint_name
from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError, is_out_of_memory
from bridgepipe.runtime import provenance
from bridgepipe.runtime.devices import prepare
from bridgepipe.runtime.interruption import Interrupted, noted
from bridgepipe.runtime.progress import Progress
from bridgepipe.runtime.rng import BlockNoise, ItemNoise, generator
from bridgepipe.runtime.running import accelerator, all_gather
from bridgepipe.training import reduction
from bridgepipe.training import state as training_state
from bridgepipe.training.checkpoints import Checkpoints
from bridgepipe.training.ema import EMA
from bridgepipe.training.log import Log, Row
from bridgepipe.training.objective import Batch, Images, Learning, Objective
from bridgepipe.training.optimizer import AdamW
from bridgepipe.training.order import order
from bridgepipe.training.rate import lr_at
from bridgepipe.training.state import State
from bridgepipe.training.validation import Validations, Validator
from bridgepipe.training.views import draw

if TYPE_CHECKING:
    from bridgepipe.training.trackers import Trackers

NOTHING: Mapping[str, Any] = {}


def train(
    network: nn.Module,
    objective: Objective,
    data: Images,
    recipe: Recipe,
    running: Runtime,
    folder: Path,
    identity: Mapping[str, Any],
    noise: type[ItemNoise] | type[BlockNoise] = ItemNoise,
    card: Mapping[str, Any] = NOTHING,
    validator: Validator | None = None,
    result: nn.Module | None = None,
) -> dict[str, Tensor]:
    """Train to the end of the recipe, resuming what an earlier call of the same run left.

    Args:
        network: freshly initialised, on the CPU.
        objective: loss per item.
        data: training images.
        recipe: training settings.
        running: precision, device, microbatch, how often states are saved.
        folder: folder that holds the state and ``train.csv`` between calls.
        identity: JSON values that the next step depends on (configuration, data, code); only a state
            of the same identity is resumed, see `training_state.resume`.
        noise: source of the streams that each place draws from; `BlockNoise` for points.
        card: entries of the card of a checkpoint that is kept along the way.
        validator: settings and measure of the validation; None: no validation.
        result: the part of the network whose average is the result; None: all of it.

    Returns:
        EMA weights by name, on the CPU.

    Raises:
        Interrupted: SIGTERM, SIGINT or SIGUSR1 came; the state is saved.
        UserError: the loss, a gradient or a weight is not finite, the last good state is kept; or a state
            is there that only the code has changed under.
    """
    run = _Run(network, objective, data, recipe, running, folder, identity, noise, card, validator, result)
    with run.alone(), noted() as stop:
        return run.to_the_end(stop)


class _Run:
    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        data: Images,
        recipe: Recipe,
        running: Runtime,
        folder: Path,
        identity: Mapping[str, Any],
        noise: type[ItemNoise] | type[BlockNoise],
        card: Mapping[str, Any],
        validator: Validator | None,
        result: nn.Module | None,
    ) -> None:
        if len(data) == 0:
            raise UserError("no training images", folder, "prepare a dataset that is not empty")
        self.objective, self.data, self.recipe, self.running = objective, data, recipe, running
        self.folder, self.identity, self.noise = folder, dict(identity), noise
        self.accelerator = accelerator(running.device, running.precision)
        self.network = network.train()
        prepare(self.network, self.accelerator.device, running.channels_last, running.compile)
        adamw = AdamW(self.network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.optimizer = self.accelerator.prepare_optimizer(adamw)
        self.result = self.network if result is None else result
        self.averages = {decay: EMA(self.result, decay) for decay in recipe.decays}
        self.checkpoints = Checkpoints.of(folder, identity, card)
        self.validations = None if validator is None else Validations(validator, self.checkpoints)
        self.step = 0
        self.saved_step: int | None = None
        self.log = Log(recipe)
        self.history: list[provenance.Facts] = []
        # every process takes an equal run of places of the global batch
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        self.places = range(recipe.batch_size * rank // world, recipe.batch_size * (rank + 1) // world)
        if recipe.batch_size < world:
            raise UserError(
                f"{recipe.batch_size} images per step for {world} processes",
                "train.batch_size",
                "start fewer processes",
            )
        self.microbatch = min(running.microbatch or len(self.places), len(self.places))

    def alone(self) -> AbstractContextManager[object]:
        """One training at a time in a folder: an orphan of a killed workflow is waited for."""
        if not self.accelerator.is_main_process:
            return nullcontext()
        return artifacts.exclusive(self.folder / ".lock", wait=True)

    # the loop

    def to_the_end(self, stop: Callable[[], bool]) -> dict[str, Tensor]:
        self._resume()
        self._begin_session()
        self._validate()  # what a signal left to this call
        with self._tracked() as trackers:
            self._steps(stop, trackers)
        self._write_log()  # also where a crash came between the state and the log
        return {k: v.cpu() for k, v in self.average.items()}

    @property
    def average(self) -> dict[str, Tensor]:
        """The averaged weights that are the result."""
        return self.averages[self.recipe.decays[0]].weights

    def _steps(self, stop: Callable[[], bool], trackers: Trackers | None) -> None:
        for _ in self._progress():
            self._step()
            stopped = reduction.any_of(self.accelerator, stop())  # all after the same step, or none does
            if stopped or self._is_saved(self.step):
                self._save()
            if not stopped:
                self._validate()
            if trackers is not None and not self._is_to_validate():
                self._tell(trackers, self.step)
            if stopped:
                self.accelerator.wait_for_everyone()  # launchers end the others when one process ends
                raise Interrupted(f"stopped after step {self.step}: run the same command to go on")

    def _is_saved(self, step: int) -> bool:
        recipe, every = self.recipe, self.running.save_every
        # before a validation, which may take long
        return step % every == 0 or step == recipe.steps or recipe.keeps(step) or self._is_to_validate()

    def _is_to_validate(self) -> bool:
        return self.validations is not None and self.validations.is_due(self.step)

    def _validate(self) -> None:
        if self.validations is not None and self._is_to_validate():
            self.validations.make(self.step, self.average)
            found = self.validations.rows[self.step].items()
            self._say(f"validation after step {self.step}: " + ", ".join(f"{k} {v:.5g}" for k, v in found))

    def _step(self) -> None:
        recipe, network, objective = self.recipe, self.network, self.objective

        # Loss and gradient of the global batch, accumulated over this process's pieces of it.
        loss = self._until_it_fits(self._accumulate)
        loss = reduction.sum_loss_and_gradients(self.accelerator, network, loss)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss} at step {self.step + 1}")

        # Learning rate.
        for group in self.optimizer.param_groups:
            group["lr"] = lr_at(recipe, self.step)

        # Clip the gradient; in fp16 its norm is NaN in a step that is left out while the scale is found.
        self.accelerator.unscale_gradients(self.optimizer)
        norm = gradient_norm(network, recipe.grad_clip)
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise self._diverged(f"the norm of the gradient is {norm} at step {self.step + 1}")

        # Update the weights, what the objective learns, and the average.
        self.optimizer.step()
        self.optimizer.zero_grad()
        if isinstance(objective, Learning):
            objective.finish(reduction.gather_rows)
        self.step += 1
        for average in self.averages.values():
            average.update(self.result, self.step)

        # Log.
        self.log.losses.append(loss)
        self.log.norms.append(norm if math.isfinite(norm) else math.nan)

    def _accumulate(self) -> float:
        """This process's share of the mean loss of the global batch, leaving its gradient."""
        if isinstance(self.objective, Learning):
            self.objective.begin()
        total = 0.0
        for start in range(0, len(self.places), self.microbatch):
            places = self.places[start : start + self.microbatch]
            batch = self._batch(places)
            torch.manual_seed(_mix(self.recipe.seed, self.step, places.start))
            with self.accelerator.autocast():
                losses = self.objective(self.network, batch)
            loss = losses.float().sum() / self.recipe.batch_size
            self.accelerator.backward(loss)
            total += float(loss.detach())
        return total

    def _batch(self, places: range) -> Batch:
        """The items at some places of the global batch, whose randomness belongs to their positions."""
        seed, first = self.recipe.seed, self.step * self.recipe.batch_size
        positions = [first + place for place in places]
        items = [order(seed, len(self.data), position) for position in positions]
        device = self.accelerator.device
        view = draw(seed, positions, device, **self.recipe.views)
        images = view(self.data.batch(items).to(device, non_blocking=True))
        return Batch(images, items, self.noise(seed, "train", positions, device), view, self.step)

    def _until_it_fits(self, accumulate: Callable[[], float]) -> float:
        """The result of ``accumulate``; short of memory, it begins again with pieces of half the size."""
        while True:
            try:
                return accumulate()
            except Exception as e:
                if not is_out_of_memory(e):
                    raise
                if self.microbatch == 1:
                    raise UserError(
                        "out of memory with one image at a time",
                        self.folder,
                        "use a smaller network or image size",
                    ) from None
                self.microbatch //= 2
                self.optimizer.zero_grad()
                torch.cuda.empty_cache()
                self._say(f"out of memory: going on with pieces of {self.microbatch} images")

    def _diverged(self, what: str) -> UserError:
        step = self.saved_step
        last_state = "no state was saved yet" if step is None else f"the state of step {step} is kept"
        return UserError(what, self.folder, f"lower train.lr or set train.grad_clip; {last_state}")

    # the state between calls

    def _save(self) -> None:
        state = self._state()
        if (name := state.not_finite()) is not None:
            raise self._diverged(f"{name} is not finite after step {self.step}")
        if self.accelerator.is_main_process:
            if self.recipe.keeps(self.step):  # before the state, from which nothing would make it again
                self._keep_averages()
            training_state.save(self.folder / training_state.FILE, state, self.identity)
            self._write_log()
        self.saved_step = self.step

    def _keep_averages(self) -> None:
        for decay, average in self.averages.items():
            if (name := checkpoint_name(self.step, decay, self.recipe)) is not None:
                self.checkpoints.save(name, self.step, average.weights)

    def _state(self) -> State:
        return State(
            self.step,
            torch.tensor(self.log.losses, dtype=torch.float64),
            torch.tensor(self.log.norms, dtype=torch.float64),
            self.network.state_dict(),
            self.average,
            self.optimizer.state_dict()["state"],
            self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
            self.objective.state_dict() if isinstance(self.objective, Learning) else {},
            self.history,
            {repr(d): self.averages[d].weights for d in self.recipe.decays[1:]},
        )

    def _write_log(self) -> None:
        if self.accelerator.is_main_process:
            self.log.write(self.folder / "train.csv")

    @contextmanager
    def _tracked(self) -> Iterator[Trackers | None]:
        """The trackers that were asked for; nothing of theirs is imported where none was."""
        if not self.running.track or not self.accelerator.is_main_process or self.step == self.recipe.steps:
            yield None
            return
        from bridgepipe.training.trackers import Run, Trackers

        name = self.folder.absolute().parent.as_posix().rpartition("/results/")[2]
        settings = self.checkpoints.card.get("config", self.recipe.as_json())
        training, folder = self.checkpoints.folder.name, self.folder / "trackers"
        run = Run(name, folder, training, settings, self.step)
        trackers = Trackers.of(self.running.track, run, self._say)
        for step in range(1, self.step + 1):
            self._tell(trackers, step)
        try:
            yield trackers
        finally:
            trackers.finish()

    def _tell(self, trackers: Trackers, step: int) -> None:
        """What trackers receive of a step: its row of the log, and what its validation found."""
        row: Row = self.log.row(step) if self.log.has(step) else {"step": step}
        if self.validations is not None:
            row |= {f"validation_{name}": v for name, v in self.validations.rows.get(step, {}).items()}
            if (picture := self.validations.picture(step)) is not None:
                trackers.picture("validation", picture, step)
        trackers.log(row)

    def _resume(self) -> None:
        # one process sets a foreign state aside, all then see the same
        with self.accelerator.main_process_first():
            state = training_state.resume(self.folder, self.identity, self.recipe.steps, self._say)
        if len(set(all_gather(None if state is None else state.step))) > 1:
            raise UserError(
                "the processes see different states",
                self.folder,
                "put the folder where all machines share it",
            )
        if state is not None:
            self._take_up(state)
        if self.validations is not None:
            self.validations.begin(self.step)

    def _take_up(self, state: State) -> None:
        self.network.load_state_dict(state.network)
        for decay, average in self.averages.items():
            average.load(state.others.get(repr(decay), state.ema), self.accelerator.device)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state.optimizer})
        if state.scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        if isinstance(self.objective, Learning):
            self.objective.load_state_dict(state.objective)
        self.step = self.saved_step = state.step
        self.log = Log(self.recipe, state.losses.tolist(), state.norms.tolist())
        self.history = state.history
        self._say(f"resumed after step {self.step} of {self.recipe.steps}")

    def _begin_session(self) -> None:
        """Note how the steps from here on are computed, where that differs from the steps before."""
        speed = self.running
        now = provenance.facts(
            device=str(self.accelerator.device),
            precision=speed.precision,
            microbatch=self.microbatch,
            channels_last=speed.channels_last,
            compile=speed.compile,
        )
        before = self.history[-1] if self.history else {}
        if self.step < self.recipe.steps and {**before, **now} != before:
            self.history.append({"from": self.step, **now})

    # what a person sees

    def _progress(self) -> Iterator[int]:
        """Steps that are left, shown while they are made."""
        main = self.accelerator.is_main_process
        with Progress(self.recipe.steps, self.step, "training", "step", main) as shown:
            while self.step < self.recipe.steps:
                yield self.step
                shown.after(1, f"loss {self.log.losses[-1]:.5g}")

    def _say(self, line: str) -> None:
        if self.accelerator.is_main_process:
            print(line, file=sys.stderr, flush=True)


def gradient_norm(network: nn.Module, clip: float | None) -> float:
    """Norm of the gradient before it is clipped to ``clip``."""
    parameters = list(network.parameters())
    if clip is not None:
        return float(clip_grad_norm_(parameters, clip))
    return float(get_total_norm([p.grad for p in parameters if p.grad is not None]))


def _mix(seed: int, step: int, place: int) -> int:
    return int(generator(seed, f"dropout-{place}", step).integers(2**62))
