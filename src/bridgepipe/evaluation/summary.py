"""One row per experiment, from its metric files, and the published number where it was measured alike."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bridgepipe.evaluation import comparable, protocol, tables
from bridgepipe.evaluation.protocol import Metric
from bridgepipe.evaluation.published_numbers import is_of, load_published
from bridgepipe.names import QUANTISATION, Json

# column -> (metric file, value, scale)
COLUMNS = {
    "PSNR": ("restoration", "psnr", 1),
    "PSNR in": ("restoration", "psnr_corrupted", 1),
    "SSIM": ("restoration", "ssim", 1),
    "FID": ("fid", "fid", 1),
    "FID real": ("fid", "fid_real", 1),
    "FID, as many": ("fid", "fid_equal", 1),
    "FID in": ("fid", "fid_corrupted", 1),
    "FID source": ("fid", "fid_source", 1),
    "KID": ("fid", "kid", 1),
    "KID real": ("fid", "kid_real", 1),
    "acc. %": ("accuracy", "accuracy", 100),
    "acc. in %": ("accuracy", "accuracy_corrupted", 100),
    "acc. real %": ("accuracy", "accuracy_originals", 100),
    "PSNR to source": ("similarity", "psnr", 1),
    "PSNR of random": ("similarity", "psnr_random", 1),
    "SSIM to source": ("similarity", "ssim", 1),
    "SSIM of random": ("similarity", "ssim_random", 1),
    "cycle, pair": ("cycle", "pair_mean", 1),
    "cycle, image": ("cycle", "image_mean", 1),
    "cycle, 8 bits": ("cycle", "uint8_mean", 1),
    "t": ("accuracy", "t", 1),
    "z acc. %": ("accuracy", "z_accuracy", 100),
    "h acc. %": ("accuracy", "h_accuracy", 100),
    "flipped %": ("edit", "flipped", 100),
    "no move %": ("edit", "baseline_flipped", 100),
    "at": ("edit", "best_distance", 1),
    "PSNR to unedited": ("edit", "psnr_at_best", 1),
    "class preserved %": ("edit", "preserved_class_at_best", 100),
    "Spearman": ("edit", "spearman", 1),
    "FID with": ("edit", "fid_with", 1),
    "FID with, real": ("edit", "fid_with_real", 1),
    "FID with, n": ("edit", "fid_with_n", 1),
    "FID without": ("edit", "fid_without", 1),
    "FID without, real": ("edit", "fid_without_real", 1),
    "FID without, n": ("edit", "fid_without_n", 1),
}
PUBLISHED = {"fid": "FID pub.", "accuracy": "acc. pub. %"}
# a FID to a reference that holds the originals is smaller, so it has columns of its own
HELD = ", originals in reference"
BITS = "8 bits"
WORDS = {QUANTISATION["published"]: "truncated", QUANTISATION["exact"]: "rounded"}
# pattern of the columns that it is about -> how a table is read
NOTES = {
    "^group$": "Numbers of one column may be compared between rows of one group. Rows of different groups"
    " were measured under different protocols.",
    "^FID real": "FID real and KID real are the floor: as many real images (n, or n real) against the same"
    " reference. A FID that is not above its floor can't be told from that of real images.",
    "^n real$": "Where there are fewer real images than n, compare FID real with FID, as many: that of n real"
    " of the evaluated images.",
    "^reference$": "The reference says which real images a FID is to, and how many of the originals are in"
    " it: with them in it a FID is smaller, and stands in columns of its own.",
    "95 %$": "95 %: interval for another draw of as many images; the reference, the networks and the"
    " boundaries are taken as they are.",
    "^flipped %": "flipped: of the images that an edit can flip, those that it does, at the best distance"
    " (at), which is chosen on one half of the images and reported on the other. no move: what the decoder"
    " flips by itself.",
    "^FID with": "FID with, without: edited images to real ones that have, or lack, the attribute. Their"
    " floor (real) is that of as many (n) real images to the same reference.",
    "of random": "of random: a real image of the target class, drawn by chance, in place of the translation.",
    f"^{BITS}$": "8 bits: rounding changes no pixel; truncation, as published, lowers 63 of the 256 levels"
    " by one, so that a perfect restoration of all levels has 54 dB.",
    "^PSNR": "A PSNR is of the 8-bit images; two equal ones, whose PSNR is infinite, count as 100 dB.",
    r" pub\.": "pub.: the published number, where it was measured under the same protocol; others stand in a"
    " table of their own.",
}


def collect(metric_files: Sequence[Path]) -> pd.DataFrame:
    """Table of the experiments that the files ``…/METHOD/EXPERIMENT/METRIC.json`` belong to.

    Columns ending in "in" are of the corrupted input, "real" of real images, "pub." published; "95 %" is
    the interval of the value before it, and of shares their number of cases. Rows of one ``group`` may be
    compared with each other; ``protocol`` is the hash of the FID's protocol.
    """
    found: dict[tuple[str, str], dict[str, Metric]] = {}
    for file in metric_files:
        method, experiment = file.parts[-3], file.parts[-2]
        found.setdefault((method, experiment), {})[file.stem] = protocol.read_metric(file)
    rows = zip(protocol.groups(list(found.values())), found.items(), strict=True)
    return tables.table([_row(group, *name, metrics) for group, (name, metrics) in rows])


def notes_of(frame: pd.DataFrame) -> list[str]:
    """What a reader must know of the columns of a table."""
    return [note for pattern, note in NOTES.items() if any(re.search(pattern, str(c)) for c in frame)]


def _row(group: str, method: str, experiment: str, metrics: dict[str, Metric]) -> Json:
    values: Json = {}
    held = HELD if _holds_originals(metrics) else ""
    for column, (metric, value, scale) in COLUMNS.items():
        known = metrics[metric]["values"] if metric in metrics else {}
        if (number := known.get(value)) is not None:
            column += held if metric == "fid" else ""
            values |= {column: number * scale, **_interval(column, known, value, scale)}
    any_metric = next(iter(metrics.values()))
    how = any_metric["made_with"]["settings"]
    fid = metrics.get("fid", any_metric)
    return {
        "experiment": f"{how.get('method', method)}/{experiment}",
        "group": group,
        "dataset": how["dataset"],
        "n": fid["protocol"]["n"],
        **_reference(metrics),
        **({"NFE": how["sample"]["nfe"]} if "sample" in how else {}),
        **_stored(metrics),
        **values,
        **_published(method, experiment, how, metrics),
        "protocol": fid["protocol_hash"][:8],
    }


def _stored(metrics: dict[str, Metric]) -> dict[str, str]:
    """How the pixels that were measured became whole numbers."""
    quantisations = [metric["protocol"].get("quantisation") for metric in metrics.values()]
    return next(({BITS: word} for how, word in WORDS.items() if how in quantisations), {})


def _interval(column: str, known: Json, value: str, scale: float) -> dict[str, str]:
    """The column with the 95 % interval of a value, and of a share with the number of its cases."""
    if known.get(f"{value}_low") is None:
        return {}
    low, high = (scale * known[f"{value}_{end}"] for end in ("low", "high"))
    if "%" in column:
        return {column.replace("%", "95 %"): f"{low:.1f} to {high:.1f}, n {known[f'{value}_n']}"}
    digits = max(1, 1 - math.floor(math.log10(high - low))) if high > low else 4
    return {f"{column} 95 %": f"{low:.{digits}f} to {high:.{digits}f}"}


def _reference(metrics: dict[str, Metric]) -> Json:
    """What the FID is to, and the number of real images of the floor where it is another than n."""
    measured = metrics["fid"]["protocol"] if "fid" in metrics else {}
    if "n" not in (measured.get("reference") or {}):
        return {}
    found = protocol.protocol_columns(measured)
    return {key: found[key] for key in ("n real", "reference") if key in found}


def _holds_originals(metrics: dict[str, Metric]) -> bool:
    return "fid" in metrics and bool((metrics["fid"]["protocol"].get("reference") or {}).get("originals"))


def _published(method: str, experiment: str, how: Json, metrics: dict[str, Metric]) -> Json:
    """Published numbers that were measured as ours were."""
    numbers = [p for p in load_published() if is_of(p, method, experiment, how) and p.metric in PUBLISHED]
    return {
        PUBLISHED[p.metric] + (HELD if p.same.get("originals") else ""): p.value
        for p in numbers
        if p.metric in metrics and comparable.beside(p, metrics[p.metric])
    }
