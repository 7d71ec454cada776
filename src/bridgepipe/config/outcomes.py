"""What experiments end in: files of metrics, figures, tables."""

from __future__ import annotations

from bridgepipe.config.colors import ColorTransfer
from bridgepipe.config.methods import METHODS
from bridgepipe.config.recipe import BEST, CHECKPOINTS, VALIDATIONS
from bridgepipe.config.resolved import Resolved
from bridgepipe.config.values import Results

NUMBERS = "results/metrics"  # the numbers of every experiment alone, for DVC


class Outcomes:
    """Names of the files that the experiments of params.yaml end in."""

    def __init__(self, resolved: Resolved) -> None:
        self._resolved = resolved
        self._defined = resolved.defined
        self._trained = {*self._defined.trained()}

    def results(self, *names: str) -> list[str]:
        """Metrics, figures and tables of experiments, of all when none is named."""
        found = names or self._resolved.experiments
        return [file for name in found for file in self._results(name)]

    def _results(self, name: str) -> list[str]:
        ends = _results(name)
        figures = [f for f in ends.figures if f != "loss" or name in self._trained]
        return [
            *self._checkpoints(name),
            *self.metrics(name),
            *(f"results/{name}/figures/{figure}.png" for figure in figures),
            *(f"results/{name}/{picture}.png" for picture in self.pictures(name)),
            *(f"results/{name}/table.{ext}" for ext in ("csv", "md") if ends.own_table),
            *([f"{NUMBERS}/{name}.json"] if ends.metrics and not ends.own_table else []),
        ]

    def _checkpoints(self, name: str) -> list[str]:
        """Weights that a training keeps along the way."""
        names = self._resolved.experiments[name].train.checkpoints if name in self._trained else []
        files = [f"{checkpoint}.safetensors" for checkpoint in names]
        files += [VALIDATIONS] if BEST in names else []
        return [f"results/{name}/{CHECKPOINTS}/{file}" for file in files]

    def validations(self, name: str) -> list[str]:
        """The table of what the validation of a training measured; [] where it is not validated."""
        return [file for file in self._checkpoints(name) if file.endswith(VALIDATIONS)]

    def metrics(self, *names: str) -> list[str]:
        """Files of numbers of experiments."""
        return [
            f"results/{name}/{metric}.json"
            for name in names
            for metric in _results(name).metrics
            if metric != "accuracy" or self._has_accuracy(name)
        ]

    def _has_accuracy(self, name: str) -> bool:
        """Whether images are classified: a boundary's accuracy is that of its latents."""
        e = self._resolved.experiments.get(name)  # a rule may be asked for one that is not there
        return e is None or name.startswith("boundary/") or e.evaluate.classifier is not None

    def first_metrics(self, method: str) -> list[str]:
        """The first file of numbers of every experiment of a method."""
        metric = METHODS[method].results.metrics[0]
        return [f"results/{name}/{metric}.json" for name in self._resolved.of(method)]

    def tabled(self, own_table: bool) -> list[str]:
        """Methods with metrics, whose experiments have a table of their own each, or have none."""
        ends = {method: METHODS[method].results for method in self._resolved.methods}
        return [method for method, end in ends.items() if end.metrics and end.own_table == own_table]

    def without_table(self) -> list[str]:
        """Experiments with metrics and no table of their own."""
        return [name for method in self.tabled(own_table=False) for name in self._resolved.of(method)]

    def pictures(self, *names: str) -> list[str]:
        """Pictures of colour transfers, by what they are called."""
        found = [self._resolved.experiments.get(name) for name in names or self._resolved.of("ddib/color")]
        transfers = (e for e in found if isinstance(e, ColorTransfer))
        return sorted({picture for e in transfers for picture in e.pictures(self._defined)})

    def tables(self) -> list[str]:
        """Tables of every method, and of its studies."""
        found = [
            f"results/{method}/{table}.{ext}"
            for method in self._resolved.methods
            for table in METHODS[method].results.tables
            for ext in ("csv", "md")
        ]
        of_pairs = [
            f"results/{group}/table.{ext}" for group in self._resolved.groups for ext in ("csv", "md")
        ]
        studied = [method for method in self._resolved.methods if self.studies(method)]
        return (
            found + of_pairs + [f"results/{method}/nfe.{ext}" for method in studied for ext in ("md", "png")]
        )

    def studies(self, method: str) -> list[str]:
        """Studies of samplers against network calls, one for every experiment that has one."""
        return [f"results/{name}/nfe.csv" for name in self.studied(method)]

    def about_studies(self, method: str) -> str:
        """What the curves of a method's studies come from, for their caption."""
        return "; ".join(self._about_study(name) for name in self.studied(method))

    def _about_study(self, name: str) -> str:
        e = self._resolved.experiment(name)
        train = (e if hasattr(e, "train") else self._resolved.experiment(f"model/{e.model}")).train
        network = (
            f"network trained with seed {train.seed}" if train.published is None else "published network"
        )
        data = f"{e.corruption}, " if hasattr(e, "corruption") else ""
        return f"{name}: {data}{e.studied or 'all'} images a point, noise of seed {e.sample.seed}, {network}"

    def studied(self, method: str) -> list[str]:
        """Experiments with a study."""
        if "study" not in METHODS[method].model_fields:
            return []
        return [
            name for name in self._resolved.of(method) if self._resolved.experiment(name).study is not None
        ]


def _results(name: str) -> Results:
    return METHODS[name.rsplit("/", 1)[0]].results
