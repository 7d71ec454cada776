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
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError

PACKAGE = "bridgepipe"
ROOT = Path(__file__).parents[1]
BLOCKS = (ast.If, ast.Try, ast.With, ast.For, ast.While)
SCOPES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)
WHOLE = ""  # in place of a name: what a module runs when it is imported
# modules that decide no number: files, messages, signals, processes, settings, whose values a stage is told
MACHINERY = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "artifacts",
        "cli.groups",
        "config",
        "downloads",
        "errors",
        "runtime.closure",
        "runtime.finished",
        "runtime.interruption",
        "runtime.launch",
        "runtime.locks",
        "runtime.progress",
        "runtime.provenance",
        "training.log",
        "training.state",
    )
)

Root = str | Callable[..., Any]  # dotted name, or the function or class itself
Definition = tuple[str, str]  # module and name


def digest(*roots: Root, without: Iterable[Root] = ()) -> str:
    """Digest of the code that the roots can run, 16 hex digits.

    Args:
        roots: functions and classes, or their dotted names.
        without: definitions and modules that are not followed; forgetting one makes the closure wider.
    """
    found = definitions(*roots, without=without)
    beside = {f"{m}:{f.name}": artifacts.digest_file(f) for m, name in found for f in _data(m, name)}
    return artifacts.digest_of({f"{m}:{name}": _text(m, name) for m, name in found} | beside)


def files(*roots: Root, without: Iterable[Root] = ()) -> list[Path]:
    """Source files that hold the code that the roots can run."""
    return sorted({_file(m) for m, _ in definitions(*roots, without=without)})


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
    def _known(self) -> dict[str, Any]:
        source = source_digest(*everything())
        with suppress(UserError):  # none yet, or damaged
            known = artifacts.read_json(self._file)
            if known.get("source") == source:
                return known
        return {"source": source, "verbs": {}}


def verb_of(command: str) -> str | None:
    """Verb of a command line of bridgepipe; None of another one."""
    found = re.match(rf"{PACKAGE}((?: [a-z][a-z-]*)+)(?= |$)", command)
    return found[1].strip() if found else None


def function_of(verb: str) -> str:
    """Dotted name of the function behind a verb.

    Raises:
        ValueError: there is no such verb.
    """
    name = verb.split()[-1]
    found = [f"{m}.{f}" for m in modules("cli") for f, told in _commands(m).items() if told == name]
    if len(found) != 1:
        raise ValueError(f"{len(found)} functions for '{PACKAGE} {verb}': {found}")
    return found[0]


def source_digest(*names: str) -> str:
    """Digest of the source of `modules`, comments included: 100 times faster, for what is soon made again."""
    return artifacts.digest_of({module: artifacts.digest_file(_file(module)) for module in modules(*names)})


def everything() -> list[str]:
    """Names of all modules and folders of this package."""
    found = {file.relative_to(ROOT).parts[0].removesuffix(".py") for file in ROOT.rglob("*.py")}
    return sorted(name for name in found if not name.startswith("__"))


def modules(*names: str) -> list[str]:
    """Dotted names of modules of this package, and of all those in its folders, by their names in it.

    Raises:
        ValueError: a name is of neither.
    """
    return sorted(module for name in names for module in _below(name))


def _below(name: str) -> Iterator[str]:
    path = ROOT.joinpath(*name.split("."))
    found = [*([path.with_suffix(".py")] if path.with_suffix(".py").is_file() else []), *path.rglob("*.py")]
    if not found:
        raise ValueError(f"no module or folder of {PACKAGE}: {name}")
    for file in found:
        inner = file.relative_to(ROOT).with_suffix("").parts
        yield ".".join((PACKAGE, *(part for part in inner if part != "__init__")))


def definitions(*roots: Root, without: Iterable[Root] = ()) -> list[Definition]:
    """Every definition that the roots can reach, themselves included.

    Raises:
        ValueError: a root is not in this package.
    """
    excluded = [_dotted(root) for root in without]
    waiting = [d for root in roots for d in _resolve(_dotted(root))]
    if not waiting:
        raise ValueError(f"not in {PACKAGE}: {roots}")
    found: set[Definition] = set()
    while waiting:
        module, name = waiting.pop()
        dotted = f"{module}.{name}"
        if (module, name) in found or any(dotted == e or dotted.startswith(f"{e}.") for e in excluded):
            continue
        found.add((module, name))
        waiting += [(module, WHOLE), *_parsed(module).used_by(name)]
    return sorted(found)


def _dotted(root: Root) -> str:
    return root if isinstance(root, str) else f"{root.__module__}.{root.__qualname__}"


class _Module:
    """What one module defines and imports.

    Attributes:
        defined: statements by the name that they bind.
        imported: dotted names by what they are called here.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._used: dict[str, list[Definition]] = {}
        self.defined: dict[str, list[ast.stmt]] = {WHOLE: []}
        self.imported: dict[str, str] = {}
        for statement in ast.parse(_file(name).read_text(encoding="utf8")).body:
            self._read(statement)

    def _read(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self.imported |= _imports(statement)
        elif not _for_types_only(statement):
            if isinstance(statement, BLOCKS):
                self.imported |= _inner_imports(statement)
            for name in _bound(statement) or [WHOLE]:
                self.defined.setdefault(name, []).append(statement)

    def used_by(self, name: str) -> list[Definition]:
        """Definitions of the package that one of this module names."""
        if name not in self._used:
            self._used[name] = list(self._found_in(name))
        return self._used[name]

    def _found_in(self, name: str) -> Iterator[Definition]:
        for statement in self.defined.get(name, []):
            inner, local = _inner_imports(statement), _local(statement)
            for root, *attributes in _names(statement):
                if root in local and root not in inner:
                    continue
                known = inner.get(root) or self.imported.get(root)
                if known is None and root in self.defined and root != name:
                    known = f"{self.name}.{root}"
                if known is not None:
                    yield from _resolve(".".join((known, *attributes)))


@cache
def _commands(module: str) -> dict[str, str]:
    """Functions of a module that are verbs: name of the function -> name of the verb."""
    found = {}
    for name, statements in _parsed(module).defined.items():
        for call in (c for s in statements for c in getattr(s, "decorator_list", ())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith((".command", ".verb")):
                given = ast.literal_eval(call.args[0]) if call.args else name
                found[name] = given.replace("_", "-")
    return found


@cache
def _parsed(module: str) -> _Module:
    return _Module(module)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return name.split(".")[0] == PACKAGE and _file(name).is_file()


def _resolve(dotted: str) -> list[Definition]:
    """What a dotted name stands for: a definition, or all those of a module; [] outside of the package."""
    parts = dotted.split(".")
    split = next((n for n in range(len(parts), 0, -1) if _is_module(".".join(parts[:n]))), 0)
    if split == 0:
        return []
    module = _parsed(".".join(parts[:split]))
    if split == len(parts):
        offered = module.imported.values() if _file(dotted).name == "__init__.py" else ()
        return [(dotted, name) for name in module.defined] + [d for o in offered for d in _resolve(o)]
    name = parts[split]
    if name in module.defined:
        return [(module.name, name)]
    return _resolve(module.imported[name]) if name in module.imported else []


def _imports(statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Dotted names by what they are called; the package has absolute imports only."""
    if isinstance(statement, ast.ImportFrom):
        return {a.asname or a.name: f"{statement.module}.{a.name}" for a in statement.names}
    names = [(a.asname, a.name if a.asname else a.name.split(".")[0]) for a in statement.names]
    return {alias or name: name for alias, name in names}


def _inner_imports(statement: ast.stmt) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= _imports(node)
    return found


def _local(statement: ast.stmt) -> set[str]:
    """Names that are a function's own: its arguments, and what it assigns to."""
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return set()
    given = statement.args
    arguments = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    return {a.arg for a in arguments if a} | set(_assigned(statement))


def _assigned(node: ast.AST) -> Iterator[str]:
    """Names that are assigned to, but not in the functions and comprehensions inside."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, SCOPES):
            yield from _assigned(child)


def _for_types_only(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _bound(statement: ast.stmt) -> list[str]:
    """Names that a statement at the top of a module binds, or whose object it changes (``app.x += y``)."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, BLOCKS):
        inner = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
        return [WHOLE, *(name for child in inner for name in _bound(child))]
    target = getattr(statement, "target", None)
    targets = statement.targets if isinstance(statement, ast.Assign) else [target] if target else []
    return [node.id for t in targets for node in ast.walk(t) if isinstance(node, ast.Name)]


def _names(node: ast.AST) -> Iterator[list[str]]:
    """Names that are used in a statement, each with the attributes that are asked of it."""
    attributes: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        attributes.insert(0, inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield [inner.id, *attributes]
        return
    for child in ast.iter_child_nodes(_untyped(inner)):
        yield from _names(child)


def _data(module: str, name: str) -> set[Path]:
    """Files beside a module, other than modules, that one of its definitions names."""
    nodes = (node for statement in _parsed(module).defined.get(name, []) for node in ast.walk(statement))
    named = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    beside = {path.name: path for path in _file(module).parent.iterdir() if path.suffix not in ("", ".py")}
    return {beside[value] for value in named & beside.keys()}


@cache
def _text(module: str, name: str) -> str:
    return artifacts.canonical([_plain(s) for s in _parsed(module).defined.get(name, [])])


def _plain(node: Any) -> Any:
    """A syntax tree as JSON, without docstrings, places, and fields that not every Python has."""
    if isinstance(node, ast.AST):
        told = ast.iter_fields(_untyped(node))
        fields = {k: _plain(v) for k, v in told if k not in ("type_comment", "kind")}
        return [type(node).__name__, {k: v for k, v in fields.items() if v not in (None, [])}]
    if isinstance(node, list):
        return [_plain(n) for n in node if not _is_docstring(n)]
    return node if isinstance(node, str | None) else repr(node)


def _untyped(node: ast.AST) -> ast.AST:
    """A function or an argument without its types, which nothing runs."""
    if isinstance(node, ast.arg):
        return ast.arg(arg=node.arg)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return type(node)(**{k: v for k, v in ast.iter_fields(node) if k != "returns"})
    return node


def _is_docstring(node: Any) -> bool:
    """A string that stands for itself does nothing, wherever it stands."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
