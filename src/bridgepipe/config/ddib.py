"""Sections of params.yaml about DDIB between classes of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from bridgepipe.config.defined import Defined, Files, alike, network_in
from bridgepipe.config.gaussian import Guide, Model
from bridgepipe.config.recipe import Checkpoint, Checkpoints, Distribution
from bridgepipe.config.values import (
    Ask,
    Items,
    Noise,
    OfMethod,
    Pairs,
    Reference,
    Results,
    Seed,
    Several,
    Split,
    Strength,
    Strict,
    Variant,
    Varied,
    Written,
    absent,
    optional,
    spelled,
)
from bridgepipe.names.nfe import SOLVER_TRAITS, SolverName

Label = Annotated[int, Field(ge=0)] | Written | None
N = "[1-9][0-9]{0,5}"
SPELLINGS = rf"(|{N}(,{N})*|ddim{N}|(log_snr|quad|uniform(-leading|-trailing|-linspace)?) {N})"
Respacing = Annotated[
    str,
    AfterValidator(
        spelled(
            SPELLINGS,
            "write log_snr, quad, uniform, uniform-leading, uniform-trailing or uniform-linspace and a"
            " number, as in 'log_snr 50'; or '100', '10,20', 'ddim50', or '' for all times",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{SPELLINGS}$"}),
]


class TranslateImages(Checkpoints, Varied):
    """Which images are translated, and the solver settings."""

    dataset: Reference | None = Field(
        None, description="name of the dataset to translate; null: the source model's"
    )
    split: Split = Field("test", description="split to translate")
    count: Several | None = Field(
        None, description="number of images of the source class, selected at random; null: all"
    )
    solver: SolverName = Field("obelm", description="ODE solver, in both directions")
    grid: Literal["exact", "ddib", "dmi"] = Field(
        "exact", description="exact: the same timesteps in both directions; ddib, dmi: as published there"
    )
    respacing: Respacing = Field("log_snr 50", description="timesteps to use; empty: all")
    clip_encode: bool = Field(
        False, description="clamp predictions of the clean image to [-1, 1] while encoding"
    )
    clip_decode: bool = Field(False, description="the same while decoding")
    guidance: Literal["none", "classifier", "free"] = Field(
        "none", description="none; by a classifier (guide); or classifier-free, by a model with drop_labels"
    )
    scale_encode: Strength = Field(0.0, description="guidance scale while encoding; 0: unguided")
    scale_decode: Strength = Field(1.0, description="guidance scale while decoding; 0: unguided")
    eta: Noise = Field(
        0.0, description="noise of DDIM on the way to the target, 1: ancestral; 0: none, which closes cycles"
    )
    seed: Seed = Field(0, description="seed of that noise")
    variant: Variant = Field(
        "exact", description="published: 8-bit pixels are truncated; exact: they are rounded"
    )
    guide_weights: Checkpoint | None = Field(
        None, description="checkpoint and ema of the guide; null: its last weights", exclude_if=absent
    )

    @property
    def of_guide(self) -> Checkpoint:
        return Checkpoint() if self.guide_weights is None else self.guide_weights

    @model_validator(mode="after")
    def _possible(self) -> TranslateImages:
        if self.eta and not SOLVER_TRAITS[self.solver].stochastic:
            raise ValueError(f"eta is of solver: ddim, {self.solver} draws no noise")
        if self.grid != "exact" and not SOLVER_TRAITS[self.solver].reaches_data:
            raise ValueError(f"grid must be exact with {self.solver}, whose rule ends before pure noise")
        return self


class EvaluateTranslation(Distribution):
    """Metrics of translations."""

    classifier: Reference | None = Field(
        description="extractor that measures the accuracy of the target class; null: not measured"
    )
    label: Label = Field(
        None, description="the classifier's target class, by name or number; null: by the same name"
    )


class BetweenClasses(Strict):
    """The classes, the models that translate between them, and the settings."""

    results: ClassVar[Results] = Results(
        metrics=("fid", "accuracy", "similarity", "cycle"), figures=("grid",), own_table=True
    )

    source: Label = Field(None, description="source class, by name or number; null: all images")
    target: Label = Field(None, description="target class, by name or number; null: unconditional")
    source_model: Reference = Field(description="name of an experiment of experiments.model")
    target_model: Reference | None = Field(
        None, description="name of the target model; null: the source model"
    )
    guide: Reference | None = Field(None, description="name of an experiment of experiments.guide")
    sample: TranslateImages = TranslateImages()


class ClassSampling(BetweenClasses, OfMethod):
    """Settings of the translation of images."""

    method: Literal["ddib/classes"] = "ddib/classes"


class ClassCycle(ClassSampling):
    """Settings of the inverse translations."""

    count: Items | None


class ClassTranslation(BetweenClasses, Pairs):
    """DDIB from one class of images to another, with one conditional network or with two of any kind."""

    cycle: Items | None = Field(None, description="number of translations to invert; null: all")
    evaluate: EvaluateTranslation

    @property
    def models(self) -> tuple[str, str]:
        """The experiments of the source model and of the target model."""
        return f"model/{self.source_model}", f"model/{self.target_model or self.source_model}"

    def references(self) -> dict[str, tuple[str, str]]:
        return {
            "source_model": ("model", self.source_model),
            "target_model": ("model", self.target_model or self.source_model),
            "evaluate.extractor": ("extractors", self.evaluate.extractor),
            **optional("evaluate.classifier", "extractors", self.evaluate.classifier),
            **optional("sample.dataset", "datasets", self.sample.dataset),
            **optional("guide", "guide", self.guide),
        }

    def splits(self) -> dict[str, tuple[str | None, str]]:
        source, target = self.models
        return {
            "sample.split": (self.sample.dataset or source, self.sample.split),
            "evaluate.reference": (target, self.evaluate.reference),
        }

    def asks(self) -> list[Ask]:
        source, target = self.models
        images, split = self.sample.dataset or source, self.sample.split
        counts = {"sample.count": self.sample.count, "cycle": self.cycle}
        return [
            *((key, images, split, count, self.source) for key, count in counts.items()),
            ("source", images, split, 1, self.source),
            ("target", target, "train", 1, self.target),
        ]

    def stages(self) -> dict[str, Strict]:
        return {
            "sample": ClassSampling.of(self),
            "cycle": ClassCycle.of(self, count=self.cycle),
            "evaluate": self.evaluate,
        }

    @property
    def networks(self) -> dict[str, tuple[str, Checkpoint]]:
        """The experiment of each network in use, and which of its weights, by the option of the verbs."""
        source, target = self.models
        guided = self.guide is not None and self.sample.guidance == "classifier"
        guide = {"guide": (f"guide/{self.guide}", self.sample.of_guide)} if guided else {}
        ends = {"source-model": (source, self.sample), "target-model": (target, self.sample.of_target)}
        return {**ends, **guide}

    @property
    def folders(self) -> dict[str, str]:
        """The folders of the networks in use, by the option of the verbs."""
        return {option: f"results/{name}" for option, (name, _) in self.networks.items()}

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """What the stages read of others: weights and settings of the models, images, an extractor."""
        networks = [
            network_in(f"results/{name}", weights.file(defined.experiments[name].train))
            for name, weights in self.networks.values()
        ]
        models = [*dict.fromkeys(file for network in networks for file in network.values())]
        source, target = (defined.experiments[model].dataset for model in self.models)
        store = defined.split(self.sample.dataset or source, self.sample.split)
        reference = defined.split(target, self.evaluate.reference)
        stores = {name: f"{folder}/{name}.lmdb" for name in ("translated", "states", "latents", "back")}
        translated = {"translated": stores["translated"]}
        extractor = defined.extractor(self.evaluate.extractor)
        recipe = defined.experiments[self.models[1]].train
        evaluate = f"{folder}/config/evaluate.json"
        return {
            "sample": {"models": models, "data": store},
            "cycle": {"models": models, "data": store, **translated, "states": stores["states"]},
            "fid": {
                "config": evaluate,
                **translated,
                "reference": reference,
                "source": [store] if alike(store, reference) else [],  # no job reads two datasets
                "real": defined.floor(target, self.evaluate.reference, recipe),
                **extractor,
            },
            "similarity": {**translated, "source": store, **extractor},
            "accuracy": {"config": evaluate, **translated, "source": store},
            "grid": {**translated, "source": store, "latents": stores["latents"], "back": stores["back"]},
        }

    def contradiction(self, resolved: Mapping[str, Any]) -> str | None:
        """What does not go together between this and the models that it names; None: nothing."""
        source, target = (resolved[name] for name in self.models)
        used = {"source model": source, "target model": target}
        if self.guide is not None and self.sample.guidance == "classifier":
            used["guide"] = resolved[f"guide/{self.guide}"]
        for role, other in used.items():
            if _diffusion(other) != _diffusion(source):
                a, b = (_described(m) for m in (other, source))
                return f"different processes: the {role} denoises {a}, the source model {b}"
        for side, model, label, scale in (
            ("source", source, self.source, self.sample.scale_encode),
            ("target", target, self.target, self.sample.scale_decode),
        ):
            if label is None and model.conditional and not model.drop_labels:
                return f"no {side} class, but its model was trained without drop_labels"
            if scale and self.sample.guidance == "free" and not model.drop_labels:
                return f"guidance is free, but the {side} model was trained without drop_labels"
        return None

    @model_validator(mode="after")
    def _possible(self) -> ClassTranslation:
        guided = self.sample.guidance == "classifier"
        if guided and (self.guide is None or self.target is None):
            raise ValueError("guidance: classifier needs a guide and a target class")
        if guided and self.sample.scale_encode and (self.source is None or len(set(self.models)) == 2):
            raise ValueError("a guide on the way up needs one model for both classes")
        if self.sample.target_weights is not None and len(set(self.models)) == 1:
            raise ValueError("sample.target_weights are of a second model: name it in target_model")
        if self.cycle and self.sample.count and self.cycle > self.sample.count:
            raise ValueError(f"cycle takes {self.cycle} images back, sample.count is {self.sample.count}")
        return self


def _diffusion(model: Model | Guide) -> tuple[Any, ...]:
    p = model.process
    spectrum = (p.c1, p.c2, p.m, p.variant) if p.schedule == "shortest_path" else ()
    return p.schedule, p.T, *spectrum


def _described(model: Model | Guide) -> str:
    schedule, T, *spectrum = _diffusion(model)
    return f"{schedule} with T {T}" + (f" and c1, c2, m, variant {spectrum}" if spectrum else "")
