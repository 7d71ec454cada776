"""Options that verbs share, each declared once.

A parameter of a verb whose type is one of the classes below stands for an option per field. One without a
text of its own has that of its name in ``TEXTS``.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe.config.stage_files import RUNTIME, check_asked, read_runtime_file
from bridgepipe.data.parts import Part as Part
from bridgepipe.methods import trained
from bridgepipe.runtime import launch, provenance

if TYPE_CHECKING:
    from bridgepipe import config as configuration

File = Annotated[Path, typer.Option(show_default=False)]
Config = Annotated[Path, typer.Option("--config", help="configuration of the stage", callback=check_asked)]
Files = Annotated[list[Path], typer.Option(show_default=False)]
Configs = Annotated[
    list[Path],
    typer.Option(
        "--config", help="configuration of the stage", callback=lambda files: [*map(check_asked, files)]
    ),
]
Sources = Annotated[Path | None, typer.Option(help="store of the corrupted half of every pair")]
ModelFolder = Annotated[Path, typer.Option(help="results folder of a trained model", show_default=False)]
OtherModel = Annotated[Path | None, typer.Option(help="that of the target; default: the source's model")]
GuideFolder = Annotated[Path | None, typer.Option(help="results folder of a trained guide")]
Control = Annotated[Path, typer.Option(help="the same images, decoded with the same noise, not moved")]
Plain = Annotated[Path, typer.Option(help="the same images, decoded without an edit and with eta 0")]
Real = Annotated[Path | None, typer.Option(help="real images outside the reference, whose FID is the floor")]
Metrics = Annotated[list[Path], typer.Argument(help="metric files", show_default=False)]
PARAMS = Path("params.yaml")
Params = Annotated[Path, typer.Option(help="params file of the project", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print what would be written; write nothing")]
Runtime = Annotated[Path, typer.Option(help="how things run; without the workflow's file: defaults")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: runtime.threads")]
Processes = Annotated[int | None, typer.Option(help="processes of this command; default: runtime.processes")]
TEXTS = {  # of options that mean the same in every verb which gives them no text
    "back": "store of the images that translations return to",
    "corrupted": "store of the corrupted images",
    "csv": "table, as CSV",
    "data": "split of the dataset",
    "edited": "store of the edited images",
    "evaluate_config": "configuration of the evaluation",
    "figure": "picture, a PNG file",
    "folder": "folder that keeps the training's state and its checkpoints",
    "html": "table, as a page",
    "images": "store of the images",
    "latents": "store of the latents",
    "markdown": "table, as Markdown",
    "metrics": "metric file to write",
    "model": "weights of the trained network",
    "originals": "store of the original images",
    "output": "file to write",
    "part": "number of the part of the work that is done, from 0",
    "parts": "number of parts that the work is divided into",
    "reference": "store of real images of the target class",
    "restored": "store of the restored images",
    "sample_config": "configuration of the sampling",
    "samples": "file of the sampled points",
    "source": "store of the source images",
    "source_config": "configuration that the source's model was trained under",
    "source_pixels": "colours of the source photograph",
    "states": "store of the state pairs that the way back starts from",
    "statistics": "reference statistics of the FID",
    "target_config": "configuration that the target's model was trained under",
    "target_pixels": "colours of the target photograph",
    "test": "test images",
    "title": "title of the picture",
    "train": "training images",
    "train_config": "configuration that the network was trained under",
    "transferred": "file of the transferred colours",
    "translated": "translations of the source",
    "truth": "true points of the target",
    "val": "validation images",
    "weights": "weights of the extractor",
}
# runtime settings that may move a last bit; the numbers of threads and processes are taken as they are
BITS = ("device", "precision", "compile", "channels_last", "batch_size", "microbatch")


@dataclass(frozen=True)
class Alone:
    """How a verb runs whose work one process does."""

    runtime: Runtime = RUNTIME
    threads: Threads = None

    def start(self, quick: bool = False, **changes: Any) -> configuration.Runtime:
        """The runtime section; also sets the number of CPU threads of this process.

        Args:
            quick: see `devices.decided`.
            changes: settings in place of those of the section.
        """
        asked = read_runtime_file(self.runtime).model_copy(update=changes)
        import torch

        from bridgepipe.runtime import devices

        section = devices.decided(asked, quick)
        _claim_gpus(section, 1)
        torch.set_num_threads(max(1, (self.threads or section.threads) // launch.local_world_size()))
        provenance.use(**{name: getattr(section, name) for name in BITS})
        return section


@dataclass(frozen=True)
class Shared(Alone):
    """How a verb runs whose work several processes share."""

    processes: Processes = None

    def start(self, quick: bool = False, **changes: Any) -> configuration.Runtime:
        """The runtime section; what follows happens in every process.

        Args:
            quick, changes: see `Alone.start`.

        Raises:
            UserError: a launcher started another number of processes.
        """
        section = read_runtime_file(self.runtime)
        wanted = self.processes or section.processes
        _claim_gpus(section, wanted)
        launch.start(wanted, max(1, (self.threads or section.threads) // wanted))
        return super().start(quick, **changes)


def _claim_gpus(runtime: configuration.Runtime, count: int) -> None:
    if runtime.device in ("auto", "cuda"):
        launch.claim_gpus(count)


@dataclass(frozen=True)
class Trained(trained.Trained):
    """Options that name a trained network."""

    model: File
    train_config: File


@dataclass(frozen=True)
class Ends(trained.Ends):
    """Options that name two trained networks."""

    source: Annotated[Path, typer.Option(help="weights of the model of the source")]
    source_config: File
    target: Annotated[Path, typer.Option(help="weights of the model of the target")]
    target_config: File


@dataclass(frozen=True)
class ExtractorFiles(trained.ExtractorFiles):
    """Options that name an extractor."""

    extractor: Annotated[Path, typer.Option(help="configuration of the extractor")]
    weights: File


@dataclass(frozen=True)
class HeldOut(trained.HeldOut):
    """Options that name what a validation reads."""

    validation: Annotated[Path | None, typer.Option(help="data that the training is validated on")] = None
    validation_sources: Sources = None
    extractor: Annotated[Path | None, typer.Option(help="configuration of the extractor")] = None
    weights: Path | None = None
    statistics: Path | None = None


def spread(verb: Callable[..., Any]) -> Callable[..., Any]:
    """A verb with an option per field in place of every parameter whose type is a class of options.

    An option without a text has that of its name.
    """
    types = typing.get_type_hints(verb, include_extras=True)
    grouped: dict[str, Any] = {name: kind for name, kind in types.items() if is_dataclass(kind)}

    @wraps(verb)
    def called(**values: Any) -> Any:
        for name, kind in grouped.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        return verb(**values)

    given = inspect.signature(verb).parameters.values()
    options = [_with_text(option) for parameter in given for option in _options(parameter, types)]
    called.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    called.__annotations__ = {option.name: option.annotation for option in options}
    return called


def _options(parameter: inspect.Parameter, types: dict[str, Any]) -> list[inspect.Parameter]:
    kind = types[parameter.name]
    if not is_dataclass(kind):
        return [parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=kind)]
    inner = typing.get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            parameter.KEYWORD_ONLY,
            default=parameter.empty if field.default is MISSING else field.default,
            annotation=inner[field.name],
        )
        for field in fields(kind)
    ]


def _with_text(option: inspect.Parameter) -> inspect.Parameter:
    """The option, with the text of its name where it has none."""
    kind, text = option.annotation, TEXTS.get(option.name)
    plain, declared = (
        typing.get_args(kind) if typing.get_origin(kind) is Annotated else (kind, typer.Option())
    )
    if text is None or declared.help:
        return option
    explained = copy(declared)
    explained.help = text
    return option.replace(annotation=Annotated[plain, explained])
