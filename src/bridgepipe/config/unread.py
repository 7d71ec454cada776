"""Keys whose values would be ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridgepipe.config.boundary import BoundarySearch
from bridgepipe.config.colors import ColorTransfer
from bridgepipe.config.ddib import ClassTranslation
from bridgepipe.config.gaussian import Generation, Guide, Model
from bridgepipe.config.i2sb import I2SB
from bridgepipe.config.points import PointModel, PointTranslation
from bridgepipe.config.values import Strict

Rule = tuple[Callable[[Any], bool], str]
PUBLISHED: Rule = (lambda e: e.train.published is None, "the weights are imported, not trained")
TRAINING = (
    "steps",
    "batch_size",
    "lr",
    "lr_gamma",
    "lr_step",
    "lr_anneal_steps",
    "weight_decay",
    "ema",
    "grad_clip",
    "keep_every",
    "validation",
)
TRAINED = {f"train.{key}": PUBLISHED for key in (*TRAINING, "flip", "seed", "log_every", "init")}
ORDINARY: Rule = (lambda e: e.train.distil is None, "a student is trained where its calls are")
HEADS: Rule = (lambda e: getattr(e.network, "num_head_channels", -1) == -1, "num_head_channels decides")
SPECTRAL: Rule = (
    lambda e: e.process.schedule == "shortest_path",
    "it applies to schedule: shortest_path only",
)
SPECTRUM = {f"process.{key}": SPECTRAL for key in ("c1", "c2", "m", "variant")}
IMPLICIT: Rule = (lambda e: e.sample.sampler == "implicit", "it applies to the implicit sampler only")
GUIDED: Rule = (lambda e: e.sample.guidance != "none", "sample.guidance is none")
SAMPLED: Rule = (lambda e: e.edit.source == "samples", "it applies to edit.source: samples only")
JUDGED: Rule = (lambda e: e.evaluate.classifier is None, "evaluate.classifier gives the attribute")
ALL_STEPS: Rule = (lambda e: e.translate.nfe is not None, "every step is taken")
OF_IMAGES: Rule = (lambda _: False, "translations are compared with images of their target")
READ: dict[type[Strict], dict[str, Rule]] = {
    I2SB: {
        "mask_file": (lambda e: e.masked, "only freeform holes take masks from a file"),
        "sample.eta": IMPLICIT,
        "sample.order": IMPLICIT,
        "sample.solver": IMPLICIT,
        "sample.dataset": (lambda e: not e.sample.whole, "sample.whole is true"),
        "train.new_channels": (
            lambda e: e.cond_x1 and e.train.init is not None,
            "it applies to cond_x1 with train.init only",
        ),
        "train.distil": PUBLISHED,
        **dict.fromkeys(("train.at_end", "train.clean"), ORDINARY),
        "network.num_heads": HEADS,
        **TRAINED,
    },
    Model: {"network.num_heads": HEADS, **SPECTRUM, **TRAINED},
    Guide: {"network.num_heads": HEADS, **SPECTRUM, **TRAINED},
    PointModel: TRAINED,
    Generation: {"sample.eta": (lambda e: e.sample.sampler == "ddim", "it applies to the ddim sampler only")},
    ClassTranslation: {
        "guide": (lambda e: e.sample.guidance == "classifier", "sample.guidance is not classifier"),
        "evaluate.label": (lambda e: e.evaluate.classifier is not None, "evaluate.classifier is null"),
        **dict.fromkeys(("evaluate.statistics", "evaluate.released"), OF_IMAGES),
        "sample.guide_weights": (
            lambda e: e.guide is not None and e.sample.guidance == "classifier",
            "sample.guidance is not classifier, or there is no guide",
        ),
        "sample.scale_encode": GUIDED,
        "sample.scale_decode": GUIDED,
    },
    PointTranslation: {"translate.spacing": ALL_STEPS},
    ColorTransfer: {"translate.spacing": ALL_STEPS},
    BoundarySearch: {
        "edit.generate": SAMPLED,
        "edit.raw_h": SAMPLED,
        "edit.eta": (lambda e: e.edit.kind == "ddim", "it applies to edit.kind: ddim only"),
        "edit.solver": (
            lambda e: e.edit.kind == "ddim" and not e.edit.eta,
            "it applies to deterministic decoding only",
        ),
        **{f"evaluate.judge.{key}": JUDGED for key in ("steps", "batch_size", "lr", "seed")},
    },
}


def unread(e: Any, own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that an experiment sets itself although nothing reads them, and why.

    Args:
        e: the merged experiment.
        own: the keys that it sets itself, without inherited ones.
    """
    for kind, rules in READ.items():
        for key, (read, why) in rules.items() if isinstance(e, kind) else ():
            if _written(own, key.split(".")) and not read(e):
                yield key, why


def _written(own: Any, keys: list[str]) -> bool:
    """Whether a value other than null or false is set."""
    for key in keys:
        own = own.get(key) if isinstance(own, Mapping) else None
    return own is not None and own is not False
