"""The code that a function or a class can run, found in its source: what an edit of code makes stale.

From the definitions that are asked for, every name that they use is followed through the imports of this
package, those inside functions too. The unit is a definition at the top of a module, so a module that holds
much takes in only what is used of it. Comments, docstrings, formatting
and the types of arguments do not count.

Attributes of objects are not followed: the class of an object is found where it is named. A module that is
used as a value (``getattr(schedules, name)``) is taken whole. Imports nothing but the standard library.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime import source
from bridgepipe.runtime.source import PACKAGE, WHOLE, Definition

# modules that decide no number: files, messages, signals, processes, settings, whose values a stage receives
MACHINERY = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "artifacts",
        "cli.groups",
        "cli.guarding",
        "config",
        "downloads",
        "errors",
        "networks.layouts",  # weights to start from count by their content
        "runtime.closure",
        "runtime.finished",
        "runtime.interruption",
        "runtime.launch",
        "runtime.locks",
        "runtime.progress",
        "runtime.provenance",
        "stages.validation",  # what it computes is read by people
        "training.log",
        "training.state",
        "training.trackers",
        "training.validation",
    )
)

Root = str | Callable[..., Any]  # dotted name, or the function or class itself


def digest(*roots: Root, without: Iterable[Root] = ()) -> str:
    """Digest of the code that the roots can run, 16 hex digits.

    Args:
        roots: functions and classes, or their dotted names.
        without: definitions and modules that are not followed; forgetting one makes the closure wider.
    """
    found = definitions(*roots, without=without)
    beside = {
        f"{m}:{f.name}": artifacts.digest_file(f) for m, name in found for f in source.data_beside(m, name)
    }
    return artifacts.digest_of({f"{m}:{name}": source.text_of(m, name) for m, name in found} | beside)


def files(*roots: Root, without: Iterable[Root] = ()) -> list[Path]:
    """Source files that hold the code that the roots can run."""
    return sorted({source.file_of(m) for m, _ in definitions(*roots, without=without)})


class Digests:
    """Digests of the code of verbs, kept in a file and computed anew when any source file has changed.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, verb: str) -> str:
        """Digest of the code that a verb, such as ``evaluate fid``, can run."""
        if verb not in self._known["verbs"]:
            self._known["verbs"][verb] = digest(function_of(verb), without=MACHINERY)
            artifacts.write_json(self._file, self._known)
        return self._known["verbs"][verb]

    @cached_property
    def _known(self) -> Json:
        now = source.source_digest(*source.everything())
        with suppress(UserError):  # none yet, or damaged
            known = artifacts.read_json(self._file)
            if known.get("source") == now:
                return known
        return {"source": now, "verbs": {}}


def verb_of(command: str) -> str | None:
    """Verb of a command line of bridgepipe; None of another one."""
    found = re.match(rf"{PACKAGE}((?: [a-z][a-z-]*)+)(?= |$)", command)
    return found[1].strip() if found else None


def function_of(verb: str) -> str:
    """Dotted name of the function behind a verb.

    Raises:
        ValueError: there is no such verb.
    """
    above, _, name = verb.rpartition(" ")
    named = {
        f"{module}.{function}": groups
        for module in source.modules("cli")
        for function, (groups, verb_name) in _commands(module).items()
        if verb_name == name
    }
    # two groups may have a verb of one name: stage evaluate fid, and fid for people
    found = [function for function, group in named.items() if len(named) == 1 or _words(group) == above]
    if len(found) != 1:
        raise ValueError(f"{len(found)} functions for '{PACKAGE} {verb}': {found}")
    return found[0]


def definitions(*roots: Root, without: Iterable[Root] = ()) -> list[Definition]:
    """Every definition that the roots can reach, themselves included.

    Raises:
        ValueError: a root is not in this package.
    """
    excluded = [_dotted(root) for root in without]
    waiting = [d for root in roots for d in source.resolve(_dotted(root))]
    if not waiting:
        raise ValueError(f"not in {PACKAGE}: {roots}")
    found: set[Definition] = set()
    while waiting:
        module, name = waiting.pop()
        dotted = f"{module}.{name}"
        if (module, name) in found or any(dotted == e or dotted.startswith(f"{e}.") for e in excluded):
            continue
        found.add((module, name))
        waiting += [(module, WHOLE), *source.parsed(module).used_by(name)]
    return sorted(found)


def _dotted(root: Root) -> str:
    return root if isinstance(root, str) else f"{root.__module__}.{root.__qualname__}"


def _words(group: str) -> str:
    """What is said before the verbs of a group, such as ``stage evaluate``, by its name in the code."""
    added = re.findall(r"^(\w+)\.add_typer\((\w+), name=\"?(\w+)\"?\)", _groups_text(), flags=re.MULTILINE)
    above = {inner: (outer, word.lower()) for outer, inner, word in added}
    words: list[str] = []
    at = group.rpartition(".")[2]
    while at in above:
        at, word = above[at]
        words.insert(0, word)
    return " ".join(words)


@cache
def _groups_text() -> str:
    return source.file_of(f"{PACKAGE}.cli.groups").read_text()


@cache
def _commands(module: str) -> dict[str, tuple[str, str]]:
    """Functions of a module that are verbs: name -> group, such as ``groups.stage``, and name of the verb."""
    found = {}
    for name, statements in source.parsed(module).defined.items():
        for call in (c for s in statements for c in getattr(s, "decorator_list", ())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith((".command", ".verb")):
                given = ast.literal_eval(call.args[0]) if call.args else name
                found[name] = ast.unparse(call.func).rpartition(".")[0], given.replace("_", "-")
    return found
