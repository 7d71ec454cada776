"""diffusers' schedulers in our words, and our processes in theirs: config files, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from typing import Any

from bridgepipe.errors import UserError
from bridgepipe.names import Json

PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
SCHEDULES = {"linear": "linear", "squaredcos_cap_v2": "cosine", "scaled_linear": "scaled_linear"}


def process_of(scheduler: Mapping[str, Any], where: object) -> Json:
    """Section ``process`` of an experiment for a scheduler of diffusers.

    Args:
        scheduler: content of its ``scheduler_config.json``; {} is DDPMScheduler's default.
        where: place of that file, for the message.

    Raises:
        UserError: other betas than those of our schedules, or another prediction; the key is named.
    """
    T, theirs = scheduler.get("num_train_timesteps", 1000), scheduler.get("beta_schedule", "linear")
    first, last = scheduler.get("beta_start", 1e-4), scheduler.get("beta_end", 0.02)
    mend = "give a network trained with linear, scaled_linear or cosine betas"
    if scheduler.get("trained_betas") is not None or theirs not in SCHEDULES:
        what = "trained_betas are given" if theirs in SCHEDULES else f"beta_schedule is {theirs!r}"
        raise UserError(what, where, mend)
    scale = 1000 / T if theirs == "linear" else 1
    same = isclose(first, 1e-4 * scale, rel_tol=1e-6) and isclose(last, 0.02 * scale, rel_tol=1e-6)
    if theirs != "squaredcos_cap_v2" and not same:
        known = f"ours run from {1e-4 * scale:g} to {0.02 * scale:g}"
        what = f"betas from {first:g} to {last:g} in {T} steps; {known}"
        raise UserError(what, where, mend)
    for key in ("rescale_betas_zero_snr", "thresholding"):
        if scheduler.get(key):
            raise UserError(f"{key} is true", where, "give a network of a process without it")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise UserError(f"prediction_type is {prediction!r}", where, f"one of {', '.join(PREDICTIONS)}")
    variance = scheduler.get("variance_type", "fixed_small").removesuffix("_log")
    return {
        "schedule": SCHEDULES[theirs],
        "T": T,
        "prediction": PREDICTIONS[prediction],
        "variance": variance,
        "rescale_timesteps": False,
    }


def clips(scheduler: Mapping[str, Any]) -> bool:
    """Whether a scheduler clamps predictions of the clean image to [-1, 1]."""
    return bool(scheduler.get("clip_sample", True))


def scheduler_of(process: Mapping[str, Any], clip: bool) -> Json | None:
    """``scheduler_config.json`` of the DDPMScheduler that a process is; None where there is none.

    Args:
        process: section ``process`` of an experiment.
        clip: whether predictions of the clean image are clamped.
    """
    theirs = {ours: name for name, ours in SCHEDULES.items()}.get(process["schedule"])
    if theirs is None or (process["rescale_timesteps"] and process["T"] != 1000):
        return None
    scale = 1000 / process["T"] if theirs == "linear" else 1
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": process["T"],
        "beta_schedule": theirs,
        "beta_start": 1e-4 * scale,
        "beta_end": 0.02 * scale,
        "trained_betas": None,
        "prediction_type": {ours: name for name, ours in PREDICTIONS.items()}[process["prediction"]],
        "variance_type": process["variance"],
        "clip_sample": clip,
        "clip_sample_range": 1.0,
        "thresholding": False,
        "timestep_spacing": "leading",
    }
