"""The code that something runs, found from a tree of modules that is written for the test."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from every_verb import VERBS as VERBS_OF_THE_PROGRAM

from bridgepipe.runtime import closure, finished, source

MODULES = {
    "loop": """
        from bridgepipe import speech
        from bridgepipe.maths import curves
        from bridgepipe.maths.curves import bend as turn
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from bridgepipe.unused import Unused

        def train(x: Unused):
            from bridgepipe import lazy
            return turn(x) + lazy.value + Part().run()

        def pick(name):
            return getattr(curves, name)

        def pick_more(name):
            from bridgepipe import maths
            return getattr(maths, name)

        def sample():
            speech.say()

        class Part:
            def run(self):
                return CONSTANT

        CONSTANT = 1
        OTHER = 2

        def named(OTHER: Unused) -> Part:
            sample = OTHER
            return sample, [CONSTANT for CONSTANT in sample], open("numbers.yaml")
        """,
    "maths/__init__": "from bridgepipe.maths.curves import straight",
    "maths/curves": """
        def bend(x):
            return x + 1
        def straight(x):
            return x
        """,
    "lazy": "import os\nvalue = 1\nos.environ.get('x')\n",
    "speech": "def say(): pass",
    "unused": "class Unused: pass",
    "again": "from bridgepipe import maths\ndef f(): return maths.straight(1)",
    "careful": """
        try:
            from bridgepipe import lazy
        except ImportError:
            lazy = None
        def f():
            return lazy.value
        """,
}


VERBS = """
from bridgepipe.maths.curves import straight

@metric_app.command("fid")
def fid_metric(x):
    return straight(x)

@app.command()
def train_classifier(x):
    return x
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in MODULES.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(text))
    monkeypatch.setattr(source, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    source.parsed.cache_clear()
    source.text_of.cache_clear()
    closure._commands.cache_clear()


def names(root: str) -> set[str]:
    return {f"{m.removeprefix('bridgepipe.')}.{n}" for m, n in closure.definitions(root) if n}


def test_what_is_named_is_reached_through_every_kind_of_import(tree: Path) -> None:
    reached = {"loop.train", "loop.Part", "loop.CONSTANT", "maths.curves.bend", "lazy.value"}
    assert names("bridgepipe.loop.train") == reached
    assert names("bridgepipe.again.f") == {"again.f", "maths.curves.straight"}
    assert "lazy.value" in names("bridgepipe.careful.f")


def test_a_module_that_is_used_as_a_value_is_taken_whole(tree: Path) -> None:
    assert names("bridgepipe.loop.pick") == {"loop.pick", "maths.curves.bend", "maths.curves.straight"}
    assert names("bridgepipe.loop.pick_more") == {"loop.pick_more", "maths.curves.straight"}
    assert source.modules("maths", "lazy") == [
        "bridgepipe.lazy",
        "bridgepipe.maths",
        "bridgepipe.maths.curves",
    ]


def test_files_and_what_is_left_out(tree: Path) -> None:
    found = closure.files("bridgepipe.loop.train", without=["bridgepipe.lazy"])
    assert [f.name for f in found] == ["loop.py", "curves.py"]


def test_names_that_are_a_functions_own_reach_nothing(tree: Path) -> None:
    assert names("bridgepipe.loop.named") == {"loop.named", "loop.CONSTANT"}


def test_a_file_beside_a_module_counts_by_its_content(tree: Path) -> None:
    (tree / "numbers.yaml").write_text("1")
    before = closure.digest("bridgepipe.loop.named")
    assert closure.digest("bridgepipe.loop.named") == before
    (tree / "numbers.yaml").write_text("2")
    assert closure.digest("bridgepipe.loop.named") != before


def test_digests_of_verbs_are_kept_until_the_source_changes(tree: Path, tmp_path: Path) -> None:
    (tree / "cli").mkdir()
    (tree / "cli" / "verbs.py").write_text(VERBS)
    forget()
    assert closure.function_of("evaluate fid") == "bridgepipe.cli.verbs.fid_metric"
    before = closure.Digests(tmp_path / "code.json").of("evaluate fid")
    assert before == closure.digest("bridgepipe.cli.verbs.fid_metric")
    kept = closure.artifacts.read_json(tmp_path / "code.json")
    assert kept["verbs"] == {"evaluate fid": before}
    (tree / "maths/curves.py").write_text("def bend(x): return x + 1\ndef straight(x): return 2 * x\n")
    forget()
    assert closure.Digests(tmp_path / "code.json").of("evaluate fid") != before
    with pytest.raises(ValueError, match="0 functions for 'bridgepipe evaluate nothing'"):
        closure.function_of("evaluate nothing")


def test_the_function_of_every_verb_is_found() -> None:
    """Also where two groups have a verb of one name."""
    for verb, command in VERBS_OF_THE_PROGRAM.items():
        assert closure.function_of(verb) == f"{command.callback.__module__}.{command.callback.__name__}"


@pytest.mark.parametrize(
    ("command", "verb"),
    [
        ("bridgepipe evaluate fid --config x", "evaluate fid"),
        ("bridgepipe gather {input.parts} --output x", "gather"),
        ("bridgepipe clean", "clean"),
        ("bridgepipes clean", None),
        ("", None),
    ],
)
def test_the_verb_of_a_command(command: str, verb: str | None) -> None:
    assert closure.verb_of(command) == verb


def test_a_name_outside_of_the_package_is_no_root(tree: Path) -> None:
    with pytest.raises(ValueError, match="not in bridgepipe"):
        closure.digest("torch.nn")


EDITS = {
    "comment": ("loop", "CONSTANT = 1", "CONSTANT = 1  # one", False),
    "docstring": ("loop", "def run(self):", 'def run(self):\n        """Say it."""', False),
    "layout": ("loop", "CONSTANT = 1", "\n\nCONSTANT  =  (1)", False),
    "unused definition of a used module": ("loop", "OTHER = 2", "OTHER = 3", False),
    "unused function of a used module": ("maths/curves", "return x\n", "return 2 * x\n", False),
    "unused module": ("speech", "pass", "return 1", False),
    "a type": ("unused", "pass", "x = 1", False),
    "constant": ("loop", "CONSTANT = 1", "CONSTANT = 2", True),
    "constant of another type": ("loop", "CONSTANT = 1", "CONSTANT = 1.0", True),
    "type of an argument": ("loop", "x: Unused", "x: object", False),
    "function": ("maths/curves", "x + 1", "x + 2", True),
    "import of another function": ("loop", "import bend as turn", "import straight as turn", True),
    "what runs at import": ("lazy", "os.environ.get('x')", "os.environ.get('y')", True),
    "import in a function": (
        "loop",
        "from bridgepipe import lazy",
        "from bridgepipe import speech as lazy",
        True,
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_counts_when_it_can_change_what_runs(tree: Path, edit: str) -> None:
    module, old, new, counts = EDITS[edit]
    before = closure.digest("bridgepipe.loop.train")
    file = tree / f"{module}.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    forget()
    assert (closure.digest("bridgepipe.loop.train") != before) is counts


# of the real package


def test_a_training_takes_in_its_loop_its_network_and_its_noise_and_no_sampler() -> None:
    roots = ("bridgepipe.training.loop.train", "bridgepipe.methods.task._restoration")
    other = "bridgepipe.methods.task._distillation"  # of other experiments, as `Task.unused` says
    of_training = closure.definitions(*roots, without=(*closure.MACHINERY, other))
    found = {m.removeprefix("bridgepipe.") for m, _ in of_training}
    assert {"training.loop", "runtime.rng", "networks.adm", "processes.bridge", "runtime.devices"} <= found
    assert not {m for m in found if m.startswith(("samplers", "evaluation", "networks.ddpm"))}


def test_a_sampler_is_code_of_what_samples_and_the_published_numbers_are_of_tables() -> None:
    def reached(verb: str) -> set[str]:
        function = closure.function_of(verb)
        return {m.removeprefix("bridgepipe.") for m, _ in closure.definitions(function)}

    assert "samplers.bridge_loops" in reached("sample") & reached("study") & reached("figure path")
    assert not {
        m for m in reached("train-classifier") if m.startswith(("samplers", "methods", "corruptions"))
    }
    assert [
        f.name for f in source.data_beside("bridgepipe.evaluation.published_numbers", "load_published")
    ] == ["published.yaml"]
    assert "evaluation.published_numbers" in reached("table")


def test_every_name_in_a_list_of_modules_is_of_a_module() -> None:
    """Or what is left out would be followed, and what counts would count no more."""
    assert all(source.file_of(name).is_file() for name in closure.MACHINERY)
    assert len(source.modules(*finished.CODE)) > len(finished.CODE)
    with pytest.raises(ValueError, match="no module or folder of bridgepipe: running"):
        source.modules("samplers", "running")


def test_every_module_can_be_read() -> None:
    files = {f for f in source.ROOT.rglob("*.py") if f.name != "__main__.py"} - {source.ROOT / "__init__.py"}
    modules = {f.relative_to(source.ROOT).with_suffix("").as_posix().replace("/", ".") for f in files}
    found = closure.files(*(f"bridgepipe.{m.removesuffix('.__init__')}" for m in modules))
    assert files <= set(found)
