"""What restoration starts from: a clean image x0 becomes a degraded one of the same shape.

`build` makes a corruption from its name. ``published`` reproduces I2SB's
operators, accidents included; ``exact`` is what the name says. The classes of
this package state each difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from bridgepipe.corruptions import blur, inpaint, noise, optics
from bridgepipe.corruptions.codec import FileCodec
from bridgepipe.corruptions.colour import Grey
from bridgepipe.corruptions.draws import Chain, Operator, Range
from bridgepipe.corruptions.jpeg import Jpeg
from bridgepipe.corruptions.linear import Linear
from bridgepipe.corruptions.resampling import Downscale
from bridgepipe.corruptions.scratches import Scratches
from bridgepipe.corruptions.superresolution import SuperResolution
from bridgepipe.errors import UserError
from bridgepipe.names.degradations import FAMILIES, MIXTURE, NAMES, PAIRED, parse
from bridgepipe.names.family import Degradation
from bridgepipe.runtime.rng import Noise, as_noise

Variant = Literal["published", "exact"]
Size = tuple[int, int]

__all__ = ["KERNELS", "MIXTURE", "NAMES", "Corrupted", "Corruption", "Variant", "build", "unused_modules"]
KERNELS = {"blur-uni": blur.uniform_kernel, "blur-gauss": blur.gaussian_kernel}


@dataclass(frozen=True)
class Corrupted:
    """Degraded images.

    Attributes:
        image: float32 [B,C,H,W] as a person sees them; holes are white (+1). May leave
            [-1, 1] where the published operator does.
        mask: float32 [B,1,H,W], 1 = hole; None where the restorer does not know of a hole.
        linear: the operator that made these images from the clean ones; None where none is linear.
    """

    image: Tensor
    mask: Tensor | None
    linear: Linear | None = None


@dataclass(frozen=True)
class Corruption:
    """A degradation of images of one size; made by `build`."""

    name: str
    size: Size
    degrade: Callable[[Tensor, Noise | None, Sequence[int] | None], Corrupted]

    def __call__(
        self, x0: Tensor, rng: Noise | Sequence[Tensor] | None = None, items: Sequence[int] | None = None
    ) -> Corrupted:
        """Degrade a batch; each image's result depends on itself and its own randomness only.

        Args:
            x0: clean images [B,C,H,W] in [-1, 1], on any device.
            rng: one stream per image; needed by ``inpaint-freeform*`` and ``mixture``.
            items: index of every image in its split. With it the choice of mask (and in a
                mixture, of corruption) is fixed as in the published validation: image i has
                mask i. Without it the choice is drawn from ``rng``.

        Raises:
            UserError: the images have another size, or a number of channels that is not admitted.
        """
        if tuple(x0.shape[-2:]) != self.size:
            what = f"images of {x0.shape[-2]} x {x0.shape[-1]} pixels"
            mend = f"the corruption is set up for {self.size[0]} x {self.size[1]}; make both the same"
            raise UserError(what, self.name, mend)
        # Half precision around the training step must not reach pixels, tables and rounding here.
        with torch.autocast(x0.device.type, enabled=False):
            return self.degrade(x0.float(), None if rng is None else as_noise(rng), items)


def build(
    name: str,
    image_size: int | Size,
    variant: Variant = "published",
    *,
    mask_file: Path | None = None,
    mask_size: Size = (256, 256),
    mask_seed: int = 0,
) -> Corruption:
    """The corruption called ``name`` for images of one size.

    Args:
        name: a name that `bridgepipe.names.degradations.FAMILIES` lists.
        image_size: side, or height and width.
        variant: ``published`` or ``exact``, of what I2SB published, but for inpainting, which is the same
            in both (for a mixture see `_Mixture`).
        mask_file: Palette's freeform masks; None draws masks with a brush.
        mask_size: height and width of the masks in ``mask_file``.
        mask_seed: seed of the drawn masks.

    Raises:
        UserError: an unknown name or variant, a size that the operator does not admit, or a mask
            file whose masks have another size than the images.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    if variant not in get_args(Variant):
        raise UserError(f"unknown variant {variant!r}", name, "choose published or exact")
    parts, shuffled = _named(name)
    if len(parts) > 1:
        operators = [_drawing(part.name, part) for part in parts]
        return Corruption(name, size, _Drawn(Chain([o for o in operators if o is not None], shuffled)))
    if name == "mixture":
        members = [
            build(part, size, variant, mask_file=mask_file, mask_size=mask_size, mask_seed=mask_seed)
            for part in MIXTURE
        ]
        return Corruption(name, size, _Mixture(members, variant))
    if name.startswith("inpaint-"):
        return Corruption(name, size, _Hole(_masks(name, size, mask_file, mask_size, mask_seed)))
    if (drawing := _drawing(name, parts[0])) is not None:
        return Corruption(name, size, _Drawn(drawing))
    return Corruption(name, size, _Everywhere(_operator(name, parts[0], size, variant)))


def unused_modules(name: str) -> tuple[str, ...]:
    """Modules of this package that the corruption called ``name`` computes nothing with."""
    parts = () if name == PAIRED else parse(name)[0]
    used = {module for part in parts for module in part.family.modules}
    modules = {module for family in FAMILIES for module in family.modules}
    return tuple(f"{__name__}.{module}" for module in sorted(modules - used))


def _named(name: str) -> tuple[Sequence[Degradation], bool]:
    try:
        return parse(name)
    except ValueError as e:
        raise UserError(f"unknown corruption {name!r}", "corruption", str(e)) from e


def _operator(
    name: str, degradation: Degradation, size: Size, variant: Variant
) -> Callable[[Tensor], Tensor]:
    """What does the same to every image."""
    if degradation.family.start == "jpeg":
        return Jpeg(int(degradation.low), size, variant)
    if name == "sr4x-pool":
        return SuperResolution("pool", size, variant)
    if name == "sr4x-bicubic":
        return SuperResolution("bicubic", size, variant)
    operator = blur.PublishedBlur if variant == "published" else blur.ExactBlur
    return operator(KERNELS[name](), size)


def _drawing(name: str, degradation: Degradation) -> Operator | None:
    """What every image may draw numbers for; None: not that kind."""
    numbers, options = Range(degradation.low, degradation.high), degradation.options
    match degradation.family.start:
        case "jpeg-file":
            return FileCodec(name, "JPEG", numbers, "444" in options, "twice" in options, "log" in options)
        case "webp-file":
            return FileCodec(name, "WEBP", numbers)
        case "noise":
            return noise.Gaussian(numbers)
        case "poisson":
            return noise.Poisson(numbers)
        case "downscale":
            return Downscale(numbers, options[0])
        case "motion":
            return optics.Motion(numbers)
        case "defocus":
            return optics.Defocus(numbers)
        case "scratches":
            return Scratches(numbers)
        case "grey":
            return Grey()
    return None


def _masks(name: str, size: Size, file: Path | None, file_size: Size, seed: int) -> inpaint.Masks:
    kind = name.removeprefix("inpaint-")
    if kind == "center":
        return inpaint.CentreMask(size)
    if file is None:
        return inpaint.BrushMasks(size, *inpaint.RATIOS[kind], seed)
    if tuple(file_size) != size:
        what = f"masks of {file_size[0]} x {file_size[1]} for images of {size[0]} x {size[1]}"
        raise UserError(what, file, "leave the mask file out to draw masks of the images' size")
    return inpaint.MaskFile(file, kind, size)


@dataclass(frozen=True)
class _Everywhere:
    """The same operator for every image, nothing random, no hole."""

    operator: Callable[[Tensor], Tensor]

    def __call__(self, x0: Tensor, rng: Noise | None, items: Sequence[int] | None) -> Corrupted:
        return Corrupted(self.operator(x0), None, getattr(self.operator, "linear", None))


@dataclass(frozen=True)
class _Drawn:
    """Numbers of every image, drawn and applied; the restorer knows of no hole except scratches."""

    operator: Operator

    def __call__(self, x0: Tensor, rng: Noise | None, items: Sequence[int] | None) -> Corrupted:
        draws = self.operator.draw(x0.shape, rng)
        if isinstance(self.operator, Scratches):
            return _holed(x0, self.operator.mask(x0.shape, *draws).to(x0.device))
        return Corrupted(self.operator.apply(x0, *draws), None, self.operator.linear(x0.shape, *draws))


@dataclass(frozen=True)
class _Hole:
    """White holes. Draws one integer per image unless ``items`` or a single mask settle the choice."""

    masks: inpaint.Masks

    def __call__(self, x0: Tensor, rng: Noise | None, items: Sequence[int] | None) -> Corrupted:
        chosen = inpaint.numbers(len(self.masks), len(x0), rng, items)
        return _holed(x0, self.masks.take(chosen).to(x0.device))


def _holed(x0: Tensor, mask: Tensor) -> Corrupted:
    def seen(x: Tensor) -> Tensor:
        return x * (1 - mask)

    return Corrupted(inpaint.whiten_hole(x0, mask), mask, Linear(seen, seen))


@dataclass(frozen=True)
class _Mixture:
    """One corruption of ``parts`` per image; the restorer does not know which, nor where a hole is.

    Holes are filled with noise and no mask is returned. With ``items``, image i
    gets corruption i mod 9 and a mask: as published number i mod 9 again, so that
    validation knows one mask of each kind; with ``exact`` number i.

    Draws, for every image: the corruption and the mask (both only without
    ``items``), then the noise, whether or not the image has a hole.
    """

    parts: Sequence[Corruption]
    variant: Variant

    def __call__(self, x0: Tensor, rng: Noise | None, items: Sequence[int] | None) -> Corrupted:
        if rng is None:
            raise ValueError("a mixture needs rng")
        kinds, masks = self._choose(rng, items)
        noise = rng.normal(x0.shape[1:]).to(x0.device)
        image = torch.empty_like(x0)
        for kind in set(kinds):
            mine = [i for i, k in enumerate(kinds) if k == kind]
            part = self.parts[kind](x0[mine], items=[masks[i] for i in mine])
            hole = part.mask
            image[mine] = part.image if hole is None else inpaint.fill_hole(part.image, hole, noise[mine])
        return Corrupted(image, None)

    def _choose(self, rng: Noise, items: Sequence[int] | None) -> tuple[list[int], Sequence[int]]:
        count = len(self.parts)
        if items is None:
            return rng.integers(count).tolist(), rng.integers(inpaint.GENERATED_MASKS).tolist()
        kinds = [item % count for item in items]
        return kinds, kinds if self.variant == "published" else items
