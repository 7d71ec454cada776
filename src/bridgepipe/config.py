"""params.yaml, typed once: models, defaults, merging, and what each stage reads.

This module is the only truth about the configuration. The JSON schema that
editors use is generated from it, the workflow validates through it, and the
file of each stage holds exactly the values that the stage reads, so an edit
re-runs the stages that read the edited value and nothing else.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bridgepipe.errors import UserError

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")]
Size = Annotated[int, Field(ge=8, le=4096)]
Split = Literal["train", "val", "test"]
Variant = Literal["published", "exact"]
METHODS = ("i2sb",)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Runtime(Strict):
    """How things run. Changes speed, never results: an edit re-runs nothing."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = Field(False, description="torch.compile the network")
    channels_last: bool = False
    threads: int = Field(2, ge=1, description="CPU threads of a compute job")
    batch_size: int = Field(64, ge=1, description="images per network call when sampling or evaluating")
    microbatch: int | None = Field(None, ge=1, description="images per call in training; null: whole batch")
    partitions: int = Field(1, ge=1, le=9999, description="parallel sampling jobs")
    save_every: int = Field(100, ge=1, description="training steps between saved states")
    tensorboard: bool = False


class Digits(Strict):
    """scikit-learn's 1,797 handwritten digits, embedded."""

    source: Literal["digits"]
    size: Size = 32
    seed: int = Field(0, ge=0, description="of the split")


class Photos(Strict):
    """Patches of scikit-learn's two sample photographs, embedded; photo-edges pairs them with their edges."""

    source: Literal["photos", "photo-edges"]
    size: Annotated[int, Field(ge=8, le=192)] = 64


class Folder(Strict):
    """A folder of images, one sub-folder per class or none."""

    source: Literal["folder"]
    path: str
    size: Size | tuple[Size, Size] = Field(256, description="pixels, or [height, width]")
    crop: Literal["adm", "torchvision", "stretch"] = "adm"
    seed: int = Field(0, ge=0, description="of the split")
    skip_bad: bool = Field(False, description="skip unreadable images instead of stopping")


class Pairs(Strict):
    """Two folders A/ and B/ matched by name, or images side by side; B (right) is restored from A (left)."""

    source: Literal["pairs"]
    path: str
    layout: Literal["folders", "side-by-side"] = "folders"
    reverse: bool = False
    size: Size | tuple[Size, Size] = Field(256, description="pixels, or [height, width]")
    crop: Literal["adm", "torchvision", "stretch"] = "adm"
    seed: int = Field(0, ge=0, description="of the split")
    skip_bad: bool = Field(False, description="skip unreadable pairs instead of stopping")


class ImageNet(Strict):
    """ImageNet folders train/ and val/, or I2SB's LMDB files of them."""

    source: Literal["imagenet", "i2sb-lmdb"]
    path: str
    size: Size = 256
    subset: str | None = Field(None, description="file with names of validation images, one a line")
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    skip_bad: bool = Field(False, description="skip unreadable images instead of stopping")


SOURCES: dict[str, type[Strict]] = {
    "digits": Digits,
    "photos": Photos,
    "photo-edges": Photos,
    "folder": Folder,
    "pairs": Pairs,
    "imagenet": ImageNet,
    "i2sb-lmdb": ImageNet,
}
Dataset = Annotated[Digits | Photos | Folder | Pairs | ImageNet, Field(discriminator="source")]


def splits_of(dataset: Strict) -> tuple[str, ...]:
    """Splits that a dataset comes in."""
    return dataset.splits if isinstance(dataset, ImageNet) else ("train", "val", "test")


def is_paired(dataset: Strict) -> bool:
    """Whether every image has a source image that it is restored from."""
    return isinstance(dataset, Pairs) or (isinstance(dataset, Photos) and dataset.source == "photo-edges")


def stores_of(dataset: Strict) -> tuple[str, ...]:
    """Stores that a dataset is prepared as: one for each split, and one for each split's sources."""
    splits = splits_of(dataset)
    return (*splits, *(f"{split}-source" for split in splits)) if is_paired(dataset) else splits


def paths_of(dataset: Strict) -> list[str]:
    """Files and folders that a dataset is made from; [] when it is embedded."""
    values = dataset.model_dump()
    return [values[key] for key in ("path", "subset") if values.get(key) is not None]


class Extractor(Strict):
    """What turns images into features and classes for the metrics."""

    kind: Literal["classifier", "inception", "resnet50"]
    dataset: str | None = Field(None, description="data that a classifier is trained on")
    steps: int = Field(400, ge=1)
    batch_size: int = Field(64, ge=1)
    lr: float = Field(5e-3, gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _dataset_where_needed(self) -> Extractor:
        if (self.kind == "classifier") != (self.dataset is not None):
            raise ValueError("dataset is needed by kind: classifier, and by no other kind")
        return self


class Network(Strict):
    """ADM U-Net, in the words of its constructor."""

    model_channels: int = Field(32, ge=32, multiple_of=32)
    num_res_blocks: int = Field(1, ge=1)
    channel_mult: tuple[int, ...] = (1, 2, 2)
    attention_resolutions: tuple[int, ...] = Field((4,), description="downsampling rates with attention")
    num_heads: int = Field(4, ge=1)
    num_head_channels: int = -1
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)


class Train(Strict):
    steps: int = Field(ge=1)
    batch_size: int = Field(64, ge=1, description="images per optimiser step, over all processes")
    lr: float = Field(5e-5, gt=0)
    lr_gamma: float = Field(1.0, gt=0, le=1, description="factor of the step decay")
    lr_step: int = Field(1000, ge=1, description="steps between decays")
    weight_decay: float = Field(0.0, ge=0)
    ema: float = Field(0.99, ge=0, lt=1)
    grad_clip: float | None = Field(None, gt=0)
    flip: bool = Field(False, description="random horizontal flips")
    seed: int = Field(0, ge=0)
    log_every: int = Field(10, ge=1)
    init: str | None = Field(None, description="published ADM weights to start from; null: random")
    new_channels: Literal["zero", "published"] = Field(
        "zero", description="start of cond_x1's input channels"
    )
    published: str | None = Field(
        None, description="a name of sources.yaml: import these weights, don't train"
    )


class Sample(Strict):
    dataset: str | None = Field(None, description="restore this dataset's split instead of the experiment's")
    whole: bool = Field(False, description="ignore sample.dataset: restore the experiment's own whole split")
    split: Split = "test"
    count: int | None = Field(None, ge=1, description="only the first images; null: all")
    nfe: int = Field(10, ge=1, description="network calls per image")
    clip: bool = Field(False, description="clamp predictions to [-1, 1]")
    sampler: Literal["ancestral", "implicit"] = Field(
        "ancestral", description="ancestral is the published one"
    )
    eta: float = Field(1.0, ge=0, description="noise of the implicit sampler; 0: drawn once")
    order: Literal[1, 2] = Field(2, description="order of the implicit sampler")
    spacing: Literal["uniform", "angle", "log_snr"] = Field("uniform", description="where the calls lie")
    seed: int = Field(0, ge=0)


class Evaluate(Strict):
    extractor: str = Field(description="features of the FID and KID")
    reference: Split = Field("test", description="split of the real images")
    classifier: str = Field(description="classes of the accuracy")
    kid: bool = True


class Walk(Strict):
    """One sampler of a study."""

    sampler: Literal["ancestral", "implicit"] = "ancestral"
    eta: float = Field(1.0, ge=0)
    order: Literal[1, 2] = 2
    spacing: Literal["uniform", "angle", "log_snr"] = "uniform"


class Study(Strict):
    """Quality against network calls."""

    nfe: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 3, 5, 10, 20, 50, 100)
    count: int = Field(180, ge=2, description="images that are restored for every point")
    walks: dict[str, Walk] = Field({"ancestral": Walk()}, description="samplers by the name in the figure")


class I2SB(Strict):
    """Image-to-image Schrödinger bridge (Liu et al. 2023)."""

    dataset: str
    corruption: str = Field(description="a name of bridgepipe.corruptions, or paired")
    variant: Variant = "published"
    mask_file: str | None = Field(None, description="published freeform masks; null: masks are drawn")
    interval: int = Field(1000, ge=2, multiple_of=2)
    beta_max: float = Field(0.3, gt=0)
    t0: float = Field(1e-4, gt=0)
    T: float = Field(1.0, gt=0)
    ot_ode: bool = False
    cond_x1: bool = False
    add_x1_noise: bool = False
    network: Network = Network()
    train: Train
    sample: Sample = Sample()
    evaluate: Evaluate
    study: Study | None = None

    @property
    def sampled(self) -> str:
        """Dataset whose images are restored and measured."""
        return self.dataset if self.sample.whole else self.sample.dataset or self.dataset

    @model_validator(mode="after")
    def _possible(self) -> I2SB:
        if self.ot_ode and self.sample.sampler == "implicit" and self.sample.eta:
            raise ValueError("sample.eta must be 0 with ot_ode, whose bridge has no noise")
        if self.sample.nfe >= self.interval:
            raise ValueError(f"sample.nfe must be below interval ({self.interval}), is {self.sample.nfe}")
        return self


class Params(Strict):
    """The whole of params.yaml before merging."""

    scale: Name
    runtime: Runtime = Runtime()
    datasets: dict[Name, Dataset]
    extractors: dict[Name, Extractor]
    scales: dict[Name, dict[Literal["i2sb"], dict[str, Any]]]
    experiments: dict[Literal["i2sb"], dict[Name, dict[str, Any]]]


MODELS: dict[str, type[I2SB]] = {"i2sb": I2SB}


class Resolved:
    """Validated parameters: every experiment merged, every reference checked.

    Args:
        values: content of params.yaml.
        where: name of the file, for messages.

    Raises:
        UserError: unknown key, wrong type, impossible value or unknown name.
    """

    def __init__(self, values: Mapping[str, Any], where: str = "params.yaml") -> None:
        self._where = where
        self.params = _validated(Params, values, where, ())
        self._known("scale", self.params.scale, self.params.scales)
        self.experiments: dict[str, I2SB] = {}
        for scale in self.params.scales:
            resolved = self._merged(scale)
            if scale == self.params.scale:
                self.experiments = resolved
        for name, extractor in self.params.extractors.items():
            if extractor.dataset is not None:
                self._known(f"extractors.{name}.dataset", extractor.dataset, self.params.datasets)

    def _merged(self, scale: str) -> dict[str, I2SB]:
        """Every experiment at one scale; all scales are checked, one is used."""
        resolved = {}
        for method, defaults in self.params.scales[scale].items():
            for name, own in self.params.experiments.get(method, {}).items():
                path = ("experiments", method, name)
                values = merge(defaults, own)
                merged = _validated(MODELS[method], values, self._where, path, ("scales", scale, method), own)
                resolved[f"{method}/{name}"] = merged
                self._check_names(path, merged)
        return resolved

    def _check_names(self, path: tuple[str, ...], experiment: I2SB) -> None:
        key = ".".join(path)
        self._known(f"{key}.dataset", experiment.dataset, self.params.datasets)
        dataset = self.params.datasets[experiment.dataset]
        if is_paired(dataset) != (experiment.corruption == "paired"):
            mend = "corruption: paired goes with a dataset of pairs (pairs, photo-edges), and only with one"
            raise UserError(f"corruption is '{experiment.corruption}'", f"{self._where}: {key}", mend)
        self._known(f"{key}.sample.dataset", experiment.sampled, self.params.datasets)
        sampled = splits_of(self.params.datasets[experiment.sampled])
        self._known(f"{key}.sample.split", experiment.sample.split, sampled)
        self._known(f"{key}.evaluate.reference", experiment.evaluate.reference, splits_of(dataset))
        self._known(f"{key}.evaluate.extractor", experiment.evaluate.extractor, self.params.extractors)
        self._known(f"{key}.evaluate.classifier", experiment.evaluate.classifier, self.params.extractors)

    def _known(self, key: str, name: str, valid: Iterable[str]) -> None:
        if name not in set(valid):
            raise UserError(f"unknown name '{name}'", f"{self._where}: {key}", nearest(name, valid))

    def experiment(self, name: str) -> I2SB:
        """The merged experiment ``method/name``.

        Raises:
            UserError: there is no such experiment.
        """
        if name not in self.experiments:
            raise UserError(f"unknown experiment '{name}'", self._where, nearest(name, self.experiments))
        return self.experiments[name]

    def sources_in_use(self) -> list[Strict]:
        """Datasets that the experiments train on or restore."""
        used = {name for e in self.experiments.values() for name in (e.dataset, e.sampled)}
        return [self.params.datasets[name] for name in sorted(used)]

    def names(self, method: str) -> list[str]:
        """Names of the experiments of a method."""
        return [key.split("/", 1)[1] for key in self.experiments if key.startswith(f"{method}/")]

    def stages(self, name: str) -> dict[str, dict[str, Any]]:
        """What each stage of an experiment reads: ``{"train": …, "sample": …, "evaluate": …}``."""
        e = self.experiment(name).model_dump(mode="json")
        sections = ("train", "sample", "evaluate", "network", "study")
        problem = {"method": name.split("/")[0]} | {k: v for k, v in e.items() if k not in sections}
        return {
            "train": {**problem, "network": e["network"], "train": e["train"]},
            "sample": {**problem, "sample": e["sample"]},
            "evaluate": e["evaluate"],
            **({"study": e["study"]} if e["study"] is not None else {}),
        }

    def stage_files(self) -> dict[str, Any]:
        """Every configuration file that the workflow depends on: path -> content."""
        files: dict[str, Any] = {}
        for name, dataset in self.params.datasets.items():
            files[f"data/prepared/{name}/config.json"] = dataset.model_dump(mode="json")
        for name, extractor in self.params.extractors.items():
            files[f"data/checkpoints/{name}.json"] = extractor.model_dump(mode="json")
        for name in self.experiments:
            for stage, content in self.stages(name).items():
                files[f"results/{name}/config/{stage}.json"] = content
        files["results/config/runtime.json"] = self.params.runtime.model_dump(mode="json")
        return files


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Content of a YAML file.

    Raises:
        UserError: missing, or not a YAML mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf8"))
    except FileNotFoundError as e:
        raise UserError("no such file", path, "run from the project folder or give --params") from e
    except yaml.YAMLError as e:
        raise UserError(f"not YAML: {' '.join(str(e).split())}", path, "mend the line named here") from e
    if not isinstance(values, dict):
        raise UserError("not a mapping of sections", path, "start from the params.yaml of the repository")
    return values


def load(path: str | Path = "params.yaml") -> Resolved:
    """Read, merge and validate a params file."""
    return Resolved(read_yaml(path), str(path))


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` over ``defaults``, two levels deep: sections merge, values replace."""
    merged = dict(defaults)
    for key, value in own.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def nearest(name: str, valid: Iterable[str]) -> str:
    """How to mend a wrong name: the nearest valid one, and all of them."""
    names = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}valid: {', '.join(names)}"


def schema() -> dict[str, Any]:
    """JSON schema of params.yaml; sections of experiments are checked after merging."""
    top = Params.model_json_schema()
    top["$defs"].update({k: v for m in MODELS.values() for k, v in m.model_json_schema()["$defs"].items()})
    for method, model in MODELS.items():
        own = model.model_json_schema()
        own.pop("$defs", None)
        own.pop("required", None)
        top["$defs"][f"{method}_experiment"] = own
    _partial(top["$defs"])
    for key in ("scales", "experiments"):
        top["properties"][key] = _by_method(key)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top}


def _partial(definitions: dict[str, Any]) -> None:
    """Sections that are merged may leave keys to the other side."""
    for section in ("Train", "Evaluate"):
        definitions[section].pop("required", None)


def _by_method(key: str) -> dict[str, Any]:
    ref: dict[str, Any] = {m: {"$ref": f"#/$defs/{m}_experiment"} for m in MODELS}
    if key == "experiments":
        ref = {m: {"type": "object", "additionalProperties": r} for m, r in ref.items()}
        return {"type": "object", "properties": ref, "additionalProperties": False}
    inner = {"type": "object", "properties": ref, "additionalProperties": False}
    return {"type": "object", "additionalProperties": inner}


def _validated(
    model: type[Any],
    values: Any,
    where: str,
    path: tuple[str, ...],
    defaults_path: tuple[str, ...] = (),
    own: Mapping[str, Any] | None = None,
) -> Any:
    """The model, or one line that names the key where the person wrote it: in ``own`` or the defaults."""
    try:
        # through JSON, so that YAML lists are accepted for tuples while numbers stay strict
        return model.model_validate_json(json.dumps(values))
    except TypeError as e:
        raise UserError(f"not a plain value: {e}", where, "write dates and such in quotes") from e
    except ValidationError as e:
        location = e.errors(include_url=False)[0]["loc"]
        written_in_defaults = own is not None and not _contains(own, location)
        raise _one_line(e, model, where, defaults_path if written_in_defaults else path) from None


def _contains(values: Any, location: tuple[Any, ...]) -> bool:
    for part in location[:2]:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _one_line(error: ValidationError, model: type[Any], where: str, path: tuple[str, ...]) -> UserError:
    first = error.errors(include_url=False)[0]
    location = [str(p) for p in first["loc"] if not _is_type_tag(p)]
    if location[:1] == ["datasets"] and len(location) > 2:
        model = SOURCES[location.pop(2)]  # the tag of the source is no key that a person wrote
    key = ".".join((*path, *location)) or "top level"
    if first["type"] == "extra_forbidden":
        valid = _fields_at(model, location[:-1])
        return UserError(f"unknown key '{location[-1]}'", f"{where}: {key}", nearest(location[-1], valid))
    if first["type"] == "missing":
        return UserError(f"missing key '{location[-1]}'", f"{where}: {key}", "add it")
    if first["type"] == "union_tag_invalid":
        source = str(first["input"].get("source"))
        return UserError(f"unknown source '{source}'", f"{where}: {key}.source", nearest(source, SOURCES))
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = "" if isinstance(given, dict) else f", is {given!r}"
    return UserError(f"impossible value{shown}", f"{where}: {key}", f"{message[:1].lower()}{message[1:]}")


def _is_type_tag(part: Any) -> bool:
    return isinstance(part, str) and (part.startswith(("constrained", "tuple[")) or part in ("int", "[key]"))


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Valid keys of the section at ``location`` inside a model."""
    for part in location:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                model = annotation
    return list(model.model_fields)
