"""The published networks: their architectures, and what an experiment that imports their weights must say.

Free of torch, so that params.yaml is compared with them before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from bridgepipe.names import IMAGENET_CLASSES, Json
from bridgepipe.names.degradations import MIXTURE

SIZE = 256
# guided-diffusion's multipliers where the file says '' and gives the image size only
CHANNEL_MULT: dict[int, tuple[float, ...]] = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
}
ADM_256: Json = {
    "image_size": SIZE,
    "in_channels": 3,
    "model_channels": 256,
    "out_channels": 6,
    "num_res_blocks": 2,
    "attention_resolutions": (8, 16, 32),
    "channel_mult": CHANNEL_MULT[256],
    "num_heads": 4,
    "num_head_channels": 64,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}
IDDPM_256 = ADM_256 | {"model_channels": 128, "num_res_blocks": 1, "attention_resolutions": (16,)}
CLASSIFIER_256 = ADM_256 | {"model_channels": 128, "out_channels": IMAGENET_CLASSES}
DDPM_256: Json = {
    "image_size": SIZE,
    "in_channels": 3,
    "ch": 128,
    "out_ch": 3,
    "num_res_blocks": 2,
    "attn_resolutions": (16,),
    "ch_mult": (1, 1, 2, 2, 4, 4),
}
DDPM_32 = DDPM_256 | {"image_size": 32, "ch_mult": (1, 2, 2, 2)}
POINTS_2D: Json = {"model_channels": 256, "num_res_blocks": 3, "frequencies": 0}
# decided by the data and the process, or by another key
IMPLIED = ("image_size", "in_channels", "out_channels", "out_ch", "num_heads")


@dataclass(frozen=True)
class Weights:
    """What an experiment must say to import a file of sources.yaml.

    Attributes:
        method: folder of its results.
        network: arguments of the network's constructor.
        says: other keys and their values.
        size: side of the images; None for points.
        classes: number of classes of the data; None: any.
        trained_on: source of the data that the weights know, and its category or domain; None: any.
    """

    method: str
    network: Mapping[str, Any]
    says: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = SIZE
    classes: int | None = None
    trained_on: tuple[str, str | None] | None = None

    @property
    def settings(self) -> Json:
        """Dotted keys of the experiment and their values."""
        network = {f"network.{k}": v for k, v in self.network.items() if k not in IMPLIED}
        return {**self.says, **network}

    def differences(self, experiment: Any) -> Iterator[tuple[str, str, str]]:
        """Keys of an experiment that say something else: key, what is expected, what is found."""
        for key, expected in self.settings.items():
            found = reduce(lambda section, part: getattr(section, part, None), key.split("."), experiment)
            if not _agrees(found, expected):
                yield key, _shown(expected), _shown(found)


def _agrees(found: Any, expected: Any) -> bool:
    if isinstance(expected, tuple) and isinstance(found, str):
        return found in expected
    if isinstance(expected, tuple | list) and isinstance(found, Iterable):  # a list where a card says it
        return list(found) == list(expected)
    return bool(found == expected)


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        texts = all(isinstance(part, str) for part in value)
        return " or ".join(value) if texts and value else f"[{', '.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _i2sb(corruption: str) -> Json:
    noisy = corruption.startswith(("jpeg", "sr4x"))
    beta_max, ot_ode = (0.3, False) if noisy else (1.0, True)
    return {"corruption": corruption, "interval": 1000, "beta_max": beta_max, "ot_ode": ot_ode}


def _gaussian(learned: bool, **more: Any) -> Json:
    variance = "learned_range" if learned else ("fixed_small", "fixed_large")
    process = {"schedule": "linear", "T": 1000, "prediction": "eps", "variance": variance}
    return {**{f"process.{k}": v for k, v in process.items()}, **more}


# name in sources.yaml -> what goes with it; a tuple of texts: one of them
WEIGHTS: dict[str, Weights] = {
    **{f"i2sb/{name}": Weights("i2sb", ADM_256, _i2sb(name)) for name in MIXTURE},
    "adm/256x256_diffusion": Weights(
        "model", {"kind": "adm", **ADM_256}, _gaussian(True, conditional=True), classes=IMAGENET_CLASSES
    ),
    "adm/256x256_diffusion_uncond": Weights(
        "model", {"kind": "adm", **ADM_256}, _gaussian(True, conditional=False)
    ),
    "adm/256x256_classifier": Weights(
        "guide",
        CLASSIFIER_256,
        {"process.schedule": "linear", "process.T": 1000, "pool": "attention"},
        classes=IMAGENET_CLASSES,
    ),
    "ilvr/afhq-dog": Weights(
        "model",
        {"kind": "adm", **IDDPM_256},
        _gaussian(True, conditional=False),
        trained_on=("afhq", "dog"),
    ),
    "dps/ffhq": Weights("model", {"kind": "adm", **IDDPM_256}, _gaussian(True, conditional=False)),
    **{
        f"sdedit/{name}": Weights("model", {"kind": "ddpm", **DDPM_256}, _gaussian(False), trained_on=data)
        for name, data in {
            "celebahq": ("celebahq", None),
            "bedroom": ("lsun", "bedroom"),
            "church": ("lsun", "church_outdoor"),
        }.items()
    },
    **{
        f"google/ddpm-{name}-256": Weights(
            "model", {"kind": "ddpm", **DDPM_256}, _gaussian(False), trained_on=data
        )
        for name, data in {
            "celebahq": ("celebahq", None),
            "ema-bedroom": ("lsun", "bedroom"),
            "ema-church": ("lsun", "church_outdoor"),
        }.items()
    },
    "google/ddpm-cifar10-32": Weights(
        "model", {"kind": "ddpm", **DDPM_32}, _gaussian(False), size=32, trained_on=("cifar10", None)
    ),
    "ddib/synthetic": Weights(
        "ddib/sample",
        POINTS_2D,
        {"process.schedule": "linear", "process.T": 4000, "process.prediction": "eps"},
        size=None,
    ),
}
