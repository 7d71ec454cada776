"""The groups of verbs: people's at the top, what rules and DVC call under ``stage``.

Help is plain text under headings: Rich would cost more processor time than all else together, and reads
``:END:`` as an emoji.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import copy
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from bridgepipe import __version__
from bridgepipe.cli.guarding import guard, look_for_inputs
from bridgepipe.errors import UserError
from bridgepipe.runtime import loudness

STAGE = "stage"
IMPORTED = "import-weights"  # which an experiment does, by its settings
WHOLE = 1000  # characters of a sentence that is not cut
# verbs for people, under the headings of the help, which is read without importing any of them
HELP = {
    "Use a trained model": {
        "restore": "Restore photographs.",
        "serve": "Open a local web page that does it.",
        "translate": "Translate a folder of images from one class to another.",
        "edit": "Edit an image along a boundary, and draw the strip.",
        "generate": "Draw images, as PNG files.",
        "boundary": "Take in boundaries of attributes, and write them.",
        "export": "Write images as PNG files, or as NPZ for other evaluators.",
        "measure": "Compare two sets of images in every way that applies.",
        "fid": "FID and KID of two sets of images, or of their statistics.",
        "share": "Write a trained network as a folder that others can use.",
        "push": "Commit such a folder to a Hugging Face hub.",
    },
    "Before a run": {
        "doctor": "Say what this machine has, and which data is missing.",
        "config": "Print an experiment with all its settings.",
        "new": "Begin an experiment on your own images.",
        "fetch": "Download published weights or data.",
        "plan": "Say what targets will take: jobs, time, memory, disk, downloads.",
        "record": "Choose the experiments that DVC records.",
        "schema": "Write the JSON schema of params.yaml.",
    },
    "During and after a run": {
        "table": "Print the results that are there, with intervals and floors.",
        "report": "Write all results as one HTML file.",
        "status": "Show every job with its state and its log.",
        "training-state": "Show saved states of a training, or choose one.",
        "verify": "Check every result, or make results again.",
        "store": "Show what an image store holds.",
        "clean": "Remove what the workflow can make again.",
    },
    "For the workflow": {STAGE: "Run one step of the workflow, as its rules do."},
}


class Group(TyperGroup):
    """A group that shows its help when no verb is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if self.get_command(ctx, args[0]) is None:
            _refuse_old_name(ctx, *args)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each verb with the whole sentence that its help begins with."""
        verbs: Any = self.commands
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.get_short_help_str(WHOLE)) for name, verb in verbs.items()])


class People(Group):
    """The verbs for people, and all others in a group of theirs; imported when one is called."""

    @property
    def commands(self) -> Any:  # type: ignore[override]
        return _all_verbs()

    @commands.setter
    def commands(self, _: Any) -> None:
        """What Typer found is none of them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        widest = max(len(name) for verbs in HELP.values() for name in verbs)
        for heading, verbs in HELP.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), text) for name, text in verbs.items()])


@cache
def _all_verbs() -> Any:
    for file in iter_modules([str(Path(__file__).parent)]):  # they add their verbs to the groups
        import_module(f"bridgepipe.cli.{file.name}")
    return typer.main.get_group(people).commands


def _refuse_old_name(ctx: Any, name: str, *arguments: str) -> None:
    """Tell where a verb stands that was called where it once stood, or what is written in its place.

    Raises:
        UserError: the name is a verb of ``stage``.
    """
    if name == IMPORTED:
        weights = next((word for word in arguments if not word.startswith("-")), "WEIGHTS")
        line = f"write `train: {{published: {json.dumps(weights)}}}` in METHOD/NAME of params.yaml"
        mend = f"{line}, then run `snakemake results/METHOD/NAME/model.safetensors`"
        raise UserError("an experiment imports weights, no verb", f"bridgepipe {name}", mend)
    verb = f"{verb_of(ctx)} {name}".strip()
    found: Any = ctx.find_root().command.commands[STAGE]
    for word in verb.split():
        found = getattr(found, "commands", {}).get(word)
    if found is not None:
        raise UserError("this verb has moved", f"bridgepipe {verb}", f"call bridgepipe {STAGE} {verb}")


class Guarded(TyperCommand):
    """A verb that begins with its checks, before it loads libraries, and says as much as it is asked to."""

    def get_params(self, ctx: Any) -> list[Any]:
        own: list[Any] = super().get_params(ctx)
        for several in (param for param in own if param.type_descriptor.is_list):
            several.display_type = partial(_type_of_one, several)
        return [*own, *_loudness(ctx.find_root().command)]

    def invoke(self, ctx: Any) -> Any:
        with loudness.of(ctx.meta.get(loudness.KEY), verb_of(ctx)):
            guard(verb_of(ctx), ctx.params)
            look_for_inputs(verb_of(ctx), self.params, ctx)
            return super().invoke(ctx)


def _type_of_one(several: Any, ctx: Any) -> str:
    """What help calls each of several values: ``<path>``, not a list of Python's."""
    (one,) = get_args(several.type_descriptor.annotation)
    return f"<{one.__name__.lower()}>"


def _loudness(root: Any) -> list[Any]:
    """The options of the top that any verb takes as well; the help names them there alone."""
    found = [copy(option) for option in root.params if option.name in ("quiet", "verbose")]
    for option in found:
        option.hidden, option.expose_value = True, False
    return found


def verb_of(ctx: Any) -> str:
    """Name of the verb of a call, such as ``stage boundary search``."""
    return "" if ctx.parent is None else f"{verb_of(ctx.parent)} {ctx.info_name}".strip()


class Verbs(typer.Typer):
    """A group whose verbs check their outputs before they run."""

    def __init__(self, help: str, cls: type[Group] = Group) -> None:
        plain: Any = {
            "add_completion": cls is People,
            "rich_markup_mode": None,
            "pretty_exceptions_enable": False,
        }
        super().__init__(cls=cls, help=help, **plain)

    def verb(self, name: str | None = None) -> Callable[[Any], Any]:
        """Make a function a verb."""
        from bridgepipe.cli.options import spread  # not for the help, which is to be fast

        add = super().command

        def register(function: Any) -> Any:
            add(name, cls=Guarded)(spread(function))
            return function

        return register


app = Verbs("From raw images to a reproducible table of results for diffusion bridges.", People)
people = Verbs("")
store = Verbs("Look inside image stores.")
boundaries = Verbs("Take in boundaries of attributes, and write them for others.")
new = Verbs("Begin an experiment on your own images: a short file beside params.yaml.")
stage = Verbs("One verb per step of the workflow, called by its rules.")
boundary = Verbs("Boundaries of attributes in latents, and edits across them.")
evaluate = Verbs("Metrics of restored images, each with its protocol.")
figure = Verbs("Pictures for the report.")
people.add_typer(store, name="store")
people.add_typer(boundaries, name="boundary")
people.add_typer(new, name="new")
people.add_typer(stage, name=STAGE)
stage.add_typer(boundary, name="boundary")
stage.add_typer(evaluate, name="evaluate")
stage.add_typer(figure, name="figure")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"bridgepipe {__version__}")
        raise typer.Exit


def _note(ctx: typer.Context, param: typer.CallbackParam, given: bool) -> None:
    if given:
        ctx.meta[loudness.KEY] = param.name


@app.callback()
def _before_any_verb(
    quiet: bool = typer.Option(
        False, "--quiet", "-q", callback=_note, help="Print results and errors only. Any verb takes it."
    ),
    verbose: bool = typer.Option(
        False,
        "--verbose",
        "-v",
        callback=_note,
        help="Also tell of files, time and errors. Any verb takes it.",
    ),
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
    ),
) -> None:
    pass
