"""I2SB: restoration by a Schrödinger bridge from corrupted to clean images (Liu et al. 2023).

Algorithm 1 (training) is `objective`, algorithm 2 (generation) is `Restorer`. The whole system stands in this
file, which is why it is longer than others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bridgepipe import corruptions, samplers
from bridgepipe.config.i2sb import Emphasis, Restoration, Sample, distilled_sampling
from bridgepipe.config.runtime import Runtime
from bridgepipe.corruptions.inpaint import fill_hole
from bridgepipe.corruptions.linear import Linear
from bridgepipe.data.pixels import from_levels, to_levels, to_uint8
from bridgepipe.errors import UserError
from bridgepipe.methods import tiles
from bridgepipe.methods.restraint import ROWS, keep_mean, restrain
from bridgepipe.names import degradations
from bridgepipe.networks.adm import UNet
from bridgepipe.networks.residual import ResidualUNet
from bridgepipe.processes.bridge import Bridge, restoration_loss
from bridgepipe.runtime.rng import FieldNoise, ItemNoise, Noise, Normal, item_of, repeat_seed
from bridgepipe.runtime.running import RUNTIME, Inference
from bridgepipe.samplers.denoiser import BridgeDenoiser
from bridgepipe.training.objective import Batch, Images, Objective

CHANNELS = 3
# Photographs, in pixels.
TILE = 1024  # side of a tile
WHOLE = 2**19  # of the largest image that a network with attention or group normalisation sees as a whole
PART = 512  # side of a tile of a larger one
OVERLAP = 192  # that a tile sees beyond its part, at most; several calls of a network see further, but weakly
BLEND = 16  # over which a tile fades into the next


@dataclass(frozen=True)
class Problem:
    """The degradation, and the bridge between degraded and clean images.

    Args:
        image_size: height and width in pixels.
        settings: corruption and bridge. ``variant`` is of the corruption, of known pixels, and of the way
            from pixels to whole numbers (`pixels.to_uint8`).
    """

    image_size: tuple[int, int]
    settings: Restoration

    @cached_property
    def process(self) -> Bridge:
        how = self.settings
        return Bridge(how.interval, how.beta_max, how.ot_ode, t0=how.t0, T=how.T)

    @cached_property
    def corrupt(self) -> Callable[..., corruptions.Corrupted]:
        how = self.settings
        file = None if how.mask_file is None else Path(how.mask_file)
        return corruptions.build(how.corruption, self.image_size, how.variant, mask_file=file)

    @property
    def is_of_codec(self) -> bool:
        """Whether the degradation is compression and nothing else."""
        return degradations.kinds(self.settings.corruption) <= {"jpeg", "jpeg-file", "webp-file"}

    def ends(
        self, x0: Tensor, rng: Noise, items: Sequence[int] | None = None, source: Tensor | None = None
    ) -> Ends:
        """The corrupted end of the bridge; holes are filled with noise.

        Args:
            x0: clean images [B,C,H,W] in [-1, 1].
            rng: randomness of the corruption, one stream per image.
            items: index of every image where its mask is fixed by it (validation).
            source: the other half of every pair, when the problem is paired.
        """
        if source is not None:
            corrupted = corruptions.Corrupted(source, None)
        else:
            corrupted = self.corrupt(x0, rng, items)
        x1, mask = corrupted.image, corrupted.mask
        if mask is not None:
            x1 = fill_hole(x1, mask, rng.normal(x0.shape[1:]))
        cond = x1 if self.settings.cond_x1 else None
        if self.settings.add_x1_noise:
            x1 = x1 + rng.normal(x0.shape[1:])
        return Ends(x1, corrupted.image, mask, cond, corrupted.linear)


@dataclass(frozen=True)
class Ends:
    """Where the bridge starts (x1), what a person sees of it (corrupted), the hole, the condition, and the
    operator that made the one from the clean images; None where none is known."""

    x1: Tensor
    corrupted: Tensor
    mask: Tensor | None
    cond: Tensor | None
    linear: Linear | None = None

    def agreeing(self, x0: Tensor) -> Tensor:
        """A prediction projected onto the observed data.

        Raises:
            UserError: no operator is known.
        """
        if self.linear is None:
            mend = "leave it out, or restore what a known operator has degraded"
            raise UserError("no operator to agree with", "sample.consistent", mend)
        return self.linear.agreeing(x0.float(), self.corrupted)

    def noised(self, noise: Tensor) -> Ends:
        """These, with noise beside the state: what a student makes the detail of that x1 lacks."""
        return replace(self, cond=noise if self.cond is None else torch.cat([self.cond, noise], dim=1))

    def unless(self, clean: Tensor, x0: Tensor) -> Ends:
        """These, but for images that are clean, bool [B]: those start as they should end."""
        chosen = clean.view(-1, 1, 1, 1)
        x1, corrupted = torch.where(chosen, x0, self.x1), torch.where(chosen, x0, self.corrupted)
        return replace(self, x1=x1, corrupted=corrupted, cond=None if self.cond is None else x1)


def network(
    image_size: tuple[int, int],
    cond_x1: bool,
    seed: int,
    kind: str = "adm",
    noise: bool = False,
    **arguments: Any,
) -> UNet | ResidualUNet:
    """A freshly initialised network that predicts (x_n - x0) / std_fwd.

    Args:
        image_size: height and width in pixels.
        cond_x1: whether it takes the corrupted image beside the state: twice the channels.
        seed: seed of the initial weights.
        kind: ``adm`` or ``residual``.
        noise: whether it takes noise beside the state, as a student does.
        arguments: arguments of `UNet` or of `ResidualUNet`.
    """
    torch.manual_seed(seed)
    in_channels = CHANNELS * (1 + cond_x1 + noise)
    if kind == "residual":
        return ResidualUNet(in_channels, CHANNELS, **arguments)
    return UNet(max(image_size), in_channels, out_channels=CHANNELS, **arguments)


PUBLISHED_EMPHASIS = Emphasis()


def objective(
    problem: Problem, sources: Images | None = None, emphasis: Emphasis = PUBLISHED_EMPHASIS
) -> Objective:
    """Loss of a batch: squared error of the predicted direction at a random step of the bridge.

    Args:
        problem: corruption and bridge.
        sources: the corrupted half of every pair, when the problem is paired.
        emphasis: weights of images and steps.
    """
    process, interval = problem.process, problem.settings.interval

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        x0 = batch.images
        ends = problem.ends(x0, batch.rng, source=None if sources is None else batch.of(sources))
        if emphasis.clean:
            ends = ends.unless(batch.rng.uniform() < emphasis.clean, x0)
        n = batch.rng.integers(interval)
        if emphasis.at_end:
            n = torch.where(batch.rng.uniform() < emphasis.at_end, interval - 1, n)
        x_n = process.perturb(x0, ends.x1, n, batch.rng.normal(x0.shape[1:]))
        output = network(beside(x_n, ends.cond), process.network_time(n).to(x0.device))
        return restoration_loss(output, process.target(x0, x_n, n), ends.mask)

    return loss


@dataclass(frozen=True)
class Restored:
    """A batch of results as uint8.

    Attributes:
        image: restored [b,H,W,C].
        corrupted: the degraded images for display [b,H,W,C].
        states, predictions: states of the bridge and predictions of x0 [b,log,H,W,C], entry 0 is the end.
        steps: index n of every logged state.
    """

    image: np.ndarray
    corrupted: np.ndarray
    states: np.ndarray
    predictions: np.ndarray
    steps: tuple[int, ...]


class Restorer(Inference):
    """A trained network on a device: algorithm 2.

    Args:
        network: predicts (x_n - x0) / std_fwd.
        problem: corruption and bridge.
        digest: SHA-256 of the network's weights.
        repeat: seed of its training, of which the sampler's noise is another draw (`rng.repeat_seed`).
        runtime: device, precision and batch size, see `Inference`.
        calls: network calls that a distilled network makes; None: any number.
    """

    def __init__(
        self,
        network: UNet | ResidualUNet,
        problem: Problem,
        digest: str,
        repeat: int = 0,
        runtime: Runtime = RUNTIME,
        calls: int | None = None,
    ) -> None:
        super().__init__(network, runtime)
        self._calls = calls
        self.problem, self.digest, self._repeat, self._factor = problem, digest, repeat, network.factor

    def restore(
        self, images: Images, items: Sequence[int], how: Sample, sources: Images | None = None
    ) -> Restored:
        """Corrupt a batch of clean images and restore them.

        Args:
            images: clean images.
            items: those of the batch; the randomness of each depends on its index and the seed only.
            how: sampler, calls and seed.
            sources: the corrupted half of every pair, when the problem is paired.
        """
        x0 = images.batch(items).to(self.device)
        source = None if sources is None else sources.batch(items).to(self.device)
        ends = self.problem.ends(x0, ItemNoise(how.seed, "corruption", items, self.device), items, source)
        return _as_pixels(self._sample(ends, items, how), ends, self.problem.settings.variant)

    def check_calls(self, how: Sample) -> None:
        """Refuse calls that the network was not distilled for.

        Raises:
            UserError: with those that it makes.
        """
        if self._calls is not None and how != how.model_copy(update=distilled_sampling(self._calls)):
            what = f"a network that was distilled for nfe {self._calls}, not for nfe {how.nfe} as asked"
            mend = f"take nfe {self._calls} with sampler ancestral and spacing uniform"
            raise UserError(what, "sample", mend)

    def restore_photo(self, pixels: np.ndarray, how: Sample) -> np.ndarray:
        """Restore one image [H,W,C] that is already corrupted, see `restore_photos`."""
        return self.restore_photos(pixels[None], how)[0]

    def restore_photos(
        self,
        pixels: np.ndarray,
        how: Sample,
        strength: float | None = None,
        tile: int = TILE,
        report: Callable[[float], None] = lambda _: None,
    ) -> np.ndarray:
        """Restore images [B,H,W,C] of one size, uint8 or uint16, that are already corrupted.

        Their noise belongs to what they show: the same pixels and seed give the same image, others other
        noise. Pixels are rounded: only published numbers need truncated ones.

        Args:
            strength: weight of the result in the blend with the input, 0 to 1. None: 1, but restorers of
                compressed pictures change less, and clean ones hardly, see `restraint`.
            tile: side of the pieces in which a larger image is restored, in pixels. A network that sees the
                whole image, by attention or normalisation, gets tiles only of one above `WHOLE`.
            report: callback, given the share of the work that each network call did.
        """
        items = [item_of(image) for image in pixels]
        height, width = pixels.shape[1:3]
        # the network halves the size several times: edges are repeated up to the next size that allows it
        size = tiles.up_to(height, self._factor), tiles.up_to(width, self._factor)

        def changed(window: tiles.Window) -> Tensor:
            x1 = from_levels(tiles.cut(pixels, window)).to(self.device)
            found = self._photos(x1, items, how, window, lambda: report(share))
            return found.clamp(-1, 1) - x1

        tiling = self._tiling(size, how, tile)
        share = 1 / (tiling.count(size) * how.nfe)
        # half the memory, and of a change of 30 levels a hundredth of a level is lost
        changes = torch.empty(len(pixels), CHANNELS, height, width, dtype=torch.float16)
        for top, strip in tiles.blended(changed, size, tiling):
            rows = strip[..., : max(height - top, 0), :width]
            changes[..., top : top + strip.shape[-2], :] = rows
        if self.problem.is_of_codec:
            keep_mean(changes)
            if strength is None:
                restrain(changes)
        return _changed(pixels, changes, 1.0 if strength is None else strength)

    @cached_property
    def reach(self) -> int | None:
        """Receptive field of a network call in pixels beyond its own; None: the whole image."""
        channels = CHANNELS * (1 + self.problem.settings.cond_x1 + (self._calls is not None))
        with self.autocast():
            return tiles.reach(self.network, channels, self._factor)

    def is_cut(self, height: int, width: int) -> bool:
        """Whether the network sees a picture in parts although it is one that sees the whole image."""
        return height * width > WHOLE and self.reach is None

    def _tiling(self, size: tuple[int, int], how: Sample, tile: int) -> tiles.Tiling:
        align = tiles.alignment(self._factor)
        side = tiles.up_to(tile if self.reach is not None else min(tile, PART), align)
        fits = size[0] * size[1] <= (WHOLE if self.reach is None else side**2)
        margin = OVERLAP if self.reach is None else max(self.reach, min(self.reach * how.nfe, OVERLAP))
        return tiles.Tiling(max(*size, align) if fits else side, margin + BLEND // 2, BLEND, align)

    def _photos(
        self,
        x1: Tensor,
        items: Sequence[int],
        how: Sample,
        window: tiles.Window,
        called: Callable[[], None],
    ) -> Tensor:
        """What a window of images that are already corrupted becomes."""
        cond = x1 if self.problem.settings.cond_x1 else None

        def noise(seed: int, purpose: str) -> FieldNoise:
            return FieldNoise(seed, purpose, items, x1.device, window.top, window.left)

        start = x1
        if self.problem.settings.add_x1_noise:
            start = x1 + noise(how.seed, "corruption").normal(x1.shape[1:])
        drawn = noise(repeat_seed(how.seed, self._repeat), "sampling")
        return self._path(Ends(start, x1, None, cond), drawn, how, log_count=1, called=called).x0

    def _sample(self, ends: Ends, items: Sequence[int], how: Sample) -> samplers.Path:
        noise = ItemNoise(repeat_seed(how.seed, self._repeat), "sampling", items, ends.x1.device)
        return self._path(ends, noise, how)

    @torch.no_grad()
    def _path(
        self,
        ends: Ends,
        noise: Normal,
        how: Sample,
        log_count: int = 10,
        called: Callable[[], None] = lambda: None,
    ) -> samplers.Path:
        self.check_calls(how)
        if self._calls is not None:
            ends = ends.noised(noise.normal(ends.x1.shape[1:]))
        steps = samplers.bridge_steps(self.problem.process, how.nfe, how.spacing)

        def network(x: Tensor, t: Tensor) -> Tensor:
            output = self.call(x, t)
            called()
            return output

        agree = ends.agreeing if how.consistent else None
        denoiser = BridgeDenoiser(network, self.problem.process, how.clip, ends.cond, agree)
        loop: dict[str, Any] = {"mask": ends.mask, "log_count": log_count}
        with self.autocast():
            if how.sampler == "implicit":
                loop |= {"eta": how.eta, "order": how.order, "solver": how.solver}
                return samplers.implicit_bridge(denoiser, ends.x1, steps, noise, **loop)
            loop["variant"] = self.problem.settings.variant
            return samplers.bridge(denoiser, ends.x1, steps, noise, **loop)


def _as_pixels(path: samplers.Path, ends: Ends, variant: Literal["published", "exact"]) -> Restored:
    states, predictions = (
        np.stack([to_uint8(one, variant) for one in x.unbind(1)], axis=1) for x in (path.xs, path.x0s)
    )
    image, corrupted = to_uint8(path.x0, variant), to_uint8(ends.corrupted, variant)
    return Restored(image, corrupted, states, predictions, path.steps)


def _changed(pixels: np.ndarray, changes: Tensor, strength: float) -> np.ndarray:
    """Images [B,H,W,C] with changes [B,C,H,W] of them, a few rows at a time."""
    result = np.empty_like(pixels)
    for top in range(0, pixels.shape[1], ROWS):
        rows = slice(top, top + ROWS)
        x = from_levels(pixels[:, rows]) + strength * changes[..., rows, :].float()
        result[:, rows] = to_levels(x, pixels.dtype)
    return result


def beside(x: Tensor, cond: Tensor | None) -> Tensor:
    return x if cond is None else torch.cat([x, cond], dim=1)
