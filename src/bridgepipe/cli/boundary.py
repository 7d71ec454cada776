"""Verbs of boundaries: the mixing step, latents, and the search. What follows is in `cli.boundary_edits`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone, Config, File, Shared, Trained
from bridgepipe.config.boundary import BoundaryFit, BoundaryLatents, BoundaryMixing
from bridgepipe.config.boundary_settings import Fit, Inversion, Mixing, OfAttribute
from bridgepipe.config.stage_files import read_stage
from bridgepipe.errors import UserError
from bridgepipe.methods.trained import load_model

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import Subset
    from bridgepipe.methods.boundary_latents import Latents
    from bridgepipe.methods.gaussian import Model
    from bridgepipe.networks.hspace import Bottlenecked, HSpace

    Pair = tuple[Tensor, Tensor]

SPACES: tuple[Literal["z"], Literal["h"]] = ("z", "h")


def space_of(network: Model, variant: Any = "exact") -> HSpace:
    """The h-space of a model, called as the model calls its network."""
    from bridgepipe.methods.boundary_latents import space

    return space(cast("Bottlenecked", network.network), network.bound(), variant)


def open_model(trained: Trained, runtime: Any) -> Model:
    """A Gaussian model whose bottleneck can be read, which a compiled one's cannot."""
    return load_model(trained, runtime.model_copy(update={"compile": False}))


@groups.boundary.verb()
def mixing(
    config: Config,
    trained: Trained,
    data: File,
    output: Annotated[Path, typer.Option(help="the chosen step")],
    csv: File,
    figure: File,
    title: str = "",
    run: Shared = Shared(),
) -> None:
    """Shape and separability of the latents at many steps, and the step to edit at."""
    speed = run.start()
    from bridgepipe.data.store import ImageStore
    from bridgepipe.datasets import attributes
    from bridgepipe.evaluation import tables
    from bridgepipe.figures import boundary as figures_boundary
    from bridgepipe.methods import boundary_mixing
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    settings, images = read_stage(config, BoundaryMixing), ImageStore(data)
    plan, network = settings.mixing, open_model(trained, speed)
    values, cut = attributes.values_and_cut(images, settings, at=settings.threshold)
    items = chosen(images, values, cut, settings.seed, plan.images, settings.middle)
    made_with = {"settings": settings.as_json(), "model": network.digest, "data": images.digest}
    with kept(output, made_with, speed):
        walk = list(_walk(network, images, items.tolist(), plan))
        if not running.is_main():
            return
        has = values[items] > cut
        found = boundary_mixing.mixing(walk, has, tolerance=plan.tolerance, C=settings.C, folds=plan.folds)
        frame = tables.table([row.row() for row in found.rows])
        figures_boundary.mixing_curve(figure, frame, found.t, title)
        artifacts.write_text(csv, frame.to_csv(index=False, float_format="%.6g"))
        artifacts.write_json(output, {"t": found.t, "n": len(items), "made_with": made_with})


def _walk(network: Model, images: ImageStore, items: Sequence[int], plan: Mixing) -> Iterator[Latents]:
    """Latents of all items at every measured step, on the main process."""
    import torch

    from bridgepipe.methods.boundary_latents import Latents, trajectory
    from bridgepipe.names.timesteps import truncated
    from bridgepipe.runtime import running

    h_space, steps = space_of(network), truncated(plan.last, plan.count)

    def run(piece: Sequence[int]) -> tuple[Tensor | int, ...]:
        x0 = images.batch(piece).to(network.device)
        walk = trajectory(h_space, network.process, x0, steps, plan.every)
        return tuple(part for one in walk for part in (one.z.cpu(), one.h.cpu(), one.t))

    pieces = running.shared(run, items, network.batch_size, "mixing step")
    columns = list(zip(*pieces, strict=True))
    for zs, hs, ts in zip(columns[::3], columns[1::3], columns[2::3], strict=True):
        yield Latents(torch.cat(zs), torch.cat(hs), ts[0])


def chosen(
    images: ImageStore, values: np.ndarray, cut: float, seed: int, count: int | None, middle: float = 0.0
) -> np.ndarray:
    """Ascending indices of images that take part: all, or ``count`` of them, as far as there are half of each
    kind; ``middle`` is the share of unclear ones that is left out."""
    import numpy as np

    from bridgepipe.data.subset import choose
    from bridgepipe.datasets import attributes

    items = np.flatnonzero(~np.isnan(values))
    items = items[attributes.clear(values[items], cut, middle)]
    return items[choose(count, len(items), values[items] > cut, seed)]


@groups.boundary.verb()
def latents(
    config: Config,
    trained: Trained,
    train: File,
    test: File,
    output: Annotated[Path, typer.Option(help="folder")],
    mixing: Annotated[Path | None, typer.Option(help="the chosen step, for t: auto")] = None,
    run: Shared = Shared(),
) -> None:
    """Invert training and test images: stores of z and h with the attribute's values."""
    speed, settings = run.start(), read_stage(config, BoundaryLatents)
    from bridgepipe.data.store import ImageStore
    from bridgepipe.datasets import attributes
    from bridgepipe.runtime.finished import kept

    network = open_model(trained, speed)
    how, t = settings.inversion, _step(settings.t, mixing, network.digest)
    h_space, fitted = space_of(network, how.variant), ImageStore(train)
    for role, path in (("train", train), ("test", test)):
        images = ImageStore(path)
        values, cut = attributes.values_and_cut(images, settings, fitted, settings.threshold)
        items = chosen(images, values, cut, settings.seed, settings.images)
        made_by = {"images": "latents", "settings": settings.as_json(), "t": t, "cut": cut}
        made_by |= {"model": network.digest, "data": images.digest}
        arrays = {"item": items, "value": values[items]}
        identity = {**made_by, "items": items.tolist()}
        with kept(output / f"{role}-z.lmdb", identity, speed):
            batches = _inverted(network, h_space, images, items.tolist(), t, how)
            _write_latents(output, role, made_by, batches, arrays)


def _inverted(
    network: Model,
    h_space: HSpace,
    images: ImageStore,
    items: Sequence[int],
    t: int,
    how: Inversion,
) -> Iterator[Pair]:
    """z and h of all items, batch by batch, float32."""
    from bridgepipe.methods.boundary_latents import invert
    from bridgepipe.runtime import running

    def run(piece: Sequence[int]) -> Pair:
        found = invert(h_space, network.process, images.batch(piece).to(network.device), t, how)
        return found.z.cpu().float(), found.h.cpu().float()

    return running.shared(run, items, network.batch_size, "inverting")


def _write_latents(
    folder: Path,
    role: str,
    made_by: dict[str, Any],
    batches: Iterator[Pair],
    arrays: dict[str, np.ndarray],
) -> None:
    """Stores of z and of h, with the same arrays; other processes than the main one help to make them."""
    from bridgepipe.data.store import writer
    from bridgepipe.runtime import running

    if not running.is_main():
        running.exhaust(batches)
        return
    with (
        writer(folder / f"{role}-z.lmdb", {**made_by, "space": "z"}) as zs,
        writer(folder / f"{role}-h.lmdb", {**made_by, "space": "h"}) as hs,
    ):
        for batch in batches:
            for store, rows in zip((zs, hs), batch, strict=True):
                for row in rows.numpy():
                    store.put(row)
        for store in (zs, hs):
            for name, values in arrays.items():
                store.set_array(name, values)


def _step(t: int | str, mixing: Path | None, model: str) -> int:
    """The step to invert to.

    Raises:
        UserError: it is to be the mixing step, and none is given or that of another model.
    """
    if isinstance(t, int):
        return t
    if mixing is None:
        raise UserError("t is auto", "boundary latents", "give --mixing, or set t to a number")
    found = artifacts.read_object(mixing)
    if found["made_with"]["model"] != model:
        raise UserError("the mixing step of another model", mixing, "give that of this model")
    return int(found["t"])


@groups.boundary.verb()
def search(
    config: Config,
    latents: Annotated[Path, typer.Option(help="folder of the latents")],
    output: Annotated[Path, typer.Option(help="folder of the boundaries")],
    accuracy: File,
    run: Alone = Alone(),
) -> None:
    """The boundaries in z and in h, and how well they tell held-out latents apart."""
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import protocol
    from bridgepipe.methods import boundary
    from bridgepipe.runtime import running

    speed, settings = run.start(), read_stage(config, BoundaryFit)
    how: dict[str, Any] = {"solver": settings.solver, "balance": settings.balance, "seed": settings.seed}
    how["device"] = running.accelerator(speed.device).device
    costs = {"z": settings.C_z or settings.C, "h": settings.C}
    values: dict[str, Any] = {}
    for space in SPACES:
        train, test = (ImageStore(latents / f"{role}-{space}.lmdb") for role in ("train", "test"))
        _one_run(train, test, settings)
        made = train.card["made_by"]
        cut = made["cut"] if settings.threshold is None else settings.threshold
        known, held_out = (_classes(store, cut, settings.middle) for store in (train, test))
        found = boundary.fit(*known, **how, C=costs[space], test=held_out)
        tested = boundary.measure(found, *held_out)
        everything = boundary.measure(found, *_classes(test, cut, 0.0))
        about = boundary.About(settings.attribute, space, made["t"], made["model"], _variant(made))
        counts = {"images": len(known[1]), "with": int(known[1].sum()), "cut": cut}
        boundary.save(output / f"{space}.safetensors", found, about, tested, **settings.as_json() | counts)
        values |= tested.values(f"{space}_accuracy") | everything.values(f"{space}_all") | {"t": made["t"]}
    shared = protocol.protocol(
        "share of latents on their side of the boundary",
        n=tested.n,
        # how a boundary is fitted is what the numbers compare
        settings=settings.model_dump(mode="json", exclude=set(Fit.model_fields)),
        inputs={"data": test.card["made_by"]["data"]},
        quantisation="none",
        items=artifacts.digest_of(test.array("item").tolist()),
        cut=cut,
    )
    made_with = {"settings": {**made["settings"], **settings.as_json()}, "images": counts["images"]}
    protocol.write_metric(accuracy, values, shared, {**made_with, "model": made["model"]})


def _one_run(train: ImageStore, test: ImageStore, settings: OfAttribute) -> None:
    """Refuse latents of training and test images that one job did not make, or of another attribute."""
    a, b = train.card["made_by"], test.card["made_by"]
    if {**a, "data": None} != {**b, "data": None}:
        mend = "make the latents of both splits again"
        raise UserError(f"it does not belong to {train.path.name}", test.path, mend)
    if other := settings.differs_from(a["settings"]):
        raise UserError(f"latents {other}", train.path, "give the latents of this experiment")


def _variant(made_by: dict[str, Any]) -> Any:
    return made_by["settings"]["inversion"]["variant"]


def _classes(store: ImageStore, cut: float, middle: float) -> tuple[Subset, np.ndarray]:
    """Latents that are clearly of one kind, and which kind."""
    from bridgepipe.data.subset import Subset
    from bridgepipe.datasets import attributes

    values = store.array("value")
    rows = attributes.clear(values, cut, middle)
    return Subset(store, rows), attributes.binary(values[rows], cut)
