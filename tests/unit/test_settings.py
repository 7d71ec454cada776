"""Settings stand once: what a stage's file says is read by the stage, and no other class repeats it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from bridgepipe import artifacts, config, datasets
from bridgepipe.cli import options
from bridgepipe.cli.options import Trained
from bridgepipe.config import Strict, stage_files
from bridgepipe.config.boundary_settings import Judge
from bridgepipe.config.networks import Arguments, DdpmNetwork, PointNetwork
from bridgepipe.config.points import PointTraining
from bridgepipe.config.recipe import Recipe
from bridgepipe.errors import UserError
from bridgepipe.evaluation.classifier import train_classifier
from bridgepipe.methods.trained import load_model
from bridgepipe.networks import adm, ddpm, mlp
from bridgepipe.runtime import closure, source

PACKAGE = source.ROOT
# what chooses the class that the file is read as
KINDS = {"kind", "method", "source"}


def every_class(of: type[Strict] = Strict) -> set[type[Strict]]:
    return {of}.union(*(every_class(kind) for kind in of.__subclasses__()))


SETTINGS = {kind.__name__: kind for kind in every_class() if kind.__module__.startswith("bridgepipe.")}


def parts(kind: type[Strict]) -> set[type[Strict]]:
    """A class and those of its sections."""
    found = {kind}
    for field in kind.model_fields.values():
        found |= {part for inner in within(field.annotation) for part in parts(inner)}
    return found


def within(annotation: Any) -> Iterator[type[Strict]]:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        yield annotation
    for argument in get_args(annotation):
        yield from within(argument)


@cache
def nodes(definition: source.Definition) -> list[ast.AST]:
    module, name = definition
    return [n for s in source.parsed(module).defined.get(name, []) for n in ast.walk(s)]


@cache
def readers() -> dict[str, set[source.Definition]]:
    """Classes that verbs read files as, by name, and the code that these verbs can run."""
    found: dict[str, set[source.Definition]] = {}
    # the log and validations change no weights, but settings say what they tell
    without = [name for name in closure.MACHINERY if not name.endswith((".log", ".validation"))]
    for module in source.modules("cli"):
        for function in closure._commands(module):
            code = closure.definitions(f"{module}.{function}", without=without)
            for name in {name for d in code for n in nodes(d) for name in read_by(n)}:
                found.setdefault(name, set()).update(code)
    return found


def read_by(node: ast.AST) -> list[str]:
    """Classes of the files that a call reads."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return []
    if node.func.id == "read_stage":
        return [n.id for n in node.args[1:] if isinstance(n, ast.Name)]
    if node.func.id in ("read_training", "_read_gaussian"):
        return [kind.__name__ for kind in stage_files.TRAININGS.values()]
    return [kind.__name__ for kind in config.SOURCES.values()] if node.func.id == "read_dataset" else []


def attributes(trees: list[ast.AST]) -> set[str]:
    return {n.attr for n in trees if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}


def methods_of(kind: type[Strict], read: set[str]) -> set[str]:
    """Names that those methods and properties of a class use which the code names."""
    found = [member for base in kind.__mro__ for name, member in vars(base).items() if name in read]
    functions = [member.fget if isinstance(member, property) else member for member in found]
    return {
        name for function in functions if inspect.isfunction(function) for name in function.__code__.co_names
    }


def constructed(kind: type[Strict]) -> set[str]:
    """Names of the arguments that settings are handed on as, whole."""
    takes: list[Any] = [datasets.SOURCES[name] for name, of in config.SOURCES.items() if of is kind]
    if issubclass(kind, Arguments):
        takes = {DdpmNetwork: [ddpm.UNet], PointNetwork: [mlp.PointNet]}.get(kind, [adm.UNet, adm.Classifier])
    if issubclass(kind, Judge | config.Extractor):
        takes = [train_classifier]
    return {name for call in takes for name in inspect.signature(call).parameters}


@cache
def of_the_workflow() -> set[str]:
    """What the rules read, and what an experiment names: both decide which files a stage is given."""
    files = [
        *(PACKAGE / "workflow").glob("*.py"),
        *(PACKAGE / f"config/{n}.py" for n in ("checked", "derived", "outcomes", "defined")),
    ]
    rules = attributes([node for file in files for node in ast.walk(ast.parse(file.read_text()))])
    named = {"references", "splits", "models", "files", "named_files"}
    return rules.union(*(methods_of(kind, named) for kind in SETTINGS.values()))


def unread(name: str) -> set[str]:
    """Fields of a class, and of its sections, that nothing reads in the verbs that read the class."""
    read = attributes([n for d in readers()[name] for n in nodes(d)]) | of_the_workflow() | KINDS
    return {
        f"{part.__name__}.{field}"
        for part in parts(SETTINGS[name])
        for field in set(part.model_fields) - read - methods_of(part, read) - constructed(part)
    }


def test_every_setting_of_a_stage_is_read_by_a_verb_that_reads_the_stage() -> None:
    assert {"RestorationSampling", "BoundaryFit", "PointCycles", "Folder"} <= readers().keys()
    assert {name: found for name in readers() if (found := unread(name))} == {}


@pytest.mark.parametrize("method", config.METHODS)
def test_every_setting_of_an_experiment_reaches_a_stage(method: str) -> None:
    """Or the workflow reads it, or it decides what a stage is told."""
    experiment = config.METHODS[method]
    deciding = methods_of(experiment, {"stages", "studied", "inverted", "files"})
    told = {name for kind in readers() for part in parts(SETTINGS[kind]) for name in part.model_fields}
    sections = [experiment, *(part for part in parts(experiment) if part.__name__ not in readers())]
    lost = {f"{part.__name__}.{name}" for part in sections for name in set(part.model_fields) - told}
    reached = of_the_workflow() | deciding
    assert {name for name in lost if name.split(".")[1] not in reached} == set()


def test_every_speed_setting_is_read() -> None:
    modules = [m for m in source.modules(*source.everything()) if ".config" not in m]
    code = [n for m in modules for name in source.parsed(m).defined for n in nodes((m, name))]
    assert set(config.Runtime.model_fields) <= attributes(code) | set(options.BITS)


def fields_of(node: ast.ClassDef) -> set[str]:
    annotated = (s.target for s in node.body if isinstance(s, ast.AnnAssign))
    return {target.id for target in annotated if isinstance(target, ast.Name)}


def test_no_other_class_repeats_the_fields_of_settings() -> None:
    """A class that has half of its fields in common with settings is the same twice; the maths knows none."""
    maths = ("bridgepipe.networks.", "bridgepipe.processes.", "bridgepipe.config.")
    twins = []
    for module in (m for m in source.modules(*source.everything()) if not f"{m}.".startswith(maths)):
        statements = [s for found in source.parsed(module).defined.values() for s in found]
        for node in (s for s in statements if isinstance(s, ast.ClassDef) and len(fields_of(s)) > 2):
            own = fields_of(node)
            like = [n for n, kind in SETTINGS.items() if len(own & set(kind.model_fields)) * 2 > len(own)]
            twins += [(node.name, name) for name in like]
    assert twins == [("Grid", "Patches")]  # `photographs` stands below the settings


def point_model(folder: Path, config: dict[str, Any], told: dict[str, Any]) -> Trained:
    """A model whose configuration and whose card say this."""
    artifacts.write_json(folder / "config/train.json", config)
    network = mlp.PointNet(2, **PointNetwork().arguments)
    artifacts.save_tensors(folder / "model.safetensors", network.state_dict(), {"config": told, "shape": [2]})
    return Trained.within(folder)


@pytest.mark.parametrize("older", ["card", "file", "both"])
def test_a_model_is_read_that_is_older_than_a_setting(tmp_path: Path, older: str) -> None:
    now = PointTraining(dataset="moons", train=Recipe(steps=3)).as_json()
    before = {**now, "train": {key: value for key, value in now["train"].items() if key != "log_every"}}
    files = {"card": (now, before), "file": (before, now), "both": (before, before)}
    model = load_model(point_model(tmp_path, *files[older]), config.Runtime(device="cpu"))
    assert model.process.T == 1000


def test_a_model_of_other_settings_is_refused(tmp_path: Path) -> None:
    now = PointTraining(dataset="moons", train=Recipe(steps=3)).as_json()
    before = {**now, "train": {"steps": 4}}
    with pytest.raises(UserError, match="made under another configuration: its config is"):
        load_model(point_model(tmp_path, now, before), config.Runtime(device="cpu"))
