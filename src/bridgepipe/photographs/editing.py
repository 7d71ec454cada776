"""A photograph edited along boundaries of attributes, and boundaries of others taken in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from torch import Tensor

from bridgepipe import artifacts
from bridgepipe.config.boundary import BoundaryEdit, BoundaryLatents
from bridgepipe.config.boundary_settings import Edit, Inversion
from bridgepipe.config.errors import validated
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import read_stage
from bridgepipe.config.yaml_reader import Places
from bridgepipe.data.pixels import to_uint8
from bridgepipe.datasets import images
from bridgepipe.errors import UserError
from bridgepipe.finite import naming, number
from bridgepipe.methods import boundary as boundaries
from bridgepipe.methods import boundary_edit
from bridgepipe.methods import boundary_latents as bl
from bridgepipe.methods.boundary import About, Boundaries, digests, load, load_both
from bridgepipe.methods.boundary_edit import DRAW, PUBLISHED, Move
from bridgepipe.methods.boundary_files import fetched, read_boundary, write_boundary
from bridgepipe.methods.gaussian import Model
from bridgepipe.methods.trained import Trained, open_model
from bridgepipe.names import Json
from bridgepipe.networks.hspace import HSpace
from bridgepipe.photographs import places as where
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable
from bridgepipe.runtime.rng import item_of

if TYPE_CHECKING:
    from bridgepipe.processes.gaussian import Gaussian

Settings = TypeVar("Settings", Edit, Inversion)


def _changed(how: Settings, changes: Mapping[str, object]) -> Settings:
    """Settings of a boundary's experiment, and what a person asks for in their place.

    Args:
        changes: fields and values; those that these settings have not are left out.

    Raises:
        UserError: an impossible value.
    """
    given = {key: value for key, value in changes.items() if key in type(how).model_fields}
    return validated(type(how), {**how.as_json(), **given}, Places.of(given, "edit")) if given else how


def _step(asked: int | None, own: int, process: Gaussian) -> int:
    """The step that an image is inverted to: the boundary's own where none is asked for.

    Raises:
        UserError: the process has no such step.
    """
    if asked is not None and not 1 <= asked < process.T:
        raise UserError(f"--t is {asked}", "edit", f"choose a step from 1 to {process.T - 1}")
    return own if asked is None else asked


def edit(
    photo: Path,
    boundary: list[Path],
    output: Path,
    along: list[float],
    at: list[float],
    model: Path | None,
    t: int | None,
    changes: Mapping[str, object],
    speed: Runtime,
    dry_run: bool = False,
) -> None:
    """Draw the strip of an image, edited at every distance along the last boundary, and write its pictures.

    Args:
        along: the distances.
        at: distance along each boundary but the last.
        model: folder of the network; None: the boundary's.
        t: step that the image is inverted to; None: the boundary's.
        changes: fields of `Edit` and `Inversion`, in place of those of the boundary's experiment.
        dry_run: whether the files are only named that would be written.
    """
    fixed = [number(distance, "--at") for distance in at]
    if len(fixed) != len(boundary) - 1:
        what = f"{len(boundary)} boundaries, {len(fixed)} fixed distances"
        raise UserError(what, "edit --at", "give one --at for every boundary but the last")
    where.check({photo: output})
    pictures = _pictures(output, along)
    where.check_new(pictures)
    pixels = images.read_photo(photo)
    editor = Editor.of(boundary, model, speed)
    network = editor.network
    how, inversion = _changed(editor.how, changes), _changed(editor.inversion, changes)
    at_step = _step(t, editor.about.t, network.process)
    if dry_run:
        print(*pictures, output, sep="\n")
        return
    subject = _Subject(photo, pixels, network, how)
    fixed_moves = [Move(pair, d) for pair, d in zip(editor.pairs, fixed, strict=False)]

    def strip(piece: Sequence[int]) -> np.ndarray:
        if piece[0] == 0:
            return subject.decoded(latents, [])
        last = Move(editor.pairs[-1], along[piece[0] - 1])
        return subject.decoded(latents, [*fixed_moves, last])

    identity: Json = {"photo": artifacts.digest_file(photo), "model": network.digest}
    identity |= {"settings": how.as_json(), "inversion": inversion.as_json(), "t": at_step}
    identity |= {"fixed": fixed, "along": along, "boundaries": [digests(folder) for folder in boundary]}
    with resumable(output, identity, speed):
        ((z, h),) = running.shared(lambda _: subject.inverted(at_step, inversion), [0], 1, "inverting")
        latents = bl.Latents(z.to(network.device), h.to(network.device), at_step)
        unmoved, *strips = running.shared(strip, range(len(along) + 1), 1, "editing")
        beside = {"image": to_uint8(subject.x0), "no move": unmoved}
        for place, (image,) in zip(pictures, (*beside.values(), *strips), strict=True):
            images.write_png(place, image, f"edited from {photo.name}")
        where.finish(pictures)
        _draw(output, strips, along, beside, editor.about.attribute)
    print(output)


def _draw(
    output: Path,
    strips: Sequence[np.ndarray],
    along: list[float],
    beside: dict[str, np.ndarray],
    attribute: str,
) -> None:
    from bridgepipe.figures import boundary as figures_boundary  # not for the web page

    figures_boundary.strip_grid(output, np.concatenate(strips)[None], along, beside, attribute)


def _pictures(output: Path, along: Sequence[float]) -> list[Path]:
    """Where the pictures of a strip are written one by one: the image, itself without a move, and its edits.

    Raises:
        UserError: the folder would be the strip itself.
    """
    if not output.suffix:
        raise UserError(f"{output.name} has no suffix", "edit --output", "name a picture, such as strip.png")
    names = ["image", "no-move", *(f"{distance:+.9g}" if distance else "0" for distance in along)]
    return [output.with_suffix("") / f"{name}.png" for name in names]


@dataclass(frozen=True)
class _Subject:
    """A photograph that is edited.

    Attributes:
        photo, pixels: file of the photograph, and its pixels, uint8 ``[H, W, 3]``.
        how: settings under which it is decoded.
    """

    photo: Path
    pixels: np.ndarray
    network: Model
    how: Edit

    @cached_property
    def x0(self) -> Tensor:
        """At the size of the network, float32 ``[1, C, H, W]`` in [-1, 1], on its device."""
        _, height, width = self.network.diffusion.shape
        return bl.photo(self.pixels, (height, width)).to(self.network.device)

    @cached_property
    def _h_space(self) -> HSpace:
        return bl.space_of(self.network, self.how.variant)

    def inverted(self, t: int, inversion: Inversion) -> tuple[Tensor, Tensor]:
        """z and h, on the CPU."""
        with naming(str(self.photo)):
            found = bl.invert(self._h_space, self.network.process, self.x0, t, inversion)
        return found.z.cpu(), found.h.cpu()

    def decoded(self, latents: bl.Latents, moves: list[Move]) -> np.ndarray:
        """uint8 ``[1, H, W, 3]``, with the same noise for all moves and for none."""
        process, how = self.network.process, self.how
        noise = self.network.noise(self.how.seed, DRAW, [item_of(self.pixels)])
        where = f", at distance {float(moves[-1].distance):g}" if moves else ""
        with naming(f"{self.photo}{where}"):
            if moves:
                return to_uint8(boundary_edit.edit(self._h_space, process, latents, moves, how, noise))
            return to_uint8(boundary_edit.control(self._h_space, process, latents, how, noise))


@dataclass(frozen=True)
class Editor:
    """A network and boundaries of it.

    Attributes:
        pairs: the boundaries, in z and in h.
        about: the last of them.
        how, inversion: images are edited, and inverted before.
    """

    network: Model
    pairs: list[Boundaries]
    about: About
    how: Edit
    inversion: Inversion

    @classmethod
    def of(cls, folders: Sequence[Path], model: Path | None, speed: Runtime) -> Editor:
        """Of folders of boundaries, and of a network; None: the first boundary's."""
        trained = _trained_of(folders[0]) if model is None else Trained.within(model)
        network = open_model(trained, speed)
        pairs, about = _boundaries(folders, network)
        return cls(network, pairs, about, *_settings(folders[-1], about))

    def edited(self, name: str, pixels: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
        """An image as the network sees it, and moved along the last boundary, uint8 ``[h, w, 3]`` both."""
        subject = _Subject(Path(name), pixels, self.network, self.how)
        z, h = (x.to(self.network.device) for x in subject.inverted(self.about.t, self.inversion))
        moved = subject.decoded(bl.Latents(z, h, self.about.t), [Move(self.pairs[-1], distance)])
        return to_uint8(subject.x0)[0], moved[0]


def trained(results: Path) -> list[Path]:
    """Folders of the boundaries that a project has trained."""
    return sorted(file.parent for file in results.glob("boundary/*/h.safetensors"))


def _trained_of(folder: Path) -> Trained:
    """The network that a boundary of the workflow was made with: beside it in the results."""
    made_with = read_stage(folder / "config/latents.json", BoundaryLatents)
    return Trained.within(folder.resolve().parents[1] / "model" / made_with.model, made_with)


def _boundaries(folders: Sequence[Path], network: Model) -> tuple[list[Boundaries], About]:
    """The boundaries of all folders, refused when they are not of this network or not of one step."""
    about = load(folders[-1] / "h.safetensors", network.digest)[1]
    return [load_both(folder, network.digest, about.t) for folder in folders], about


def _settings(folder: Path, about: About) -> tuple[Edit, Inversion]:
    """How a boundary's images are edited and inverted: as in its experiment, or as published."""
    if (folder / "config/edit.json").exists():
        inversion = read_stage(folder / "config/latents.json", BoundaryLatents).inversion
        return read_stage(folder / "config/edit.json", BoundaryEdit).edit, inversion
    if about.variant == "published":
        return PUBLISHED, Inversion(variant="published")
    return Edit(), Inversion()


def import_boundary(
    file: Path,
    space: Literal["z", "h"],
    model: Path,
    attribute: str,
    output: Path,
    t: int,
    variant: Literal["published", "exact"],
) -> None:
    """Take in a boundary of others, by its file or by the name of a fetched source. Nothing in it is run."""
    digest = artifacts.load_card(model / "model.safetensors")[artifacts.CONTENT]
    about = About(attribute, space, t, digest, variant)
    file = fetched(file)
    found = read_boundary(file)
    boundaries.save(
        output / f"{space}.safetensors", found, about, imported_sha256=artifacts.digest_file(file)
    )
    print(output / f"{space}.safetensors")


def export_boundary(boundary: Path, output: Path) -> None:
    """Write the coefficients of ``z.safetensors`` or ``h.safetensors`` as a file of NumPy."""
    write_boundary(output, load(boundary)[0])
    print(output)
