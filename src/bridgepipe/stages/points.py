"""DDIB between points: samples, translations, cycles, and their distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridgepipe import artifacts, samplers
from bridgepipe.config.points import Generated, PointCycles, PointDistances, PointTranslating, SolverSettings
from bridgepipe.config.runtime import Runtime
from bridgepipe.datasets.points import Points, independent
from bridgepipe.errors import UserError
from bridgepipe.evaluation import plans, protocol, transport
from bridgepipe.evaluation.extractors import digest_tensors
from bridgepipe.evaluation.transport import Comparison
from bridgepipe.methods import ddib, ddib_points
from bridgepipe.methods.ddib_points import Cycle
from bridgepipe.methods.gaussian import Model
from bridgepipe.methods.trained import Ends, Trained, check_dimension, load_ends, load_model
from bridgepipe.names import Json
from bridgepipe.names.nfe import calls_made
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable


def sample_points(
    how: Generated,
    trained: Trained,
    data: Path,
    output: Path,
    speed: Runtime,
) -> None:
    """Draw points from a model, and encode points of DATA to see whether its latents are normal."""
    network, settings = load_model(trained, speed), SolverSettings.of(how)
    made = calls_made(network.process.T, settings.solver, how.nfe, settings.spacing)
    as_made = how.model_copy(update={"nfe": made})
    source, _, known = _chosen(data, how.latents, how.seed, network)
    made_by = {"sample": as_made.as_json(), "model": network.digest, "data": source.digest}

    def encode(x: Tensor) -> list[Tensor]:
        steps = ddib.steps_of(settings, network.process).encode
        return [samplers.encode(network.denoiser(), x, steps, solver=settings.solver).x]

    with resumable(output, made_by, speed):
        drawn = ddib_points.sample(network, range(how.count), settings, how.seed)
        (latents,) = ddib_points.over(known, network.device, encode, "encoding")
        _save(output, {"points": drawn, "latents": latents}, made_by)


def evaluate_samples(
    samples: Path,
    truth: Path,
    metrics: Path,
    figure: Path,
    title: str,
    exact: int,
) -> None:
    """Distances of samples to true points beside the noise floor, normality of latents, and a picture."""
    from bridgepipe.figures import points as figures_points  # not for what draws nothing

    tensors, card = artifacts.load_tensors(samples)
    true = Points(truth)
    if true.digest != card["made_by"]["data"]:
        raise UserError("not the points that the samples are of", truth, f"give those that made {samples}")
    found = tensors["points"].numpy()[: len(true)]
    compared = _compared(found, true, exact)
    normal = {f"latent_{k}": v for k, v in asdict(transport.normality(tensors["latents"].numpy())).items()}
    values = {**compared.values(), **_flat(normal)}
    shared = _protocol(
        "distances of samples to the true points",
        len(found),
        {"exact": exact, "latents": len(tensors["latents"])},
        {"truth": true},
        plan_points=compared.found.n,
        floor_draws=transport.FLOOR_DRAWS,
    )
    protocol.write_metric(metrics, values, shared, card["made_by"])
    figures_points.samples_and_truth(figure, found, true.points, title)


def translate_points(
    how: PointTranslating,
    data: Path,
    ends: Ends,
    output: Path,
    speed: Runtime,
) -> None:
    """Take points of DATA from one model's domain to the other's, and back again."""
    a, b = load_ends(ends, speed)
    settings = how.translate
    as_made = settings.model_copy(update={"nfe": ddib_points.calls_of(settings, a.process)})
    made_by = {"settings": how.model_copy(update={"translate": as_made}).as_json(), **_ends(a, b)}
    starts, items, points = _chosen(data, how.count, how.seed, a)

    source, target = ddib_points.denoisers(a, b)

    def there_and_back(x: Tensor) -> list[Tensor]:
        there = ddib.translate(source, target, x, settings)
        back = ddib.translate(target, source, there.target.start, settings)
        return [there.latent.x, there.target.x, back.target.x]

    with resumable(output, {**made_by, "data": starts.digest}, speed):
        latent, moved, again = ddib_points.over(points, a.device, there_and_back, "translation")
        tensors = {"items": items, "source": points, "latent": latent, "points": moved, "back": again}
        _save(output, tensors, made_by)


def draw_densities(
    how: PointTranslating,
    data: Path,
    ends: Ends,
    output: Path,
    title: str,
    stops: int,
    speed: Runtime,
) -> None:
    """The densities of points of DATA on their way from one model's domain to the other's.

    Args:
        stops: number of places on the way to the latent, and on the way from it.
    """
    from bridgepipe.figures import points as figures_points

    a, b = load_ends(ends, speed)
    starts, items, points = _chosen(data, how.count, how.seed, a)
    places = ddib_points.stops_of(how.translate, a.process, stops)
    identity = {"settings": how.as_json(), **_ends(a, b), "data": starts.digest, "stops": asdict(places)}
    with resumable(output, identity, speed):
        states = ddib_points.on_the_way(a, b, points, how.translate, places, "densities")
        if running.is_main():
            bins = int(np.clip(len(items) ** 0.5 / 2, 20, 120))
            panels = {head: x.numpy() for head, x in states.items()}
            figures_points.heatmap(output, panels, title, bins, columns=len(places.encode) + 2)


def cycle_points(
    how: PointCycles,
    data: Path,
    truth: Path,
    ends: Ends,
    output: Path,
    speed: Runtime,
) -> None:
    """How far a cycle through the other domain takes points of DATA, for every solver."""
    a, b = load_ends(ends, speed)
    starts, _, points = _chosen(data, how.count, how.seed, a)
    true, made_by = Points(truth), {"settings": how.as_json(), **_ends(a, b)}
    values: dict[str, protocol.Value] = {}
    with resumable(output, {**made_by, "data": starts.digest}, speed):
        others = independent(true, transport.FLOOR_DRAWS, len(points))
        floors = [transport.sliced_w2(other, true.points) for other in others]
        floor = {"sliced_w2_floor": np.mean(floors), "sliced_w2_floor_spread": np.std(floors, ddof=1)}
        for name, settings in how.cycle.items():
            done = ddib_points.cycle(a, b, points, settings, settings.state_pair, f"cycle {name}")
            numbers = {**_cycle(done), "sliced_w2": transport.sliced_w2(done.target.numpy(), true.points)}
            values |= {f"{name}: {k}": v for k, v in {**numbers, **floor}.items()}
        inputs = {"data": starts, "truth": true}
        shared = _protocol(
            "distance of points to themselves after a cycle",
            len(points),
            how.as_json(),
            inputs,
            floor_draws=transport.FLOOR_DRAWS,
        )
        if running.is_main():
            protocol.write_metric(output, values, shared, made_by)


def _cycle(done: Cycle) -> Json:
    """The numbers of one cycle."""
    return {"calls": done.calls, **protocol.errors(done.error.numpy())}


def evaluate_translation(
    how: PointDistances,
    translated: Path,
    truth: Path,
    metrics: Path,
    figure: Path,
    title: str,
) -> None:
    """Distances of translated points to the true target, the cost of the map, and the picture of the map."""
    from bridgepipe.figures import points as figures_points

    tensors, card = artifacts.load_tensors(translated)
    found = {k: v.numpy() for k, v in tensors.items() if k != "items"}
    true, n, seed = Points(truth), how.exact, how.seed
    compared = _compared(found["points"], true, n, seed)
    moved = plans.coupling(found["source"], found["points"], n, seed)
    normal = {f"latent_{k}": v for k, v in asdict(transport.normality(found["latent"], seed)).items()}
    cost = {"cost": moved.cost, "cost_optimal": moved.optimal, "excess": moved.excess}
    shared = _protocol(
        "distances of translated points to the true target",
        len(found["points"]),
        how.as_json(),
        {"truth": true, "starts": digest_tensors({"source": tensors["source"]})},
        plan_points=moved.n,
        floor_draws=transport.FLOOR_DRAWS,
    )
    values = {**compared.values(), **cost, **_flat(normal)}
    protocol.write_metric(metrics, values, shared, card["made_by"])
    panels = {"Source": "source", "Latent": "latent", "Target": "points", "Back": "back"}
    figures_points.scatter_map(figure, {head: found[key] for head, key in panels.items()}, title)


def _chosen(data: Path, count: int, seed: int, model: Model) -> tuple[Points, Tensor, Tensor]:
    """A file, and at most ``count`` of its points in its order: numbers, and points float32 ``[n, D]``.

    The files are in order along curves, so their beginning is no sample of them.

    Raises:
        UserError: the model is of points of another dimension.
    """
    source = Points(data)
    check_dimension(model, source)
    items = torch.from_numpy(plans.subsample(np.arange(len(source)), count, seed, "translation"))
    return source, items, source.batch(items)


def _save(path: Path, tensors: dict[str, Tensor], made_by: Json) -> None:
    """A file of points that `datasets.points.Points` reads, with other tensors beside them.

    Every process has them; the main one writes.
    """
    if not running.is_main():
        return
    count, dim = tensors["points"].shape
    artifacts.save_tensors(path, tensors, {"kind": "points", "count": count, "dim": dim, "made_by": made_by})


def _ends(a: Model, b: Model) -> Json:
    return {"models": {"source": a.digest, "target": b.digest}}


def _compared(found: np.ndarray, true: Points, exact: int, seed: int = 0) -> Comparison:
    others = list(independent(true, transport.FLOOR_DRAWS, len(found)))
    return transport.compare(found, true.points, others, exact, seed)


def _protocol(
    metric: str,
    n: int,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Any],
    **draws: Any,
) -> Json:
    """The protocol of distances.

    Args:
        settings, inputs: see `protocol.protocol`.
        draws: ``floor_draws``, independent true samples of the noise floor; ``plan_points`` of the exact and
            entropic plans: the excess of a map grows with them.
    """
    return protocol.protocol(metric, n=n, settings=settings, inputs=inputs, quantisation="none", **draws)


def _flat(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of every axis as numbers of their own; `protocol` keeps no lists."""
    axes = {k: v for k, v in values.items() if isinstance(v, tuple)}
    single = {k: v for k, v in values.items() if k not in axes}
    return single | {f"{k}_{i}": v for k, along in axes.items() for i, v in enumerate(along)}
