"""The reference pages, made from the code each time that the site is built: commands, keys, modules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import typer

import bridgepipe
from bridgepipe import cli
from bridgepipe.cli import groups
from bridgepipe.config.methods import METHODS, Params
from bridgepipe.config.schema import INCLUDE

PACKAGE = Path(bridgepipe.__file__).parent
PAGE = re.compile(r"\bdocs/([\w-]+)\.md\b")  # how help, descriptions of keys and docstrings name a page


def write(folder: Path) -> None:
    """Write all pages into a folder, and remove those of earlier times."""
    folder.mkdir(exist_ok=True)
    made = pages()
    for old in {file.name for file in folder.iterdir()} - made.keys():
        (folder / old).unlink()
    for name, text in made.items():
        file = folder / name
        if not file.exists() or file.read_text() != text:  # Sphinx reads only what is new
            file.write_text(text)


def pages() -> dict[str, str]:
    """Name of a file and its text, of every page."""
    texts = {"commands.md": commands(), "params.md": params()}
    return {name: PAGE.sub(r"[](../\1.md)", text) for name, text in texts.items()} | dict(api())


# commands


def commands() -> str:
    """Every verb with its options: people's first, then those of the workflow."""
    app = typer.main.get_command(cli.app)
    text = [
        "# Commands",
        "What `bridgepipe VERB --help` prints, on one page. Exit codes: 0 done, 2 bad input (one line says"
        " what, where, and how to mend it), 75 stopped before the end and to be called again, 130"
        " interrupted. Messages: [troubleshooting](../troubleshooting.md).",
    ]
    for heading, verbs in groups.HELP.items():
        text.append(f"## {heading}")
        for name in verbs:
            text += _verb(f"bridgepipe {name}", app.commands[name])
    return "\n\n".join(text) + "\n"


def _verb(name: str, command: Any) -> Iterator[str]:
    yield f"### {name}"
    yield cleandoc(command.help or "")
    if hasattr(command, "commands"):
        for below, inner in command.commands.items():
            yield from _verb(f"{name} {below}", inner)
        return
    with command.make_context(name, [], resilient_parsing=True) as context:
        yield f"```\n{' '.join((name, *command.collect_usage_pieces(context)))}\n```"
        records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [(_code(option), told) for option, told in filter(None, records) if option != "--help"]
    if rows:
        yield _table(("option", "meaning"), rows)


# keys of params.yaml


def params() -> str:
    """Every key of params.yaml: what it may hold, its default and its meaning."""
    return Keys().page()


class Keys:
    """Sections of params.yaml, each followed by those that it leads to; one that comes again is a link."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}  # section as JSON -> anchor
        self.text = [
            "# Keys of params.yaml",
            "Made from the classes that check the file. *required* means: at the scale or in the"
            " experiment. NAME stands for a name that you choose; `bridgepipe config METHOD/NAME` prints an"
            " experiment with all that it inherits.",
        ]

    def page(self) -> str:
        top = Params.model_json_schema()
        shown = {k: v for k, v in top["properties"].items() if k not in ("scales", "experiments")}
        top["properties"] = INCLUDE | shown
        self.section("params.yaml", top, top["$defs"])
        for method, model in METHODS.items():
            own = model.model_json_schema()
            self.section(f"experiments.{method}.NAME", own, own.get("$defs", {}))
        return "\n\n".join(self.text) + "\n"

    def section(self, path: str, schema: dict[str, Any], defs: dict[str, Any]) -> str:
        """Write a section unless it is known, then the sections below it; returns its anchor."""
        key = json.dumps({k: v for k, v in schema.items() if k != "$defs"}, sort_keys=True)
        if key in self.known:
            return self.known[key]
        anchor = self.known[key] = "key-" + re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")
        at = len(self.text)
        required = schema.get("required", ())
        below = "" if path == "params.yaml" else f"{path}."
        rows = []
        for name, value in schema["properties"].items():
            of = f"{below}{name}" + (
                ".NAME" if "patternProperties" in value or "additionalProperties" in value else ""
            )
            default = "*required*" if name in required else _default(value)
            rows.append((_code(name), self.value(of, value, defs), default, meaning(name, value, defs)))
        heading = f"({anchor})=\n## `{path}`\n\n{schema.get('description', '')}"
        self.text.insert(at, f"{heading}\n\n{_table(('key', 'value', 'default', 'meaning'), rows)}")
        return anchor

    def value(self, path: str, value: dict[str, Any], defs: dict[str, Any]) -> str:
        """What a key may hold, in words, with links to sections."""
        if "$ref" in value:
            found = defs[value["$ref"].removeprefix("#/$defs/")]
            if "properties" not in found:
                return self.value(path, found, defs)
            kinds = [kind for key in KINDS for kind in _named(found["properties"].get(key, {}))]
            kind = ", ".join(kinds)
            anchor = self.section(f"{path} ({kind})" if kind else path, found, defs)
            return f"[{kind or 'section'}](#{anchor})"
        if choices := value.get("anyOf", value.get("oneOf")):
            return ", ".join(dict.fromkeys(self.value(path, one, defs) for one in choices))
        if named := _named(value):
            return ", ".join(map(_code, named))
        if inner := value.get("patternProperties") or value.get("additionalProperties"):
            if inner is True:  # the schema leaves them free
                return "names with any value"
            one = next(iter(inner.values())) if "patternProperties" in value else inner
            return f"names with: {self.value(path, one, defs)}"
        if "prefixItems" in value:
            return "[" + ", ".join(self.value(path, one, defs) for one in value["prefixItems"]) + "]"
        if "items" in value:
            return f"list of: {self.value(path, value['items'], defs)}"
        return _plain(value)


KINDS = ("source", "kind")  # keys that tell which class a section is of


def _named(value: dict[str, Any]) -> list[str]:
    return [value["const"]] if "const" in value else value.get("enum", [])


def meaning(name: str, value: dict[str, Any], defs: dict[str, Any]) -> str:
    """Description of a key, else of what it may hold beside null, else of the section that it is."""
    if "description" in value:
        return str(value["description"])
    if name in KINDS and _named(value):
        return "says which of the sections this is"
    for one in (value, *value.get("anyOf", ()), *value.get("oneOf", ())):
        found = defs.get(one.get("$ref", "").removeprefix("#/$defs/"), one)
        if "description" in found:
            return str(found["description"]).splitlines()[0]
    return ""


def _plain(value: dict[str, Any]) -> str:
    kind = {"integer": "integer", "number": "number", "boolean": "`true`, `false`", "null": "`null`"}.get(
        value.get("type", "")
    )
    if kind is None:
        return "text"
    low, high = value.get("minimum"), value.get("maximum")
    above, under = value.get("exclusiveMinimum"), value.get("exclusiveMaximum")
    limits = [
        *([f"from {low:g}" if isinstance(low, float) else f"from {low}"] if low is not None else []),
        *([f"above {above:g}"] if above is not None else []),
        *([f"to {high:,}" if isinstance(high, int) else f"to {high:g}"] if high is not None else []),
        *(
            [f"below {under if under < 1e6 else '2⁶³' if under == 2**63 else f'{under:g}'}"]
            if under is not None
            else []
        ),
        *([f"a multiple of {value['multipleOf']}"] if "multipleOf" in value else []),
    ]
    return " ".join((kind, *limits))


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if isinstance(default, dict) and "$ref" in value:
        return "those of the section"
    return _code(json.dumps(default, ensure_ascii=False).replace('"', ""))


# modules


def api() -> Iterator[tuple[str, str]]:
    """A page per folder of the package, one of the modules beside them, and their list."""
    found = [
        m for m in iter_modules([str(PACKAGE)]) if m.name not in ("cli", "__main__")
    ]  # these have commands.md
    folders = [module.name for module in found if module.ispkg]
    listed = [f"api-{name}" for name in (*folders, "modules")]
    yield (
        "api.md",
        "\n".join(
            (
                "# Python API",
                "",
                "From the docstrings of the code.",
                "",
                "```{toctree}",
                ":maxdepth: 2",
                "",
                *listed,
                "```",
                "",
            )
        ),
    )
    for folder in folders:
        yield f"api-{folder}.rst", _module_page(f"bridgepipe.{folder}", _modules(f"bridgepipe.{folder}"))
    yield (
        "api-modules.rst",
        _module_page("Modules beside them", [f"bridgepipe.{m.name}" for m in found if not m.ispkg]),
    )


def _modules(name: str) -> Iterator[str]:
    """A package and all modules below it."""
    yield name
    folder = PACKAGE.joinpath(*name.split(".")[1:])
    for module in iter_modules([str(folder)]):
        inner = f"{name}.{module.name}"
        yield from _modules(inner) if module.ispkg else (inner,)


def _module_page(title: str, modules: Iterable[str]) -> str:
    lines = [title, "=" * len(title), ""]
    for module in modules:
        if module != title:
            lines += [module, "-" * len(module), ""]
        lines += [f".. automodule:: {module}", ""]
    return "\n".join(lines)


# tables


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _code(text: Any) -> str:
    return f"`{text}`"
