"""What params.yaml defines, and where the files of datasets, extractors and models lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridgepipe.config.contents import comes_apart, is_paired, is_points, splits_of
from bridgepipe.config.recipe import MODEL, Distribution, Recipe
from bridgepipe.config.values import Strict

Files = dict[str, Any]  # input of a rule, called as the option of its verb -> its file, or its files


@dataclass(frozen=True)
class Defined:
    """What experiments can name at one scale.

    Attributes:
        datasets, extractors: datasets and extractors by name.
        experiments: experiments by ``method/name``.
    """

    datasets: Mapping[str, Any]
    extractors: Mapping[str, Any]
    experiments: Mapping[str, Any]

    def dataset_of(self, experiment: Any) -> Strict:
        """The dataset of an experiment, or of its model."""
        name = getattr(experiment, "dataset", None) or self.experiments[f"model/{experiment.model}"].dataset
        return self.datasets[name]

    def trained(self) -> list[str]:
        """Experiments with a network that is trained here."""
        return [name for name, e in self._with_networks() if e.train.published is None]

    def imported(self) -> list[str]:
        """Experiments with published weights."""
        return [name for name, e in self._with_networks() if e.train.published is not None]

    def _with_networks(self) -> list[tuple[str, Any]]:
        """Experiments with a network of their own."""
        return [(n, e) for n, e in self.experiments.items() if hasattr(e, "train") and e.base is None]

    def split(self, dataset: str, split: str) -> str:
        """Store of a split of images, or file of points."""
        if is_points(self.datasets[dataset]):
            return f"data/points/{dataset}/{split}.safetensors"
        return f"data/prepared/{dataset}/{split}.lmdb"

    def sources(self, dataset: str, split: str) -> list[str]:
        """Store of the source images of pairs; [] for other datasets."""
        return [f"data/prepared/{dataset}/{split}-source.lmdb"] if is_paired(self.datasets[dataset]) else []

    def training(self, dataset: str, recipe: Recipe, fitted: bool = False, restored: bool = False) -> Files:
        """What a training reads of its data.

        Args:
            fitted: whether the process is fitted to the spectrum of the data.
            restored: whether the source images of pairs are restored.
        """
        spectrum = [f"data/stats/{dataset}/spectrum.json"] if fitted else []
        sources = self.sources(dataset, "train") if restored else []
        found: Files = {"data": self.split(dataset, "train"), "sources": sources, "spectrum": spectrum}
        if (how := recipe.validated) is None:
            return found
        held_out = self.sources(dataset, how.split) if restored else []
        found |= {"validation": self.split(dataset, how.split), "validation_sources": held_out}
        if how.extractor is not None:
            found |= self.extractor(how.extractor)
        if "fid" in how.metrics:
            found |= {"statistics": f"data/stats/{dataset}/{how.split}-{how.extractor}.safetensors"}
        return found

    def weights(self, extractor: str) -> str:
        """Weights of an extractor: trained here or published."""
        kind = self.extractors[extractor].kind
        own = kind == "classifier"
        return f"data/checkpoints/{extractor}.safetensors" if own else f"data/checkpoints/{kind}.pth"

    def extractor(self, name: str) -> Files:
        return {"weights": self.weights(name), "extractor": f"data/checkpoints/{name}.json"}

    def distribution(
        self, dataset: str, evaluate: Distribution, recipe: Recipe, restored: str | None = None
    ) -> Files:
        """Statistics of the reference of a FID, the floor, and the extractor.

        Args:
            dataset: dataset of the reference.
            recipe: training of the network.
            restored: store that is restored.
        """
        own = f"data/stats/{dataset}/{evaluate.reference}-{evaluate.extractor}.safetensors"
        statistics = evaluate.known.statistics or own
        real = self.floor(dataset, evaluate.reference, recipe, restored)
        return {"statistics": statistics, "real": real, **self.extractor(evaluate.extractor)}

    def floor(self, dataset: str, reference: str, recipe: Recipe, restored: str | None = None) -> list[str]:
        """Store of real images that the reference of a FID lacks; [] where there is none.

        The restored split where it is another than the reference, else another split. Where weights are
        imported nobody has to bring a split of ImageNet for it alone.
        """
        if restored not in (None, self.split(dataset, reference)):
            return [str(restored)]
        if comes_apart(self.datasets[dataset]) and recipe.published is not None:
            return []
        order = ("test", "val") if reference == "train" else ("train", "test", "val")
        known = splits_of(self.datasets[dataset])
        return [self.split(dataset, split) for split in order if split in known and split != reference][:1]


def network_in(folder: str, weights: str = MODEL) -> Files:
    """Weights of the network in the folder of an experiment, and the settings of its training."""
    return {"model": f"{folder}/{weights}", "train_config": f"{folder}/config/train.json"}


def alike(store: str, other: str) -> bool:
    """Whether two stores are of one dataset."""
    return Path(store).parent == Path(other).parent
