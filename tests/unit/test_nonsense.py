"""Typos and nonsense in params.yaml: each is one line with its key when the file is read, never later.

`GENERIC` tries what is wrong in any field of a kind, in every field of every section; `DIRECTED` what is
wrong in one place only: names of something else, numbers that the rest of the file rules out, values that
nothing reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from bridgepipe import config, names
from bridgepipe.errors import UserError
from bridgepipe.names import degradations
from bridgepipe.photographs import samples

ROOT = Path(__file__).parents[2]
KEPT = {
    "model": [
        "ddpm",
        "photos",
        "conditional",
        "digits-low",
        "digits-high",
        "imagenet256",
        "afhq-dog",
        "celebahq",
    ],
    "guide": ["digits", "imagenet256"],
    "ddib/classes": ["3-8", "3-8-free", "3-8-separate", "260-261"],
    "spd": ["ddim"],
    "ddib/sample": ["moons", "checkerboard"],
    "ddib/points": ["moons-checkerboard"],
    "ddib/cloud": ["china-rgb", "flower-rgb", "china-lab"],
    "ddib/color": ["rgb"],
    "boundary": ["loop", "ink", "slant", "warmth", "smiling", "dog"],
    "i2sb": ["jpeg-5", "inpaint-freeform1020", "sr4x-pool", "edges"],
}


def base() -> dict[str, Any]:
    """The shipped file, with few experiments of every method."""
    values = config.read_yaml(ROOT / "params.yaml")
    for method, kept in KEPT.items():
        values["experiments"][method] = {name: values["experiments"][method][name] for name in kept}
    return values


TEXT = json.dumps(base())


def refused(path: str, value: Any, scale: str = "demo") -> str:
    """The line that answers one wrong value; keys of the path are set off by spaces."""
    values = {**json.loads(TEXT), "scale": scale}
    *sections, key = path.split()
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    place[key] = value
    with pytest.raises(UserError) as error:
        config.Resolved(values)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 800, line
    return line


# every field of every section

NAN, HUGE = math.nan, 10**20
GENERIC: dict[Any, list[Any]] = {
    int: ["x", NAN, math.inf, -(10**9), HUGE, -HUGE, 2.5, True, [], {}],
    float: ["x", NAN, math.inf, -math.inf, HUGE, -HUGE, 1e300, True, [], {}],
    bool: ["yes", 1, 0.5, [], {}],
    str: [3, "", 2.5, True, ["a"], {}],
    tuple: ["x", 7, [{}], {"a": 1}, [NAN], [[[]]]],
    dict: ["x", 7, ["a"], {"": {}}, {"a/b": {}}, {"x": 7}],
    Literal: ["nonsense", "", 2.5, [], {}],
}
SECTIONS = {
    "experiments i2sb jpeg-5": config.I2SB,
    "experiments model ddpm": config.Model,
    "experiments guide digits": config.METHODS["guide"],
    "experiments spd ddim": config.METHODS["spd"],
    "experiments boundary loop": config.METHODS["boundary"],
    "experiments ddib/sample moons": config.METHODS["ddib/sample"],
    "experiments ddib/points moons-checkerboard": config.METHODS["ddib/points"],
    "experiments ddib/cloud china-rgb": config.METHODS["ddib/cloud"],
    "experiments ddib/color rgb": config.METHODS["ddib/color"],
    "experiments ddib/classes 3-8": config.METHODS["ddib/classes"],
    "runtime": config.Runtime,
    "extractors digits-classifier": config.Extractor,
}


def members(annotation: Any) -> list[Any]:
    """Types of a union, without None."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [m for a in get_args(annotation) for m in members(a) if m is not type(None)]
    return [annotation]


def leaves(model: type[BaseModel], path: str) -> Iterator[tuple[str, list[Any]]]:
    """Path and types of every value in a section, and in the sections inside it."""
    for name, field in model.model_fields.items():
        inside = [m for m in members(field.annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
        if inside:
            yield from leaves(inside[0], f"{path} {name}")
        elif name not in ("kind", "source") or path.startswith("extractors"):
            yield f"{path} {name}", [get_origin(m) or m for m in members(field.annotation)]


FIELDS = {path: kinds for section, model in SECTIONS.items() for path, kinds in leaves(model, section)}
SOURCES = {
    f"datasets {name} {key}": kinds
    for name, model in config.SOURCES.items()
    for key, kinds in leaves(model, "")
    for key in [key.strip()]
}


def generic(kinds: list[Any]) -> Iterator[Any]:
    """Values that none of the types takes."""
    for kind in kinds:
        for value in GENERIC[kind]:
            right = {type(value)} & set(kinds) and type(value) is not kind
            number = isinstance(value, int | float) and not isinstance(value, bool) and int in kinds
            if not right and not (number and kind is not int):
                yield value


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_refuses_what_no_field_of_its_kind_takes(path: str) -> None:
    for value in generic(FIELDS[path]):
        if value == "" and path.endswith("respacing"):
            continue  # all times
        line = refused(path, value)
        assert path.split()[-1] in line, (value, line)


REQUIRED = {
    "folder": {"path": "x"},
    "hf": {"path": "x"},
    "webdataset": {"path": "x"},
    "pairs": {"path": "x"},
    "imagenet": {"path": "x"},
    "i2sb-lmdb": {"path": "x"},
    "lsun": {"path": "x", "category": "tower"},
    "points": {"domain": "moons"},
    "colors": {"image": "china"},
    "digit-classes": {"classes": [1, 2]},
}


@pytest.mark.parametrize("path", SOURCES)
def test_every_field_of_a_source_too(path: str) -> None:
    _, source, *keys = path.split()
    for value in generic(SOURCES[path]):
        for key in reversed(keys[1:]):
            value = {key: value}
        line = refused("datasets mine", {"source": source, **REQUIRED.get(source, {}), keys[0]: value})
        assert keys[-1] in line, (value, line)


# what is wrong in one place: path, value, what the line says

J, M, G, S = (f"experiments {m}" for m in ("i2sb jpeg-5", "model ddpm", "guide digits", "spd ddim"))
B, C, P = (
    "experiments boundary loop",
    "experiments ddib/classes 3-8",
    "experiments ddib/points moons-checkerboard",
)
INK, SLANT = ("experiments boundary ink", "experiments boundary slant")
SPECTRAL = {"schedule": "shortest_path"}
THREES = {"attribute": "3", "against": "8", "scales": ["demo"]}
D, COLOR = "experiments ddib/sample moons", "experiments ddib/color rgb"
PAPER = {"celebahq", "imagenet256", "afhq-dog"}  # exist at that scale only
EIGHT = {"source": "digits", "size": 8}
DIRECTED: list[tuple[str, Any, str]] = [
    # corruptions
    *[
        (f"{J} corruption", value, "did you mean 'jpeg-")
        for value in ("jepg-5", "jpeg", "jpeg-0", "jpeg-101", "jpeg--5", "jpeg-05", "JPEG-5", "jpeg-5 ")
    ],
    (f"{J} corruption", "sr4x_pool", "did you mean 'sr4x-pool'"),
    (f"{J} corruption", "blur-gaus", "did you mean 'blur-gauss'"),
    (f"{J} corruption", "inpaint-freeform4050", "inpaint-freeform"),
    (f"{J} corruption", "mixtures", "did you mean 'mixture'"),
    *[
        (f"{J} corruption", value, said)
        for value, said in (
            ("jpeg-file", "did you mean 'jpeg-file-5'"),
            ("jpeg-file-0..40", "takes a quality of 1 to 100, or a range"),
            ("jpeg-file-5..101", "takes a quality of 1 to 100, or a range"),
            ("jpeg-file-40..5", "did you mean 'jpeg-file-5..40'"),
            ("jpeg-file-5..5", "a range goes up"),
            ("jpeg-file-5-40", "did you mean 'jpeg-file-5..40'"),
            ("jpeg-file-5.5", "jpeg-file-5"),
            ("jpeg-file-5-log", "did you mean 'jpeg-file-5..100-log'"),
            ("jpeg-file-5-422", "jpeg-file-5"),
            ("jpeg-file-5-twice-444", "jpeg-file-5"),
            ("webp-file-5..400", "webp-file takes a quality"),
            ("noise", "did you mean 'noise-"),
            ("noise-0", "noise takes a standard deviation in grey levels of 0.1 to 255"),
            ("noise-5..", "noise-5..50"),
            ("poisson-0.5", "photons at white of 1 to 10000, or a range as in poisson-10..100"),
            ("downscale-2", "downscale-2-bicubic"),
            ("downscale-2-cubic", "downscale-2-bicubic"),
            ("downscale-0.5-box", "a factor of 1 to 16"),
            ("motion-64", "a length in pixels of 1 to 63"),
            ("defocus-r3", "defocus-3"),
            ("scratches-1.5", "scratches"),
            ("gray", "did you mean 'grey'"),
            ("grey-1", "did you mean 'grey'"),
            ("shuffle:grey", "nothing to shuffle: did you mean 'grey'"),
            ("noise-25+inpaint-center", "inpaint-center cannot be a part of a chain"),
            ("noise-25+jpeg-5", "jpeg-5 cannot be a part of a chain"),
            ("noise-25+", "did you mean"),
            ("noise-25+jpg-file-5", "did you mean 'jpeg-file-5'"),
            ("shuffle:noise-25+shuffle:grey", "did you mean"),
            ("noise-50..5+grey", "did you mean 'noise-5..50'"),
            ("paired+grey", "did you mean 'paired'"),
        )
    ],
    (f"{J} corruption", "paired", "goes with a dataset of pairs"),
    ("experiments i2sb edges corruption", "jpeg-5", "goes with a dataset of pairs"),
    # sizes of images and networks
    (f"{J} dataset", "digits-8", "unknown name 'digits-8'"),
    ("datasets digits", {"source": "digits", "size": 24}, "multiples of 16 pixels, not 24 x 24"),
    ("datasets digits", {"source": "digits", "size": 30}, "30 x 30"),
    ("datasets digits", EIGHT, "8 x 8"),
    ("datasets digits-16", {"source": "digits", "size": 18}, "divide by 4, not 18 x 18 pixels"),
    (f"{J} sample dataset", "digits-16", "16 x 16 pixels, not 32 x 32"),
    (f"{J} sample dataset", "photo-edges", "one dataset is pairs"),
    (f"{J} sample dataset", "moons", "moons is points, not images"),
    (f"{J} dataset", "china-rgb", "china-rgb is colors, not images"),
    (f"{M} dataset", "moons", "moons is points, not images"),
    (f"{D} dataset", "digits", "digits is images, not points"),
    (f"{D} dataset", "china-rgb", "china-rgb is colors, not points"),
    ("experiments ddib/cloud china-rgb dataset", "moons", "moons is points, not colors"),
    (f"{J} network", {"channel_mult": []}, "network.channel_mult"),
    (f"{J} network", {"channel_mult": [0]}, "is 0"),
    (f"{J} network", {"channel_mult": [1, -1]}, "is -1"),
    (f"{J} network", {"channel_mult": [1, 1.5]}, "is 1.5"),
    (f"{J} network", {"channel_mult": [1] * 7}, "7 levels need sides that divide by 64"),
    (f"{J} network", {"channel_mult": [1] * 10}, "channel_mult"),
    (f"{J} network", {"attention_resolutions": [3]}, "no level has the rate 3; the levels have 1, 2, 4, 8"),
    (f"{J} network", {"attention_resolutions": [16]}, "no level has the rate 16"),
    (f"{J} network", {"attention_resolutions": [0]}, "no level has the rate 0"),
    (f"{J} network", {"attention_resolutions": [-8]}, "no level has the rate -8"),
    (f"{J} network", {"attention_resolutions": [8, 8]}, "8 comes twice"),
    (f"{J} network", {"model_channels": 48}, "multiple of 32"),
    (f"{J} network", {"model_channels": 16}, "is 16"),
    (f"{J} network", {"model_channels": 0}, "is 0"),
    (f"{J} network", {"num_heads": 5}, "do not divide by 5"),
    (f"{J} network", {"num_heads": 0}, "is 0"),
    (f"{J} network", {"num_head_channels": 48}, "do not divide by 48"),
    (f"{J} network", {"num_head_channels": 0}, "do not divide by 0"),
    (f"{J} network", {"num_head_channels": -2}, "is -2"),
    (
        f"{J} network",
        {"num_heads": 2, "num_head_channels": 32},
        "nothing reads it: num_head_channels decides",
    ),
    (f"{J} network", {"num_res_blocks": 0}, "is 0"),
    (f"{J} network", {"dropout": 1.0}, "is 1.0"),
    (f"{M} network", {"attention_resolutions": [8]}, "no level has the rate 8"),
    (f"{G} network", {"channel_mult": [1] * 5, "attention_resolutions": []}, "leave one pixel of 32"),
    (f"{G} network", {"attention_resolutions": [16]}, "no level has the rate 16"),
    (
        f"{M} network",
        {"kind": "ddpm", "ch": 32, "ch_mult": [1, 2], "attn_resolutions": [5]},
        "no level has 5",
    ),
    (f"{M} network", {"kind": "ddpm", "ch": 40}, "multiple of 32"),
    (f"{M} network", {"kind": "ddpm", "ch_mult": [1] * 6, "attn_resolutions": [16]}, "6 levels"),
    (f"{M} network", {"kind": "ddpm", "channel_mult": [1]}, "unknown key 'channel_mult'"),
    (f"{M} network", {"kind": "adn"}, "unknown kind 'adn'"),
    (f"{D} network", {"model_channels": 32}, "is 32"),
    (f"{D} network", {"frequencies": 9}, "is 9"),
    # the bridge
    (f"{J} interval", 10**9, "is 1000000000"),
    (f"{J} interval", 7, "multiple of 2"),
    (f"{J} interval", 8, "sample.nfe must be below interval (8)"),
    (f"{J} t0", 2.0, "t0 must be below T"),
    (f"{J} t0", 0.0, "is 0"),
    (f"{J} T", 1e-5, "t0 must be below T"),
    (f"{J} beta_max", 0.0, "is 0"),
    (f"{J} beta_max", 1e6, "is 1000000"),
    (f"{J} sample", {"nfe": 1000}, "sample.nfe must be below interval"),
    (f"{J} sample", {"nfe": 0}, "is 0"),
    (f"{J} sample", {"eta": 0.5}, "nothing reads it: it applies to the implicit sampler only"),
    (f"{J} sample", {"order": 1}, "nothing reads it: it applies to the implicit sampler only"),
    (f"{J} sample", {"solver": "heun"}, "nothing reads it: it applies to the implicit sampler only"),
    (f"{J} sample", {"sampler": "implicit", "eta": 0.5}, "eta must be 0 or 1 at order 2"),
    (f"{J} sample", {"sampler": "implicit", "order": 3}, "eta must be 0 at order 3"),
    (f"{J} sample", {"sampler": "implicit", "solver": "heun"}, "solver heun takes order 2 and eta 0"),
    (f"{J} sample", {"sampler": "implicit", "solver": "euler"}, "midpoint"),
    (f"{J} sample", {"sampler": "implict"}, "implicit"),
    (f"{J} sample", {"spacing": "log-snr"}, "log_snr"),
    (f"{J} sample", {"count": 360}, "360 of the 359 items of split test"),
    (f"{J} sample", {"count": 181, "split": "val"}, "181 of the 180 items"),
    (f"{J} sample", {"split": "tests"}, "'test'"),
    (f"{J} sample", {"whole": True, "dataset": "digits"}, "nothing reads it: sample.whole is true"),
    (f"{J} study", {"nfe": []}, "study.nfe"),
    (f"{J} study", {"nfe": [5, 5]}, "5 comes twice"),
    (f"{J} study", {"nfe": [1000]}, "study.nfe must stay below interval"),
    (f"{J} study", {"count": 360}, "360 of the 359 items"),
    (f"{J} study", {"samplers": {}}, "study.samplers"),
    (f"{J} study", {"walks": {"a": {}}}, "study.walks): write samplers"),
    (f"{S} study", {"walks": {"a": {}}}, "study.walks): write samplers"),
    (f"{B} evaluate", {"kept": ["even"]}, "evaluate.kept): write preserved"),
    (f"{P} cycle", {"a": {"keep": False}}, "cycle.a.keep): write state_pair"),
    (f"{J} study", {"samplers": {"a": {"eta": 1.0}}}, "eta is not read"),
    (f"{J} study", {"samplers": {"a": {"sampler": "implicit", "eta": 0.3}}}, "samplers.a.eta must be 0 or 1"),
    *[
        (f"{J} study", {"samplers": {name: {}}}, "study.samplers")
        for name in ("", " ", "a/b", "../x", "a: b", "a|b", "a\nb", " a", "x" * 61, "$x", "a $ b", "_a")
    ],
    *[
        (path, value, "cannot be seen")
        for hidden in ("\u200b", "\u202e", "\u2028", "\x7f", "\x1b", "\u00a0", "\ufeff", "\ue000")
        for text in (f"a{hidden}b",)
        for path, value in (
            (f"{J} study", {"samplers": {text: {}}}),
            (f"{S} study", {"samplers": {text: {}}}),
            (f"{P} cycle", {text: {}}),
            (f"{B} attribute", text),
            (f"{B} against", text),
            (f"{B} evaluate", {"preserved": [text]}),
            (f"{C} source", text),
            (f"{C} evaluate", {"label": text}),
            ("datasets", {text: {"source": "digits"}}),
            ("experiments spd", {text: {"model": "ddpm"}}),
        )
    ],
    *[
        (path, value, "'DDIM' and 'ddim' differ by case only")
        for path, value in (
            (f"{J} study", {"samplers": {"DDIM": {}, "ddim": {}}}),
            (f"{S} study", {"samplers": {"DDIM": {}, "ddim": {}}}),
            (f"{P} cycle", {"DDIM": {}, "ddim": {}}),
            ("datasets", {"DDIM": {"source": "digits"}, "ddim": {"source": "digits"}}),
            ("experiments spd", {"DDIM": {"model": "ddpm"}, "ddim": {"model": "spd"}}),
        )
    ],
    (f"{S} study", {"samplers": {"$e": {}}}, "none of : | / \\ $"),
    (f"{P} cycle", {"_obelm": {}}, "no _ first"),
    (f"{J} mask_file", "masks.npz", "nothing reads it: only freeform holes"),
    (f"{J} mask_file", "", "mask_file"),
    ("experiments i2sb sr4x-pool mask_file", "masks.npz", "nothing reads it: only freeform holes"),
    ("experiments i2sb inpaint-freeform1020 mask_file", "m.npz", "256 x 256 pixels, the images of 32 x 32"),
    # training
    (f"{J} train", {"lr": 0.0}, "is 0"),
    (f"{J} train", {"lr": 1e9}, "less than or equal to 1"),
    (f"{J} train", {"lr": -1e-4}, "greater than 0"),
    (f"{J} train", {"ema": 1.0}, "less than 1"),
    (f"{J} train", {"ema": -0.1}, "train.ema"),
    (f"{J} train", {"seed": -1}, "is -1"),
    (f"{J} train", {"seed": 2**64}, "train.seed"),
    (f"{J} train", {"batch_size": 10**12}, "train.batch_size"),
    (f"{J} train", {"steps": 0}, "is 0"),
    (f"{J} train", {"steps": 10**12}, "train.steps"),
    (f"{J} train", {"grad_clip": 0.0}, "is 0"),
    (f"{J} train", {"weight_decay": -0.1}, "train.weight_decay"),
    (f"{J} train", {"lr_gamma": 1.5}, "is 1.5"),
    (f"{J} train", {"log_every": 0}, "is 0"),
    (f"{J} train", {"init": "  "}, "visible characters"),
    (f"{J} train", {"init": "a\nb"}, "visible characters"),
    (f"{J} train", {"new_channels": "published"}, "it applies to cond_x1 with train.init only"),
    # published weights
    (f"{J} train", {"published": "i2sb/jpg-5"}, "unknown source 'i2sb/jpg-5'"),
    (f"{J} train", {"published": "cifar10/archive"}, "unknown source"),
    (f"{J} train", {"published": "i2sb/jpeg-10"}, "corruption jpeg-10, the experiment jpeg-5"),
    (f"{J} train", {"published": "i2sb/jpeg-5"}, "network.model_channels"),
    (f"{J} train", {"published": "i2sb/jpeg-5", "lr": 1e-3}, "nothing reads it: the weights are imported"),
    (
        f"{J} train",
        {"published": "i2sb/jpeg-5", "init": "x.pt"},
        "nothing reads it: the weights are imported",
    ),
    (f"{J} train", {"published": "adm/256x256_diffusion"}, "adm/256x256_diffusion is of model"),
    (f"{M} train", {"published": "i2sb/jpeg-5"}, "i2sb/jpeg-5 is of i2sb"),
    (f"{M} train", {"published": "adm/256x256_diffusion"}, "process.prediction eps"),
    (f"{G} train", {"published": "adm/256x256_classifier"}, "network.model_channels 128"),
    (f"{D} train", {"published": "sdedit/celebahq"}, "is of model"),
    (f"{D} train", {"published": "ddib/synthetic"}, "process.prediction eps"),
    ("experiments ddib/cloud china-rgb train", {"published": "ddib/synthetic"}, "no published weights"),
    ("experiments model celebahq train published", "ilvr/afhq-dog", "ilvr/afhq-dog has"),
    ("experiments model celebahq dataset", "cifar10", "256"),
    ("experiments model afhq-dog train published", "adm/256x256_diffusion", "conditional"),
    (
        "experiments model afhq-dog train published",
        "adm/256x256_diffusion_uncond",
        "network.model_channels 256",
    ),
    ("experiments model imagenet256 conditional", False, "conditional true, the experiment false"),
    ("experiments model imagenet256 dataset", "celebahq", "celebahq has no classes"),
    ("experiments guide imagenet256 dataset", "afhq", "1000 classes, afhq 3"),
    ("experiments model celebahq train published", "sdedit/church", "trained on lsun church_outdoor"),
    ("experiments model celebahq dataset", "lsun-church", "sdedit/celebahq was trained on celebahq, not on"),
    ("experiments model celebahq train published", "sdedit/bedroom", "trained on lsun bedroom"),
    ("experiments model afhq-dog dataset", "celebahq", "ilvr/afhq-dog was trained on afhq dog"),
    # networks beyond any memory
    (
        f"{M} network",
        {"model_channels": 2048, "channel_mult": [1, 64, 64]},
        "parameters; at most 2,000,000,000",
    ),
    (
        f"{J} network",
        {"model_channels": 2048, "channel_mult": [1, 1, 2, 2]},
        "at most 2,000,000,000 are taken",
    ),
    (f"{G} network", {"model_channels": 1024, "channel_mult": [1, 4, 8]}, "at most 2,000,000,000"),
    (
        f"{M} network",
        {"kind": "ddpm", "ch": 1024, "ch_mult": [1, 8], "attn_resolutions": []},
        "at most 2,000",
    ),
    # spectra without a schedule
    *[
        (f"{M} process", {**SPECTRAL, "c1": c1, "c2": c2, "m": m, "variant": "published"}, line)
        for c1, c2, m, line in (
            (1.0, 0.5, 300.0, "the power at frequency 0 is 10^90"),
            (1.0, 1.5, 300.0, "is 10^-"),
            (1e-300, 0.5, 2.0, "is 10^-299"),
            (1e-9, 0.5, 2.0, "lost to rounding"),
            (1.0, 1.0, 2.0, "the power at frequency 0 is 1, where"),
            (4.0, 1.0, 2.0, "the power at frequency 1 is 1, where"),
            (1.0, 1.0, 1e-9, "is 1, where"),
            (1e6, 1e6, 1.0, "is 1, where"),
            (1.59, 0.0086, 6.0, "lost to rounding"),
        )
    ],
    (f"{M} process", {**SPECTRAL, "c1": 1e-300, "c2": 0.5, "m": 2.0}, "lost to rounding"),
    (f"{M} process", {**SPECTRAL, "c1": 1.0, "c2": 0.5, "m": 300.0}, "lost to rounding"),
    # Gaussian models
    (f"{M} process", {"T": 20}, "needs T above 20"),
    (f"{M} process", {"T": 10**9}, "process.T"),
    (f"{M} process", {"T": 1}, "process.T"),
    (f"{M} process", {"schedule": "linaer"}, "linear"),
    (f"{M} process", {"schedule": "shortest_path", "variance": "learned"}, "needs a fixed variance"),
    (f"{M} process", {"schedule": "shortest_path", "c1": 1.0}, "c1, c2 and m go together"),
    (
        f"{M} process",
        {"c1": 1.0, "c2": 1.0, "m": 2.0},
        "nothing reads it: it applies to schedule: shortest_path only",
    ),
    (f"{M} process", {"variant": "exact"}, "nothing reads it: it applies to schedule: shortest_path only"),
    (f"{M} process", {"prediction": "epsilon"}, "eps"),
    (f"{M} conditional", True, ""),
    (f"{M} drop_labels", 0.1, "drop_labels needs conditional"),
    ("experiments model conditional drop_labels", 1.0, "is 1.0"),
    ("experiments model conditional dataset", "celebahq", "celebahq has no classes"),
    (f"{G} dataset", "lsun-church", "lsun-church has no classes"),
    (f"{G} dataset", "celebahq", "celebahq has no classes"),
    (f"{G} process", {"prediction": "v"}, "unknown key 'prediction'"),
    (f"{G} process", {"times": "uniform"}, "unknown key 'times'"),
    (f"{G} pool", "max", "attention"),
    (f"{D} process", {"schedule": "shortest_path"}, "linear"),
    (f"{D} process", {"variance": "learned"}, "unknown key 'variance'"),
    # samples
    (f"{S} model", "dpm", "unknown name 'dpm'"),
    (f"{S} sample", {"nfe": 1001}, "the process has 1000 steps"),
    (f"{S} sample", {"sampler": "obelm", "nfe": 2}, "nfe is 2 with obelm"),
    (f"{S} sample", {"spacing": "quad", "nfe": 100}, "no 100 distinct times of 1000"),
    (f"{S} sample", {"spacing": "leading", "nfe": 30}, "visits 31 times for 30"),
    (f"{S} sample", {"spacing": "trailing", "nfe": 999}, "visits 1000 times for 999"),
    (f"{S} sample", {"sampler": "ancestral", "eta": 1.0}, "eta applies to the ddim sampler only"),
    (f"{S} sample", {"sampler": "heun", "eta": 0.0}, "nothing reads it: it applies to the ddim sampler only"),
    (f"{S} sample", {"eta": -0.5}, "sample.eta"),
    (f"{S} sample", {"count": 1}, "is 1"),
    (f"{S} study", {"nfe": [2]}, "is 2"),
    (f"{S} study", {"nfe": [2000]}, "the process has 1000 steps"),
    (f"{S} study", {"samplers": {"a": {"sampler": "heun", "eta": 0.5}}}, "eta is not read"),
    (f"{S} study", {"samplers": {"a": {"spacing": "quad"}}}, "no 50 distinct times of 1000"),
    (
        f"{S} evaluate",
        {"extractor": "digits-classifier"},
        "trained on 32 x 32 pixels, the images have 16 x 16",
    ),
    (f"{S} evaluate", {"extractor": "inceptoin"}, "did you mean 'inception'"),
    (f"{S} evaluate", {"reference": "eval"}, "'test'"),
    (f"{J} evaluate", {"extractor": "digits-16-classifier"}, "trained on 16 x 16 pixels"),
    (f"{J} evaluate", {"classifier": "inception"}, "inception tells no classes"),
    (f"{J} evaluate", {"extractor": "edges-classifier"}, "photo-edges, which holds other pictures"),
    (
        f"{J} evaluate",
        {"classifier": "edges-classifier"},
        "knows the classes people, nature, buildings, objects, science, the images are 0",
    ),
    (f"{J} evaluate", {"classifier": "resnet50"}, "resnet50 knows the classes n01440764"),
    (f"{J} evaluate", {"classifier": "digits-16-classifier"}, "trained on 16 x 16 pixels"),
    # classes
    (f"{C} source", "three", "no class 'three'"),
    (f"{C} source", 10, "no class '10'"),
    (f"{C} source", -1, "source"),
    (f"{C} source", "", "source"),
    (f"{C} target", "11", "no class '11'"),
    (f"{C} target", 1.5, "target"),
    ("experiments guide digits", {"dataset": "digits-16-low"}, "of the guide has no class '8'"),
    (f"{C} evaluate", {"classifier": "resnet50"}, "resnet50 knows the classes n01440764"),
    (f"{C} evaluate", {"classifier": None, "label": 8}, "nothing reads it: evaluate.classifier is null"),
    (f"{C} source_model", "conditonal", "did you mean 'conditional'"),
    (f"{C} guide", "digit", "did you mean 'digits'"),
    ("experiments ddib/classes 3-8-free guide", "digits", "nothing reads it: sample.guidance"),
    ("experiments ddib/classes 3-8-separate source", 7, "no class '7'"),
    ("experiments ddib/classes 3-8-separate target", "2", "no class '2'"),
    ("experiments ddib/classes 3-8-separate evaluate label", 10, "no class '10'"),
    ("experiments ddib/classes 260-261 source", 1000, "no class '1000'"),
    ("experiments ddib/classes 260-261 source", 259, "imagenet256-pairs leaves class 259 out"),
    ("datasets imagenet256-pairs classes", [261, 1000], "1000"),
    ("experiments ddib/classes 260-261 target", "n99999999", "no class 'n99999999'"),
    (f"{C} sample", {"count": 38}, "38 of the 37 items of split test"),
    (f"{C} sample", {"count": 30, "split": "val"}, "30 of the 18 items of split val"),
    (f"{C} sample", {"dataset": "digits"}, "32 x 32"),
    (f"{C} sample", {"dataset": "moons"}, "moons is points"),
    (f"{C} sample", {"solver": "ddim", "grid": "ddb"}, "'ddib'"),
    (f"{C} sample", {"guidance": "none", "scale_decode": 2.0}, "nothing reads it: sample.guidance is none"),
    (f"{C} sample", {"scale_decode": -1.0}, "scale_decode"),
    *[
        (f"{C} sample", {"respacing": text}, "respacing")
        for text in (
            "log_snr",
            "log_snr 0",
            "log_snr 1",
            "log_snr 2",
            "log_snr 1001",
            "log_snr 9999999",
            "log snr 5",
            "1001",
            "0",
            "2",
            "1,1",
            "ddim",
            "ddim0",
            "ddim501",
            "uniform 0",
            "uniform 1001",
            "quad 400",
            "uniform-linspace 2000",
            "sideways 5",
            "ten",
            "5 ",
            "-5",
            "10,",
            "1e3",
            "uniform-leadin 5",
        )
    ],
    (f"{C} cycle", 0, "is 0"),
    (f"{C} cycle", 38, "38 of the 37 items of split test that are 3"),
    (f"{C} target", 3, "source and target are both class 3 of one model"),
    (f"{C} target", "3", "source and target are both class 3"),
    (f"{C} evaluate", {"label": 3}, "it is class 3 of digits-16-classifier, the target is 8"),
    (f"{C} evaluate", {"label": "9"}, "it is class 9 of digits-16-classifier, the target is 8"),
    ("experiments ddib/classes 3-8-separate evaluate label", 3, "the target is 8"),
    ("experiments ddib/classes 260-261 target", 260, "both class n"),
    ("experiments ddib/classes 260-261 cycle", 51, "51 of the 50 items of split val"),
    ("experiments ddib/classes 260-261 sample", {"count": 51}, "51 of the 50 items of split val"),
    ("experiments ddib/classes 260-261 evaluate label", 262, "of resnet50, the target is n"),
    # boundaries
    (f"{B} attribute", "lop", "did you mean 'loop'"),
    (f"{B} attribute", "Smiling", "no attribute 'Smiling'"),
    (f"{B} attribute", "11", "no attribute '11'"),
    (f"{B} attribute", "even", "names the attribute that is edited"),
    (f"{B} attribute", "has_loop", "the classes don't tell has_loop"),
    (f"{B} against", "loop", "must differ"),
    (f"{B} against", "ink", "no class 'ink'"),
    (f"{B} attribute", "warmth", "digits-16 has no attribute 'warmth'"),
    ("experiments boundary warmth search threshold", 1.5, "warmth is between -1.0 and 1.0"),
    ("experiments boundary warmth against", "nature", "measured on every image"),
    ("experiments boundary warmth evaluate preserved", ["ink"], "photos-32 has no attribute 'ink'"),
    (f"{B} against", "threes", "no class 'threes'"),
    (f"{B} evaluate", {"preserved": ["evn"]}, "did you mean 'even'"),
    (f"{B} evaluate", {"preserved": ["even", "even"]}, "'even' comes twice"),
    (f"{B} evaluate", {"preserved": ["has_loop"]}, "the classes don't tell has_loop"),
    (f"{B} evaluate", {"preserved": ["loop"]}, "names the attribute that is edited"),
    (
        f"{B} evaluate",
        {"preserved": ["even"], "classifier": None},
        "names even, which needs evaluate.classifier",
    ),
    (f"{B} evaluate", {"judge": {"steps": 5}}, "nothing reads it: evaluate.classifier"),
    (f"{B} evaluate", {"classifier": "inception"}, "inception tells no classes"),
    (f"{B} evaluate", {"extractor": "digits-classifier"}, "trained on 32 x 32"),
    (f"{B} model", "conditional", "model conditional is conditional"),
    (f"{B} dataset", "digits", "32 x 32 pixels, not 16 x 16"),
    (f"{B} dataset", "digits-16-low", "no attribute 'loop'"),
    (f"{B} search", {"t": 1000}, "take 1 to 999"),
    (f"{B} search", {"t": 0}, "is 0"),
    (f"{B} search", {"t": "atuo"}, "search.t"),
    (f"{B} search", {"t": 5}, "take at most 6"),
    (f"{B} search", {"split": "test"}, "split and test are both test"),
    (f"{B} search", {"images": 1}, "is 1"),
    (f"{B} search", {"images": 2000}, "2000 of the 1258 items"),
    (
        "experiments boundary ink search",
        {"images": 1000, "middle": 0.3},
        "1000 of the 881 images that search.middle: 0.3 leaves",
    ),
    (f"{B} search", {"threshold": 0.5}, "loop is either there or not"),
    (f"{B} search", {"middle": 0.3}, "loop is either there or not"),
    (f"{B} search", {"middle": 1.0}, "is 1.0"),
    (f"{B} search", {"C": 0.0}, "is 0"),
    (f"{B} against", "8", "no image of digits-16 lacks loop"),
    (f"{INK} against", "3", "ink is measured on every image"),
    *[
        (f"{INK} search threshold", value, "ink is between 0.1806 and 0.4229")
        for value in (50.0, -1.0, 0.0, 1.0, 0.5)
    ],
    (f"{SLANT} search threshold", 2.0, "slant is between"),
    (f"{INK} search", {"middle": 0.999}, "less than or equal to 0.95"),
    (f"{INK} search", {"middle": 0.9}, "200 of the 126 images that search.middle: 0.9 leaves"),
    (f"{INK} mixing", {"images": 900}, "900 of the 881 images that search.middle: 0.3 leaves"),
    (f"{INK} search", {"images": 1259}, "1259 of the 1258 images"),
    ("experiments boundary threes", {**THREES, "mixing": {"images": 300}}, "300 of the 250 items of split t"),
    ("experiments boundary threes", {**THREES, "search": {"images": 251}}, "train that are 3, 8"),
    ("experiments boundary threes", {**THREES, "mixing": {"folds": 123, "images": 246}}, "123 of the 122"),
    ("experiments boundary dog search threshold", 0.5, "dog is either there or not"),
    ("experiments boundary smiling mixing images", 21_001, "21001 of the 21000 items of split train"),
    ("experiments boundary smiling search images", 21_001, "21001 of the 21000 items of split train"),
    (f"{B} search", {"C_z": 1e-300}, "search.C_z"),
    ("experiments boundary dog mixing", {"images": 10_307}, "10307 of the 10306 items of split train"),
    (f"{B} mixing", {"last": 1000}, "take 1 to 999"),
    (f"{B} mixing", {"last": 10}, "there are 11 indices"),
    (f"{B} mixing", {"count": 1}, "is 1"),
    (f"{B} mixing", {"every": 25}, "none above 0 is measured"),
    (f"{B} mixing", {"folds": 150}, "150 folds need 300 images"),
    (f"{B} mixing", {"images": 5000}, "5000 of the 1258 items"),
    (f"{B} mixing", {"tolerance": 1.0}, "is 1.0"),
    (f"{B} inversion", {"count": 170}, "which may be 160"),
    (f"{B} edit", {"count": 170}, "which may be 160"),
    (f"{B} edit", {"images": 360}, "360 of the 359 items"),
    (f"{B} edit", {"start": 5.0, "end": 1.0}, "start must be below end"),
    (f"{B} edit", {"n": 0}, "is 0"),
    (f"{B} edit", {"h_steps": 12}, "there are 11 steps back"),
    (f"{B} edit", {"generate": 50}, "nothing reads it: it applies to edit.source: samples only"),
    (f"{B} edit", {"raw_h": True}, "raw_h is of edit.source: samples"),
    (f"{B} edit", {"kind": "ddpm", "eta": 0.5}, "nothing reads it: it applies to edit.kind: ddim only"),
    (f"{B} edit", {"eta": 1.0, "solver": "heun"}, "it applies to deterministic decoding only"),
    (f"{B} edit", {"variant": "published"}, "needs relative: false"),
    (f"{B} edit", {"source": "samples", "generate": 2000}, "2000 indices of 1000"),
    ("experiments boundary smiling attribute", "Smilling", "did you mean 'Smiling'"),
    ("experiments boundary smiling search", {"t": 1001}, "take 1 to 999"),
    ("experiments boundary dog against", "bird", "no class 'bird'"),
    (
        "experiments i2sb sr4x-pool evaluate",
        {"released": {"train": "a.npz"}, "kid": True},
        "kid needs images",
    ),
    ("experiments i2sb sr4x-pool evaluate", {"released": {"training": "a.npz"}}, "released"),
    ("experiments i2sb sr4x-pool evaluate", {"released": {}}, "released"),
    ("experiments ddib/classes 260-261 evaluate", {"released": {"val": "a.npz"}}, "images of their target"),
    ("experiments boundary dog attribute", "wolf", "no attribute 'wolf'"),
    # points and colours
    (f"{P} source", "moon", "did you mean 'moons'"),
    (f"{P} target", "moons", "source and target must differ"),
    (f"{P} translate", {"nfe": 2}, "is 2"),
    (f"{P} translate", {"nfe": 4001}, "4001"),
    (f"{P} translate", {"grid": "ddib"}, "grid must be exact"),
    (f"{P} translate", {"solver": "ddim", "nfe": None, "spacing": "quad"}, "nothing reads it: every step"),
    (f"{P} translate", {"spacing": "quad", "nfe": 200}, "no 200 distinct times of 4000"),
    (f"{P} cycle", {"a": {"solver": "ddim", "state_pair": False}}, "state_pair is not read"),
    (f"{P} cycle", {"a: b": {}}, "cycle"),
    (f"{P} cycle", {"DDIM, all steps": {}}, "which full: true adds"),
    (f"{P} count", 200_000, "200000 of the 100000 items"),
    (f"{P} cycle_count", 200_000, "200000 of the 100000 items"),
    (f"{P} exact", 10**6, "exact"),
    (f"{D} sample", {"nfe": 5000}, "the process has 4000 steps"),
    (f"{D} sample", {"solver": "ddim", "spacing": "quad", "nfe": 57}, "no 58 distinct times of 4000"),
    (f"{D} sample", {"latents": 200_000}, "200000 of the 100000 items"),
    ("experiments ddib/sample checkerboard process", {"T": 500}, "different processes"),
    (f"{COLOR} source", "flower-rgb", "must differ"),
    (f"{COLOR} source", "china-lab", "colours of lab and of rgb"),
    (f"{COLOR} sinkhorn", 1e-4, "sinkhorn"),
    (f"{COLOR} plan", 5, "is 5"),
    # datasets and extractors
    ("datasets mine", {"source": "digit-classes", "classes": [1, 1]}, "1 comes twice"),
    ("datasets mine", {"source": "digit-classes", "classes": []}, "classes"),
    ("datasets mine", {"source": "digit-classes", "classes": [10]}, "is 10"),
    ("datasets mine", {"source": "imagenet", "path": "x", "splits": []}, "splits"),
    ("datasets mine", {"source": "imagenet", "path": "x", "splits": ["val", "val"]}, "'val' comes twice"),
    ("datasets mine", {"source": "imagenet", "path": "x", "splits": ["train"], "subset": "y"}, "has no val"),
    ("datasets mine", {"source": "folder", "path": ""}, "path"),
    ("datasets mine", {"source": "folder", "path": " "}, "visible characters"),
    ("datasets mine", {"source": "folder", "path": "~nobody-here/a"}, "there is no user nobody-here here"),
    (f"{J} train", {"init": "~nobody-here"}, "there is no user nobody-here"),
    *[
        ("datasets mine", {"source": "folder", "path": "x", "size": size}, "one number, or two as [height")
        for size in ([64, 96, 3], [64], [])
    ],
    ("datasets mine", {"source": "folder", "path": "x", "size": ["64", 96]}, "write 64 without quotes"),
    (
        "datasets mine",
        {"source": "folder", "path": "x", "size": "64"},
        "a valid integer or a valid array; wr",
    ),
    (f"{B} search", {"t": "500"}, "'auto' or a valid integer; write 500 without quotes"),
    (f"{J} train", {"lr": "1e-4"}, "a valid number; write 0.0001 without quotes"),
    (f"{S} sample", {"sampler": "multistep"}, "did you mean 'multistep3'? nearest of 7: multistep3, m"),
    ("datasets mine", {"source": "lsun", "path": "x", "category": "church"}, "nearest of 10: church_outdoor"),
    ("runtime channels_last", "yes", "'auto' or a valid boolean"),
    (f"{C} sample", {"respacing": "log snr 5"}, "as in 'log_snr 50'"),
    ("datasets mine", {"source": "folder", "path": "x", "size": [256]}, "size"),
    ("datasets mine", {"source": "folder", "path": "x", "size": [256, 4]}, "datasets.mine.size"),
    ("datasets mine", {"source": "folder", "path": "x", "crop": "center"}, "adm"),
    ("datasets mine", {"source": "pairs", "path": "x", "layout": "folder"}, "folders"),
    ("datasets mine", {"source": "photos"}, "unknown source 'photos'"),
    *[
        ("datasets mine", {"source": "folder", "path": "x", "patches": {"size": 64}, **also}, "is not read")
        for also in ({"size": 64}, {"crop": "adm"})
    ],
    ("datasets mine", {"source": "folder", "path": "x", "patches": {"scales": [0]}}, "is 0"),
    ("datasets mine", {"source": "sample-photos", "size": 64}, "unknown key 'size'"),
    *[
        ("datasets mine", {"source": "sample-photos", "patches": patches}, said)
        for patches, said in (
            ({"size": 300}, "at most 256"),
            ({"size": 4}, "is 4"),
            ({"stride": 0}, "is 0"),
            ({"scales": []}, "scales"),
            ({"size": 256, "scales": [0.5]}, "at most 128"),
            ({"scales": [1, 2]}, "is 2"),
            ({"scales": [1, 1.0]}, "comes twice"),
            ({"sizes": 64}, "did you mean 'size'"),
        )
    ],
    *[
        ("datasets mine", {"source": "sample-photos", "classes": classes}, said)
        for classes, said in (
            ({}, "classes"),
            ({"a": ["cat"]}, "no photograph 'cat'"),
            ({"a": ["rocket"], "b": ["brick", "rocket", "coffee", "china"]}, "rocket is in two"),
            ({"a": ["rocket", "coffee"]}, "no photograph of test: china, flower, motorcycle"),
            ({"a": ["rocket", "coffee"], "b": ["china"]}, "class b: no photograph of train"),
        )
    ],
    ("datasets mine", {"source": "points", "domain": "moon"}, "moons"),
    ("datasets mine", {"source": "points", "domain": "moons", "count": 5}, "is 5"),
    ("datasets mine", {"source": "lsun", "path": "x", "category": "church"}, "church_outdoor"),
    ("datasets mine", {"source": "afhq", "domain": "wolf"}, "wild"),
    *[("datasets", {name: EIGHT}, "datasets") for name in ("../x", "a/b", "a b", ".x", "", "x" * 101, "é")],
    *[("experiments i2sb", {name: {}}, "i2sb") for name in ("../x", "a/b", "a b", ".x", "", "x" * 101)],
    *[
        ("experiments i2sb", {name: {}}, "is a file beside the experiments")
        for name in ("table.csv", "table.md", "nfe.png", "nfe.md")
    ],
    *[("extractors", {name: {"kind": "inception"}}, "extractors") for name in ("../x", "a/b", "a b", "")],
    ("extractors mine", {"kind": "inception", "dataset": "digits"}, "needed by kind: classifier"),
    ("extractors mine", {"kind": "classifier"}, "needed by kind: classifier"),
    ("extractors mine", {"kind": "inception", "steps": 5}, "steps is not read"),
    ("extractors mine", {"kind": "resnet", "dataset": "digits"}, "resnet50"),
    ("extractors mine", {"kind": "classifier", "dataset": "digit"}, "did you mean 'digits'"),
    ("extractors mine", {"kind": "classifier", "dataset": "celebahq"}, "celebahq has no classes"),
    ("extractors mine", {"kind": "classifier", "dataset": "moons"}, "moons is points"),
    ("extractors mine", {"kind": "classifier", "dataset": "cifar10"}, "cifar10 has no split val"),
    # runtime
    ("runtime batch_size", 10**12, "runtime.batch_size"),
    ("runtime partitions", 9999, "runtime.partitions"),
    ("runtime partitions", 0, "is 0"),
    ("runtime threads", 0, "is 0"),
    ("runtime processes", -1, "is -1"),
    ("runtime precision", "fp8", "bf16"),
    ("runtime device", "gpu", "cuda"),
    ("runtime save_every", 0, "is 0"),
    # sections that no experiment of the scale inherits
    ("scales demo boundary", {"modell": "x"}, "unknown key 'modell'"),
    ("scales spare", {"i2sb": {"intervall": 5}}, "scales.spare.i2sb.intervall"),
    ("scales spare", {"i2sb": {"study": {"walks": {}}}}, "scales.spare.i2sb.study.walks): write samplers"),
    ("scales spare", {"i2sb": {"train": {"lr": "fast"}}}, "scales.spare.i2sb.train.lr"),
    ("experiments i2sb jpeg-5 scales", ["demo", "demo"], "'demo' comes twice"),
]


@pytest.mark.parametrize("number", range(len(DIRECTED)))
def test_what_is_wrong_in_one_place(number: int) -> None:
    path, value, expected = DIRECTED[number]
    scale = "paper" if PAPER & set(path.split()) else "demo"
    assert expected in refused(path, value, scale), (path, value)


def own_folder(folder: Path, *classes: str) -> dict[str, Any]:
    """The small file with a model, a boundary and a translation of an own folder."""
    for name in classes:
        (folder / name).mkdir(parents=True)
    values = json.loads(TEXT)
    values["datasets"]["mine"] = {"source": "folder", "path": str(folder), "size": 16}
    values["experiments"]["model"]["mine"] = {"dataset": "mine"}
    values["extractors"]["mine"] = {"kind": "classifier", "dataset": "mine"}
    judged = {"extractor": "mine", "classifier": None, "preserved": []}
    values["experiments"]["boundary"]["mine"] = {
        "model": "mine",
        "dataset": "mine",
        "attribute": "cat",
        "against": "dog",
        "evaluate": judged,
        "scales": ["demo"],
    }
    return values


def test_classes_of_an_own_folder_are_known_before_anything_is_trained(tmp_path: Path) -> None:
    values = own_folder(tmp_path, "cat", "dog")
    config.Resolved(values)
    for key, wrong in (("attribute", "cats"), ("against", "dig")):
        edited = json.loads(json.dumps(values))
        edited["experiments"]["boundary"]["mine"][key] = wrong
        with pytest.raises(
            UserError, match=rf"mine has no folder '{wrong}' .*boundary.mine.{key}\): did you"
        ):
            config.Resolved(edited)


def test_colours_of_an_own_folder_are_measured_where_no_class_is_called_so(tmp_path: Path) -> None:
    values = own_folder(tmp_path / "mine", "cat", "warmth")
    mine = values["experiments"]["boundary"]["mine"]
    mine |= {"attribute": "brightness", "against": None}
    mine["search"] = {"threshold": 1.0}
    with pytest.raises(UserError, match=r"brightness is between 0.0 and 1.0, the threshold 1.0"):
        config.Resolved(values)
    mine["search"] = {"threshold": 0.5}
    mine["evaluate"] |= {"preserved": ["warmth"]}  # a class
    with pytest.raises(UserError, match=r"needs evaluate\.classifier"):
        config.Resolved(values)
    mine["evaluate"]["preserved"] = []
    assert "boundary/mine" in config.Resolved(values).experiments


def test_numbers_of_classes_of_an_own_folder_are_bounded_by_its_folders(tmp_path: Path) -> None:
    values = own_folder(tmp_path, "cat", "dog")
    values["experiments"]["model"]["mine"]["conditional"] = True
    del values["experiments"]["boundary"]["mine"]
    translated = {"source_model": "mine", "source": 0, "target": 1, "sample": {"guidance": "none"}}
    translated |= {"evaluate": {"extractor": "inception", "classifier": None}}
    values["experiments"]["ddib/classes"]["mine"] = translated
    config.Resolved(values)
    for key, number in (("source", 2), ("target", "7"), ("target", 10**9)):
        wrong = {**translated, key: number}
        edited = {**values, "experiments": {**values["experiments"], "ddib/classes": {"mine": wrong}}}
        with pytest.raises(UserError, match=rf"mine has no class {number}: it has 2 folders .*mine\.{key}"):
            config.Resolved(edited)


def test_a_conditional_model_needs_folders_of_classes(tmp_path: Path) -> None:
    values = own_folder(tmp_path)
    del values["experiments"]["boundary"]["mine"], values["extractors"]["mine"]
    values["experiments"]["model"]["mine"]["conditional"] = True
    with pytest.raises(UserError, match="mine has no classes"):
        config.Resolved(values)


def test_published_weights_are_compared_at_the_scale_in_use() -> None:
    values = json.loads(TEXT)
    values["experiments"]["i2sb"]["jpeg-5"]["train"] = {"published": "i2sb/jpeg-5"}
    resolved = config.Resolved({**values, "scale": "paper"})
    assert resolved.experiment("i2sb/jpeg-5").train.published == "i2sb/jpeg-5"
    values["experiments"]["i2sb"]["jpeg-5"]["beta_max"] = 1.0
    with pytest.raises(UserError, match=r"i2sb/jpeg-5 has beta_max 0\.3, the experiment 1\.0"):
        config.Resolved({**values, "scale": "paper"})


def test_every_corruption_of_the_list_can_be_built() -> None:
    from bridgepipe import corruptions

    for name in (*degradations.NAMES, "jpeg-1", "jpeg-100"):
        assert corruptions.build(name, 32).name == name


def test_digits_are_counted_as_they_are_divided() -> None:
    from collections import Counter

    from bridgepipe.datasets.digits import digit_items
    from bridgepipe.datasets.items import FRACTIONS, divide

    for seed in (0, 1):
        for split, items in divide(digit_items((8, 8)), FRACTIONS, seed).items():
            counts = Counter(item.label for item in items)
            assert tuple(counts[digit] for digit in range(10)) == names.DIGIT_COUNTS[split]


def test_measures_of_digits_lie_where_thresholds_may() -> None:
    from bridgepipe.datasets.digits import digit_items

    items = digit_items((8, 8))
    for name, (least, most) in ((n, names.RANGES[n]) for n in names.DIGIT_MEASURES):
        values = [item.attributes[name] for item in items]
        assert least == pytest.approx(min(values), abs=1e-4)
        assert most == pytest.approx(max(values), abs=1e-4)
    for name in ("even", "has_loop"):
        assert {str(item.label) for item in items if item.attributes[name]} == set(names.DIGITS_WITH[name])


@pytest.mark.parametrize("size", [16, 64, 150])
def test_patches_of_photographs_are_counted_as_they_are_cut(size: int) -> None:
    from bridgepipe.datasets.photos import patches_of

    patches = config.builtin.Patches(size=size, scales=(1.0, 0.3))
    dataset = config.builtin.SamplePhotos(source="sample-photos", patches=patches)
    for split, items in patches_of(samples.Grid(**patches.model_dump())).items():
        assert config.most_of(dataset, split) == len(items) == len(list(items))
        assert config.most_of(dataset, split, ["nature"]) == sum(item.label == 1 for item in items)
    two = {"cool": ("rocket", "china"), "warm": ("chelsea", "coffee")}
    dataset = dataset.model_copy(update={"classes": two})
    assert config.classes_of(dataset) == ("cool", "warm")
    for split, items in patches_of(samples.Grid(**patches.model_dump()), classes=two).items():
        assert config.most_of(dataset, split) == len(items)
        assert config.most_of(dataset, split, ["warm"]) == sum(item.label == 1 for item in items)


def test_networks_have_about_as_many_parameters_as_told() -> None:
    import torch

    from bridgepipe.config.networks import parameters
    from bridgepipe.networks import adm, ddpm

    def about(network: torch.nn.Module) -> Any:
        return pytest.approx(sum(p.numel() for p in network.parameters()), rel=0.05)

    wide, plain = (1, 1, 2, 2, 4, 4), (1, 2, 2)
    with torch.device("meta"):
        published = adm.UNet(
            256, 3, 256, 6, 2, (8, 16, 32), 0.0, wide, use_scale_shift_norm=True, resblock_updown=True
        )
        small = adm.UNet(16, 3, 32, 3, 1, (2,), 0.0, plain)
        faces = ddpm.UNet(256, 3, 128, 3, 2, (16,), 0.0, wide)
    assert parameters(256, wide, 2, [False] * 3 + [True] * 3, True, True) == about(published)
    assert parameters(32, plain, 1, [False, True, False]) == about(small)
    assert parameters(128, wide, 2, [False] * 4 + [True, False]) == about(faces)


@pytest.mark.parametrize("variant", ["published", "exact"])
@pytest.mark.parametrize(
    "constants", [(1.59, 0.0086, 2.0), (1.59, 0.0086, 4.0), (1e4, 2.0, 3.0), (1e-3, 0.1, 1.0)]
)
@pytest.mark.parametrize("size", [(16, 16), (24, 16)])
def test_accepted_spectra_give_schedules_that_fall_at_every_step(
    size: tuple[int, int], constants: tuple[float, float, float], variant: Any
) -> None:
    import numpy as np

    from bridgepipe.config.gaussian import Noising, frequencies
    from bridgepipe.processes import schedules

    c1, c2, m = constants
    noising = Noising(schedule="shortest_path", c1=c1, c2=c2, m=m, variant=variant)
    assert noising.contradiction(size) is None
    alpha_bar = schedules.shortest_path(noising.T, size, c1, c2, m, variant)
    assert 0 < alpha_bar.min() < alpha_bar.max() < 1
    assert (np.diff(alpha_bar, axis=0) < 0).all()
    found = np.unique(schedules.radial_frequency(size).round(9))
    assert np.unique(np.round(frequencies(size), 9)) == pytest.approx(found)


def test_what_an_exact_schedule_gives_where_the_published_one_divides_by_zero() -> None:
    from bridgepipe.config.gaussian import Noising

    flat = {"schedule": "shortest_path", "c1": 1.0, "c2": 1.0, "m": 2.0}
    assert "divides by 0" in str(Noising(**flat).contradiction((16, 16)))
    assert Noising(**flat, variant="exact").contradiction((16, 16)) is None


def test_published_weights_are_those_of_sources_yaml() -> None:
    import yaml

    from bridgepipe.names.released import WEIGHTS

    text = (ROOT / "src/bridgepipe/downloads/sources.yaml").read_text(encoding="utf8")
    assert set(WEIGHTS) <= set(yaml.safe_load(text))
