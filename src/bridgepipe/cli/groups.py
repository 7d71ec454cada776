"""The groups of verbs: people's at the top, what rules and DVC call under ``stage``.

Help is plain text under headings: Rich would cost more processor time than all else together, and reads
``:END:`` as an emoji.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from bridgepipe.cli.options import spread
from bridgepipe.cli.outputs import Guarded, verb_of
from bridgepipe.errors import UserError

STAGE = "stage"
# headings of the help
APPLY = "Apply a trained model"
PREPARE = "Before a run"
RESULTS = "During and after a run"
WORKFLOW = "For the workflow"
VERBS = "Verbs"
PANELS = (APPLY, PREPARE, RESULTS, WORKFLOW, VERBS)


class Panels(TyperGroup):
    """A group whose help lists its verbs under the headings of their panels."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {heading: [] for heading in PANELS}
        widest = max(map(len, self.commands))
        for name, verb in self.commands.items():
            panel = panels[getattr(verb, "rich_help_panel", None) or VERBS]
            panel.append((name.ljust(widest), verb.get_short_help_str(limit=150)))
        for heading, verbs in panels.items():
            if verbs:
                with formatter.section(heading):
                    formatter.write_dl(verbs)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if self.get_command(ctx, args[0]) is None:
            _refuse_old_name(ctx, args[0])
        return super().resolve_command(ctx, args)


def _refuse_old_name(ctx: Any, name: str) -> None:
    """Tell where a verb stands that was called at the top, where it once stood.

    Raises:
        UserError: it is a verb of ``stage``.
    """
    verb = f"{verb_of(ctx)} {name}".strip()
    found: Any = ctx.find_root().command.commands[STAGE]
    for word in verb.split():
        found = getattr(found, "commands", {}).get(word)
    if found is not None:
        raise UserError("this verb has moved", f"bridgepipe {verb}", f"call bridgepipe {STAGE} {verb}")


class Verbs(typer.Typer):
    """A group whose verbs check their outputs before they run."""

    def __init__(self, help: str) -> None:
        super().__init__(
            cls=Panels,
            help=help,
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
        )

    def verb(self, name: str | None = None, panel: str | None = None) -> Callable[[Any], Any]:
        """Make a function a verb, under a heading of the help."""
        add = super().command

        def register(function: Any) -> Any:
            add(name, cls=Guarded, rich_help_panel=panel)(spread(function))
            return function

        return register


app = Verbs("From raw images to a reproducible table of results for diffusion bridges.")
store = Verbs("Look inside image stores.")
boundaries = Verbs("Published boundaries of attributes.")
stage = Verbs("One verb per step of the workflow, called by its rules.")
boundary = Verbs("Boundaries of attributes in latents, and edits across them.")
evaluate = Verbs("Metrics of restored images, each with its protocol.")
figure = Verbs("Pictures for the report.")
app.add_typer(store, name="store", rich_help_panel=RESULTS)
app.add_typer(boundaries, name="boundary", rich_help_panel=APPLY)
app.add_typer(stage, name=STAGE, rich_help_panel=WORKFLOW)
stage.add_typer(boundary, name="boundary")
stage.add_typer(evaluate, name="evaluate")
stage.add_typer(figure, name="figure")
