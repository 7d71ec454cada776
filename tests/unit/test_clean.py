"""`make clean` removes what can be made again and nothing else; `make setup` notices a moved project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trees
import yaml

from bridgepipe import artifacts
from bridgepipe.config import read_yaml
from bridgepipe.errors import UserError
from bridgepipe.runtime import locks, provenance
from bridgepipe.workflow.cleaning import clean

ROOT = Path(__file__).parents[2]
GONE = (
    "data/prepared/digits/train.lmdb",
    "data/prepared/digits/config.json",
    "data/prepared/digits/counts.json",
    "data/prepared/mine/train.lmdb",
    "data/points/moons/train.safetensors",
    "data/stats/digits/train-digits-classifier.safetensors",
    "data/checkpoints/digits-classifier.safetensors",
    "results/i2sb/jpeg-5/fid.json",
    "results/i2sb/jpeg-5/model.safetensors",
    "results/boundary/table.md",
    "results/logs/prepare-digits.log",
    "results/i2sb/jpeg-5/.restored.lmdb.partial",
    "data/prepared/mine/.train.lmdb.notes",
    "data/prepared/mine/.train.lmdb.partial",
    "results/i2sb/jpeg-5/provenance/fid.json.json",
    "results/i2sb/jpeg-5/logs/sample-0-of-4.log",
    "results/plan/train@i2sb/jpeg-5.json",
    ".snakemake/metadata/abc",
    "report.html",
)
LEFT = (
    "data/raw/imagenet/val/a.JPEG",
    "data/raw/afhq.zip",
    "data/prepared/lost/train.lmdb",  # its pictures are gone
    "data/prepared/unmounted/train.lmdb",  # the folder of its pictures is empty
    "data/prepared/unknown/train.lmdb",  # params.yaml has no such dataset
    "data/checkpoints/inception.pth",
    "data/checkpoints/adm/256x256_diffusion.pt",
    "results/i2sb/jpeg-5/train/state.safetensors",
    "results/i2sb/jpeg-5/train/state-0123456789ab-5.safetensors",  # set aside
    "results/i2sb/jpeg-10/model.safetensors",  # trained, and its state is gone
    "results/i2sb/jpeg-10/train.csv",  # or Snakemake would train again
    "results/i2sb/lost/model.safetensors",
    "results/i2sb/lost/fid.json",
    "results/i2sb/started/model.safetensors",  # the weights that it starts from are gone
    "results/i2sb/started/train/state.safetensors",
    "results/i2sb/lost/config/train.json",  # or Snakemake would find the weights out of date
    "data/prepared/lost/source.json",
    "data/prepared/lost/files.json",
    "results/i2sb/judged/fid.json",  # the weights of its extractor are gone
    "results/i2sb/deleted/restored.lmdb",
    "results/i2sb/deleted/provenance/restored.lmdb.json",
    "results/i2sb/table.md",  # tells of experiments that are lost
    "results/i2sb/sr4x-pool/fid.json",  # behind a link: of a project that shares its results
    # of a person, in folders that the workflow writes
    "results/i2sb/jpeg-5/notes.txt",
    "results/i2sb/jpeg-5/figures/mine.png",
    "results/i2sb/mynotes.md",
    "results/i2sb/.gitignore",
    "results/logs/mine.log",
    "data/prepared/digits/mine.lmdb",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one file of every kind, whose results lie on another disk."""
    monkeypatch.chdir(tmp_path)
    for link, target in (("results", "disk"), ("results/i2sb/sr4x-pool", "shared")):
        (tmp_path / link).parent.mkdir(exist_ok=True)
        (tmp_path / target).mkdir()
        (tmp_path / link).symlink_to(tmp_path / target)
    values = read_yaml(ROOT / "params.yaml")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_text("x")
    (tmp_path / "unmounted").mkdir()
    values["datasets"]["mine"] = {"source": "folder", "path": "pictures"}
    values["datasets"]["unmounted"] = {"source": "folder", "path": "unmounted"}
    values["datasets"]["lost"] = {"source": "folder", "path": "gone"}
    values["experiments"]["i2sb"]["lost"] = {
        "scales": ["demo"],
        "dataset": "lost",
        "corruption": "jpeg-5",
        "evaluate": {"extractor": "inception", "classifier": None},
    }
    values["experiments"]["i2sb"]["judged"] = {
        **values["experiments"]["i2sb"]["jpeg-5"],
        "evaluate": {"extractor": "resnet50", "classifier": None},
    }
    values["experiments"]["i2sb"]["started"] = {
        **values["experiments"]["i2sb"]["jpeg-5"],
        "train": {"init": "gone.safetensors"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    for name in (*GONE, *LEFT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    record("results/i2sb/lost/model.safetensors", "results/i2sb/lost/config/train.json")
    record("data/prepared/lost/train.lmdb", "data/prepared/lost/source.json")
    return tmp_path


def record(result: str, *inputs: str) -> None:
    """What the command that made a result leaves beside it."""
    told = {"inputs": dict.fromkeys(inputs), "outputs": [result]}
    artifacts.write_json(provenance.record_of(Path(result)), told)


def test_clean_removes_what_can_be_made_again(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, all_before = {file for file in tree.rglob("*") if file.is_file()}, trees.tree(tree)
    clean(Path("mine.yaml"), dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    named = {(tree / line.removeprefix("would remove: ")).resolve() for line in lines}
    assert trees.tree(tree) == all_before  # though Snakemake was asked for its rules
    clean(Path("mine.yaml"))
    gone = {file.resolve() for file in before if not file.exists()}
    assert gone
    assert gone == {file.resolve() for file in before if named & {file.resolve(), *file.resolve().parents}}
    assert [name for name in GONE if Path(name).exists()] == []
    assert [name for name in LEFT if not Path(name).exists()] == []
    told = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    homes = {"/".join(name.split("/")[:3]) for name in LEFT if name.count("/") > 1}
    assert set(told) == {"/".join(home.split("/")[:3]) for home in homes} & {*told}
    assert {"data/raw/imagenet", "data/raw/afhq.zip", "results/i2sb/jpeg-5", "data/checkpoints/adm"} <= {
        *told
    }


def test_clean_waits_for_no_run(tree: Path) -> None:
    with locks.exclusive(locks.LOCK), pytest.raises(UserError, match="another run is at work"):
        clean(Path("mine.yaml"))
    assert [name for name in (*GONE, *LEFT) if not Path(name).exists()] == []


def planned(folder: Path) -> str:
    """What `make setup` would run."""
    done = subprocess.run(
        ["make", "-n", "setup"], cwd=folder, capture_output=True, text=True, check=True, env={**os.environ}
    )
    return done.stdout


def test_setup_begins_anew_when_the_folder_or_python_is_another(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, here)
    stamp = next(line for line in planned(here).splitlines() if ".ready" in line).split('"')[1]
    assert stamp.startswith(f"{here} Python 3.")
    (here / ".venv").mkdir()
    (here / ".venv/.ready").write_text(f"{stamp}\n")
    assert "venv" not in planned(here)
    (here / ".venv/.ready").write_text(f"{here} Python 3.10.1\n")
    assert "-m venv --clear" in planned(here)
    (here / ".venv/.ready").write_text(f"{stamp}\n")
    here.rename(tmp_path / "there")
    assert "-m venv --clear" in planned(tmp_path / "there")


def test_make_says_what_it_does_and_how_long_before_it_is_silent() -> None:
    recipes = re.split(r"^(?=\S+:(?!=))", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    silent = re.compile(r"\$\(INSTALL\)|-qq|sphinx-build -q|status --quiet")
    found = {text.split(":")[0]: text[: match.start()] for text in recipes if (match := silent.search(text))}
    assert found.keys() == {".venv/.ready", "docs", ".venv/.docs", "sync", "system-setup"}
    for target, before in found.items():
        assert re.search(r'echo "[a-z].*: some (\d+ )?(s|seconds|minutes)\b.*" >&2', before), target
