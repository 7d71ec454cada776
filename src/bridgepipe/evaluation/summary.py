"""One row per experiment, from its metric files, with the published number beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridgepipe import artifacts, tables
from bridgepipe.evaluation import comparable
from bridgepipe.published_numbers import Published, load_published

# column -> (metric file, value, scale)
COLUMNS = {
    "PSNR": ("restoration", "psnr", 1),
    "PSNR in": ("restoration", "psnr_corrupted", 1),
    "SSIM": ("restoration", "ssim", 1),
    "FID": ("fid", "fid", 1),
    "FID in": ("fid", "fid_corrupted", 1),
    "KID": ("fid", "kid", 1),
    "acc. %": ("accuracy", "accuracy", 100),
    "acc. in %": ("accuracy", "accuracy_corrupted", 100),
    "acc. real %": ("accuracy", "accuracy_originals", 100),
    "FID real": ("fid", "fid_real", 1),
    "FID source": ("fid", "fid_source", 1),
    "PSNR to source": ("kept", "psnr", 1),
    "PSNR of random": ("kept", "psnr_random", 1),
    "SSIM to source": ("kept", "ssim", 1),
    "SSIM of random": ("kept", "ssim_random", 1),
    "cycle, pair": ("cycle", "pair_mean", 1),
    "cycle, image": ("cycle", "image_mean", 1),
    "cycle, 8 bits": ("cycle", "uint8_mean", 1),
    "t": ("accuracy", "t", 1),
    "z acc. %": ("accuracy", "z_accuracy", 100),
    "h acc. %": ("accuracy", "h_accuracy", 100),
    "flipped %": ("edit", "flipped", 100),
    "no move %": ("edit", "baseline_flipped", 100),
    "at": ("edit", "best_distance", 1),
    "PSNR kept": ("edit", "psnr_at_best", 1),
    "class kept %": ("edit", "kept_class_at_best", 100),
    "Spearman": ("edit", "spearman", 1),
    "FID with": ("edit", "fid_with", 1),
    "FID with, real": ("edit", "fid_with_real", 1),
    "FID with, n": ("edit", "fid_with_n", 1),
    "FID without": ("edit", "fid_without", 1),
    "FID without, real": ("edit", "fid_without_real", 1),
    "FID without, n": ("edit", "fid_without_n", 1),
}
PUBLISHED = {"fid": "FID pub.", "accuracy": "acc. pub. %"}


def collect(metric_files: Sequence[Path]) -> pd.DataFrame:
    """Table of the experiments that the files ``…/METHOD/EXPERIMENT/METRIC.json`` belong to.

    Columns ending in "in" are of the corrupted input, "real" of the originals, "pub." published; "95 %" is
    the interval of the share before it, and its number of cases. "same protocol" says whether ours may be
    compared with the published value, or what differs; ``protocol`` is the hash of the FID's protocol.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for file in metric_files:
        method, experiment = file.parts[-3], file.parts[-2]
        found.setdefault((method, experiment), {})[file.stem] = artifacts.read_object(file)
    return tables.table([_row(method, name, metrics) for (method, name), metrics in found.items()])


def _row(method: str, experiment: str, metrics: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, (metric, value, scale) in COLUMNS.items():
        known = metrics.get(metric, {}).get("values", {})
        if known.get(value) is not None:
            values |= {column: known[value] * scale, **_interval(column, known, value)}
    any_metric = next(iter(metrics.values()))
    how = any_metric["made_with"]["settings"]
    fid = metrics.get("fid", any_metric)
    return {
        "experiment": f"{how.get('method', method)}/{experiment}",
        "dataset": how["dataset"],
        "n": fid["protocol"]["n"],
        **({"NFE": how["sample"]["nfe"]} if "sample" in how else {}),
        **values,
        **_published(method, experiment, how, metrics),
        "protocol": fid["protocol_hash"][:8],
    }


def _interval(column: str, known: dict[str, Any], value: str) -> dict[str, str]:
    """The column with the 95 % interval and the number of cases of a share; none of other values."""
    if f"{value}_low" not in known:
        return {}
    low, high = (100 * known[f"{value}_{end}"] for end in ("low", "high"))
    return {column.replace("%", "95 %"): f"{low:.1f} to {high:.1f}, n {known[f'{value}_n']}"}


def _published(method: str, experiment: str, how: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """Published numbers of the metrics that this experiment has, and whether ours may stand beside them."""
    numbers = [p for p in load_published() if _is_of(p, method, experiment, how)]
    numbers = [p for p in numbers if p.metric in PUBLISHED and p.metric in metrics]
    if not numbers:
        return {}
    shown = {PUBLISHED[p.metric]: p.value for p in numbers}
    return {**shown, "same protocol": comparable.verdict([(p, metrics[p.metric]) for p in numbers])}


def _is_of(number: Published, method: str, experiment: str, how: dict[str, Any]) -> bool:
    """Whether a published number is of this experiment: samplers are published by name and calls."""
    if method != "spd":
        return (number.system, number.experiment) == (method, experiment)
    sampler = how["sample"]["sampler"]
    if how["process"]["schedule"] == "shortest_path":
        return False
    name = f"ddpm-{how['process']['variance'].replace('_', '-')}" if sampler == "ancestral" else sampler
    return (number.system, number.experiment, number.nfe) == ("gaussian", name, how["sample"]["nfe"])
