"""params.yaml resolved: merging, checking, and what each stage reads.

With the models of `bridgepipe.params` this is the only truth about the
configuration. The JSON schema that editors use is generated from them, the
workflow validates through them, and the file of each stage holds exactly the
values that the stage reads, so an edit re-runs those stages and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bridgepipe.config_errors import nearest, validated
from bridgepipe.errors import UserError
from bridgepipe.params import I2SB, Params, Strict, is_paired, splits_of

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
        self.params = validated(Params, values, where, ())
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
                merged = validated(MODELS[method], values, self._where, path, ("scales", scale, method), own)
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
