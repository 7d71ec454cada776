"""Boundaries: the mixing step, latents, and the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridgepipe import artifacts
from bridgepipe.config.boundary import BoundaryFit, BoundaryLatents, BoundaryMixing
from bridgepipe.config.boundary_settings import Fit, Inversion, Mixing, OfAttribute
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.data.subset import Subset
from bridgepipe.datasets import attributes
from bridgepipe.errors import UserError
from bridgepipe.evaluation import protocol, tables
from bridgepipe.figures import boundary as figures_boundary
from bridgepipe.methods import boundary, boundary_mixing
from bridgepipe.methods.boundary_latents import Latents, invert, space_of, trajectory
from bridgepipe.methods.gaussian import Model
from bridgepipe.methods.trained import Trained, open_model
from bridgepipe.names import Json
from bridgepipe.names.timesteps import truncated
from bridgepipe.networks.hspace import HSpace
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable

Pair = tuple[Tensor, Tensor]


def mixing(
    settings: BoundaryMixing,
    trained: Trained,
    data: Path,
    output: Path,
    csv: Path,
    figure: Path,
    title: str,
    speed: Runtime,
) -> None:
    """Shape and separability of the latents at many steps, and the step to edit at."""
    images = ImageStore(data)
    plan, network = settings.mixing, open_model(trained, speed)
    values, cut = attributes.values_and_cut(images, settings, at=settings.threshold)
    items = attributes.chosen(images, values, cut, settings.seed, plan.images, settings.middle)
    made_with = {"settings": settings.as_json(), "model": network.digest, "data": images.digest}
    with resumable(output, made_with, speed):
        latents = list(_trajectory(network, images, items.tolist(), plan))
        if not running.is_main():
            return
        has = values[items] > cut
        found = boundary_mixing.mixing(latents, has, tolerance=plan.tolerance, C=settings.C, folds=plan.folds)
        frame = tables.table([row.row() for row in found.rows])
        figures_boundary.mixing_curve(figure, frame, found.t, title)
        artifacts.write_text(csv, frame.to_csv(index=False, float_format="%.6g"))
        artifacts.write_json(output, {"t": found.t, "n": len(items), "made_with": made_with})


def _trajectory(network: Model, images: ImageStore, items: Sequence[int], plan: Mixing) -> Iterator[Latents]:
    """Latents of all items at every measured step, on the main process."""
    h_space, steps = space_of(network), truncated(plan.last, plan.count)

    def run(piece: Sequence[int]) -> tuple[Tensor | int, ...]:
        x0 = images.batch(piece).to(network.device)
        latents = trajectory(h_space, network.process, x0, steps, plan.every)
        return tuple(part for one in latents for part in (one.z.cpu(), one.h.cpu(), one.t))

    pieces = running.shared(run, items, network.batch_size, "mixing step")
    columns = list(zip(*pieces, strict=True))
    for zs, hs, ts in zip(columns[::3], columns[1::3], columns[2::3], strict=True):
        yield Latents(torch.cat(zs), torch.cat(hs), ts[0])


def latents(
    settings: BoundaryLatents,
    trained: Trained,
    train: Path,
    test: Path,
    output: Path,
    mixing: Path | None,
    speed: Runtime,
) -> None:
    """Invert training and test images: stores of z and h with the attribute's values."""
    network = open_model(trained, speed)
    how, t = settings.inversion, _step(settings.t, mixing, network.digest)
    h_space, fitted = space_of(network, how.variant), ImageStore(train)
    for role, path in (("train", train), ("test", test)):
        images = ImageStore(path)
        values, cut = attributes.values_and_cut(images, settings, fitted, settings.threshold)
        items = attributes.chosen(images, values, cut, settings.seed, settings.images)
        made_by = {"images": "latents", "settings": settings.as_json(), "t": t, "cut": cut}
        made_by |= {"model": network.digest, "data": images.digest}
        arrays = {"item": items, "value": values[items]}
        identity = {**made_by, "items": items.tolist()}
        with resumable(output / f"{role}-z.lmdb", identity, speed):
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

    def run(piece: Sequence[int]) -> Pair:
        found = invert(h_space, network.process, images.batch(piece).to(network.device), t, how)
        return found.z.cpu().float(), found.h.cpu().float()

    return running.shared(run, items, network.batch_size, "inverting")


def _write_latents(
    folder: Path,
    role: str,
    made_by: Json,
    batches: Iterator[Pair],
    arrays: dict[str, np.ndarray],
) -> None:
    """Stores of z and of h, with the same arrays; other processes than the main one help to make them."""
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
        UserError: the mixing step is wanted, but none is given, or that of another model.
    """
    if isinstance(t, int):
        return t
    if mixing is None:
        raise UserError("t is auto", "boundary latents", "give --mixing, or set t to a number")
    found = artifacts.read_object(mixing)
    if found["made_with"]["model"] != model:
        raise UserError("the mixing step of another model", mixing, "give that of this model")
    return int(found["t"])


def search(
    settings: BoundaryFit,
    latents: Path,
    output: Path,
    accuracy: Path,
    speed: Runtime,
) -> None:
    """Find the boundaries in z and in h, and measure how well they separate held-out latents."""
    how: Json = {"solver": settings.solver, "balance": settings.balance, "seed": settings.seed}
    how["device"] = running.placed(speed.device).device
    costs = {"z": settings.C_z or settings.C, "h": settings.C}
    values: dict[str, protocol.Value] = {}
    for space in boundary.SPACES:
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


def _variant(made_by: Json) -> Any:
    return made_by["settings"]["inversion"]["variant"]


def _classes(store: ImageStore, cut: float, middle: float) -> tuple[Subset, np.ndarray]:
    """Latents that are clearly of one kind, and which kind."""
    values = store.array("value")
    rows = attributes.clear(values, cut, middle)
    return Subset(store, rows), attributes.binary(values[rows], cut)
