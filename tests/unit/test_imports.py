"""Who may import whom: the layers of the design, read from the source."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

PACKAGE = Path(__file__).parents[2] / "src/bridgepipe"
FILES = sorted(PACKAGE.rglob("*.py"))
# anyone may import these
BASE = {
    "errors",
    "names",
    "finite",
    "runtime.rng",
    "runtime.progress",
    "runtime.interruption",
    "runtime.locks",
    "photographs.samples",
}  # anyone may import these
MATHS = {"torch", "numpy", "math", "bridgepipe"}
CODECS = {"codec": {"PIL"}}  # real files are one of the corruptions
# layer -> layers of bridgepipe that it may import beside itself and BASE
LAYERS = {
    "processes": set(),
    "networks": {"artifacts"},
    "corruptions": set(),
    "samplers": {"processes"},
    "config": {"artifacts"},
    "data": {"artifacts"},
    "datasets": {"config", "data", "artifacts", "corruptions"},
    "downloads": {"artifacts"},
    "runtime": {"config", "artifacts"},
    "photographs": {
        "config",
        "methods",
        "samplers",
        "networks",
        "corruptions",
        "data",
        "datasets",
        "figures",
        "runtime",
        "artifacts",
    },
    "figures": {"artifacts", "evaluation", "datasets"},
    "methods": {
        "config",
        "processes",
        "samplers",
        "networks",
        "corruptions",
        "data",
        "datasets",
        "downloads",
        "runtime",
        "training",
        "artifacts",
        "evaluation",
    },
    "report": {"__version__", "config", "artifacts", "data", "evaluation", "runtime"},
    "web": {"config", "datasets", "methods", "photographs"},
    "workflow": {"config", "artifacts", "data", "datasets", "downloads", "networks", "runtime", "training"},
}
CONFIGURED = {"cli", "config", "datasets", "methods", "photographs", "report", "runtime", "stages", "web"}
CONFIGURED |= {"training", "workflow"}
STANDARD = set(sys.stdlib_module_names)


LAYERS["stages"] = {path.stem for path in PACKAGE.iterdir()} - {"cli", "web", "workflow"}


def files(layer: str) -> list[Path]:
    return sorted((PACKAGE / layer).rglob("*.py"))


def test_three_modules_stand_outside_packages() -> None:
    loose = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert loose == {"artifacts", "errors", "finite"}


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports when it runs, not those for type checkers only."""
    tree = ast.parse(file.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "bridgepipe":
            found |= {f"bridgepipe.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_layers(file: Path) -> set[str]:
    """Packages and loose modules of bridgepipe that a file imports, beside those that anyone may import."""
    own = [name.split(".")[1:] for name in imports(file) if name.startswith("bridgepipe.")]
    return {parts[0] for parts in own if not {parts[0], ".".join(parts[:2])} & BASE}


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_imports_only_what_it_may(layer: str) -> None:
    for file in files(layer):
        assert own_layers(file) <= {layer} | LAYERS[layer], file


@pytest.mark.parametrize("layer", ["processes", "corruptions", "samplers"])
def test_maths_needs_torch_only(layer: str) -> None:
    for file in files(layer):
        roots = {name.split(".")[0] for name in imports(file)}
        assert roots - STANDARD <= MATHS | CODECS.get(file.stem, set()), file


def test_no_modules_import_each_other_in_a_circle() -> None:
    """At the top of the files, that is; CycleError names the circle."""
    modules = {".".join(("bridgepipe", *f.relative_to(PACKAGE).with_suffix("").parts)): f for f in FILES}
    packages = {name.removesuffix(".__init__"): name for name in modules if name.endswith(".__init__")}
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        top = ast.Module([n for n in ast.parse(file.read_text()).body if isinstance(n, ast.ImportFrom)], [])
        named = [(f"{n.module}.{a.name}", n.module) for n in top.body for a in n.names]
        named = [name if {name, f"{name}.__init__"} & modules.keys() else beside for name, beside in named]
        graph[module] = {packages.get(name, name) for name in named} & modules.keys() - {module}
        graph[module] -= {packages.get(module.rpartition(".")[0])}  # a package may gather its modules
    assert len(list(TopologicalSorter(graph).static_order())) == len(modules)
    assert sum(map(len, graph.values())) > 500


def test_functions_are_short() -> None:
    lengths = [
        node.end_lineno - node.lineno + 1
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno
    ]
    assert statistics.median(lengths) <= 6
    assert statistics.quantiles(lengths, n=10)[-1] <= 22
    assert max(lengths) <= 60


def test_nothing_imports_the_engines() -> None:
    for file in PACKAGE.rglob("*.py"):
        roots = {name.split(".")[0] for name in imports(file)}
        assert not roots & {"snakemake", "dvc"}, file


def test_the_maths_and_the_stores_know_nothing_of_the_configuration() -> None:
    for file in PACKAGE.rglob("*.py"):
        layer = file.relative_to(PACKAGE).with_suffix("").parts[0]
        assert layer in CONFIGURED or "config" not in own_layers(file), file


def test_reading_the_workflow_and_the_configuration_imports_no_torch() -> None:
    code = "import sys, bridgepipe.config, bridgepipe.workflow; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SLOW = ["accelerate", "torchvision", "torch._dynamo", "scipy", "skimage", "sklearn", "pandas", "matplotlib"]
VERBS = "bridgepipe.cli.people"  # all verbs are imported with one


@pytest.mark.parametrize(
    ("modules", "unneeded"),
    [
        (f"{VERBS}, bridgepipe.cli.project", ["torch", "numpy", "PIL", *SLOW]),
        ("bridgepipe.data.storecard, bridgepipe.training.state", ["torch", "numpy", "PIL", *SLOW]),
        ("bridgepipe.stages.data, bridgepipe.data.joining", ["torch", *SLOW]),
        ("bridgepipe.stages.curves", ["torch", "scipy", "skimage", "sklearn"]),
        ("bridgepipe.stages.numbers", ["torch", *SLOW]),
        ("bridgepipe.stages.pictures, bridgepipe.stages.spectrum", [*SLOW[:-1], "ot"]),  # all but matplotlib
        ("bridgepipe.stages.points, bridgepipe.stages.color", [*SLOW, "ot"]),
        ("bridgepipe.stages.metrics, bridgepipe.stages.translation_metrics, bridgepipe.stages.studies", SLOW),
        ("bridgepipe.stages.edits", SLOW),
        ("bridgepipe.stages.restoration, bridgepipe.stages.generation", SLOW),
        ("bridgepipe.stages.training, bridgepipe.stages.translation", SLOW),
        ("bridgepipe.photographs.editing, bridgepipe.photographs.translating, bridgepipe.web.app", SLOW),
    ],
)
def test_verbs_import_what_they_use(modules: str, unneeded: list[str]) -> None:
    code = f"import sys, {modules}; print([name for name in {unneeded} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("work", "unneeded"),
    [
        (
            "import torch; from bridgepipe.training.optimizer import AdamW;"
            "weight = torch.nn.Parameter(torch.ones(1)); adamw = AdamW([weight]);"
            "weight.grad = torch.ones(1); adamw.step(); adamw.zero_grad();"
            "adamw.load_state_dict(adamw.state_dict())",
            "torch._dynamo",
        ),
        (
            "import numpy; from bridgepipe.evaluation.restoration import quality;"
            "images = numpy.zeros((1, 8, 8, 3), numpy.uint8); quality(images, images)",
            "torchmetrics",
        ),
        (
            "from bridgepipe.datasets import colors, digits;colors.load('china'), digits.digit_items((8, 8))",
            "sklearn",
        ),
        (
            "from bridgepipe.evaluation import accuracy, protocol;"
            "accuracy.wilson(1, 9), protocol.students_t(3)",
            "scipy.stats",
        ),
    ],
)
def test_work_imports_what_it_uses(work: str, unneeded: str) -> None:
    code = f"import sys; {work}; sys.exit({unneeded!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_process_samples_without_accelerate() -> None:
    code = (
        "import sys, torch; from bridgepipe.networks.residual import ResidualUNet;"
        "from bridgepipe.runtime.running import Inference;"
        "work = Inference(ResidualUNet(3, 3, 8, (1,), 1));"
        "work.call(torch.zeros(1, 3, 4, 4), torch.zeros(1));"
        "sys.exit('accelerate' in sys.modules or 'torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_stores_hold_is_told_without_torch(tmp_path: Path) -> None:
    from bridgepipe.data.store import writer

    with writer(tmp_path / "a.lmdb", {}, progress=False) as w:
        w.put(np.zeros((4, 4, 3), np.uint8))
    code = (
        f"import sys; sys.argv = ['bridgepipe', 'store', 'info', {str(tmp_path / 'a.lmdb')!r}];"
        "from bridgepipe import cli; cli._run(); sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "count         1\n" in done.stdout
