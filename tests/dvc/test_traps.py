"""Nine ways in which DVC and Snakemake together have recorded wrong results; here each gives the right ones.

Every result is compared with what plain Snakemake makes of the same parameters from nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from repository import Repository, Truth, stages_in

pytestmark = pytest.mark.dvc

SAMPLED = {"plan", "restore@i2sb/jpeg-5", "evaluate@i2sb/jpeg-5", "table@i2sb"}
TRAINED = SAMPLED | {"train@i2sb/jpeg-5"}
EVALUATED = {"plan", "evaluate@i2sb/jpeg-5"}


def set_nfe(repository: Repository, nfe: int) -> None:
    repository.set("sample", nfe=nfe)


def test_a_fresh_clone_has_nothing_to_do(recorded: Repository, clone: Repository, truth: Truth) -> None:
    assert clone.pending() == set()
    assert clone.repro() == set()
    assert clone.files() == recorded.files() == truth(recorded)
    clone.set("sample", nfe=3)
    assert {"sample", "fid"} <= clone.pending()
    assert not {"prepare", "train", "train_classifier"} & clone.pending()


@pytest.fixture(scope="module")
def reseeded(recorded: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A clone that was only pulled, then given another seed, and made again. Copy it, never change it."""
    fresh = recorded.clone(tmp_path_factory.mktemp("reseeded") / "clone")
    fresh.run("dvc", "pull", "-q")
    fresh.set("train", seed=7)
    assert fresh.repro() == TRAINED
    return fresh


def test_a_seed_in_a_clone_that_was_only_pulled(
    recorded: Repository, reseeded: Repository, truth: Truth
) -> None:
    assert reseeded.files() != recorded.files()
    assert reseeded.files() == truth(reseeded)


def test_nfe_there_and_back(recorded: Repository, edited: Repository, tmp_path: Path, truth: Truth) -> None:
    clone = edited.copy(tmp_path / "clone")
    clone.commit("three calls")
    three = clone.files()
    assert three == truth(clone)
    clone.run("git", "checkout", "-q", "HEAD~1")
    clone.run("dvc", "checkout", "-q")
    assert clone.repro() == set()
    assert clone.files() == recorded.files()
    set_nfe(clone, 3)
    assert clone.repro() == SAMPLED
    assert clone.files() == three


def test_an_experiment_in_a_temporary_folder(recorded: Repository, clone: Repository, truth: Truth) -> None:
    before = clone.files()
    clone.run("dvc", "exp", "run", "--temp", "--name", "three", "-S", "scales.demo.i2sb.sample.nfe=3")
    assert clone.files() == before
    clone.run("dvc", "exp", "apply", "three")
    assert clone.settings()["nfe"] == 3
    assert clone.files() == truth(clone)


def test_a_new_file_of_experiments_in_a_temporary_folder(clone: Repository) -> None:
    """A copy has what git knows; the first stage says so, and goes on once the file is added."""
    new = "experiments: {i2sb: {mine: {corruption: jpeg-10, beta_max: 0.3}}}\n"
    (clone.folder / "experiments/mine.yaml").write_text(new)
    clone.run("bridgepipe", "record", "i2sb/jpeg-5", "i2sb/mine")
    copied = ("dvc", "exp", "run", "--temp", "plan")
    done = clone.attempt(*copied)
    assert done.returncode != 0
    assert "no file here has i2sb/mine (stages/names.yaml): `git add` the file" in done.stdout + done.stderr
    clone.run("git", "add", "experiments/mine.yaml")
    assert "plan" in stages_in(clone.run(*copied))


def test_two_workers_of_the_queue(clone: Repository, truth: Truth) -> None:
    for nfe in (3, 4):
        clone.run(
            "dvc",
            "exp",
            "run",
            "--queue",
            "--name",
            f"calls-{nfe}",
            "-S",
            f"scales.demo.i2sb.sample.nfe={nfe}",
        )
    clone.run("dvc", "queue", "start", "--jobs", "2")
    clone.wait_for_queue()
    clone.run("dvc", "exp", "apply", "calls-3")
    assert clone.settings()["nfe"] == 3
    assert clone.files() == truth(clone)
    clone.run("dvc", "exp", "apply", "calls-4")
    assert clone.settings()["nfe"] == 4


def test_code_of_one_stage(recorded: Repository, clone: Repository) -> None:
    file = clone.folder / "src/bridgepipe/evaluation/frechet.py"
    code, same = file.read_text(), "max(0.0, float(distance.item()))"
    assert code.count("max(0.0, distance.item())") == 1
    file.write_text(code.replace("max(0.0, distance.item())", same))
    pending = clone.pending()
    assert "fid" in pending
    assert not {"train", "sample", "accuracy", "statistics"} & pending
    assert clone.repro() == EVALUATED
    assert clone.files() == recorded.files()
    append(clone, "src/bridgepipe/evaluation/frechet.py", "# a comment\n")
    assert clone.pending() == set()
    assert clone.repro() == {"plan"}


def test_a_comment_in_the_parameters(recorded: Repository, clone: Repository) -> None:
    append(clone, "params.yaml", "# a comment\n")
    assert clone.repro() == set()
    assert clone.pending() == set()
    assert clone.files() == recorded.files()


def test_snakemake_alone_then_commit(clone: Repository, truth: Truth) -> None:
    set_nfe(clone, 3)
    clone.run("snakemake")
    clone.run("bridgepipe", "verify")
    clone.run("dvc", "commit", "-f", "-q")
    assert clone.run("dvc", "status", "-q") == ""
    assert clone.repro() == set()
    assert clone.files() == truth(clone)


def test_a_branch_and_back(recorded: Repository, reseeded: Repository, tmp_path: Path) -> None:
    clone = reseeded.copy(tmp_path / "clone")
    clone.run("git", "checkout", "-q", "-b", "other")
    clone.commit("another seed")
    other = clone.files()
    clone.run("git", "checkout", "-q", "main")
    clone.sync()
    assert clone.pending() == set()
    assert clone.files() == recorded.files()
    clone.run("git", "checkout", "-q", "other")
    clone.sync()
    assert clone.files() == other
    clone.set("sample", nfe=3)
    assert "train" not in clone.pending()
    assert "sample" in clone.pending()


def append(repository: Repository, name: str, text: str) -> None:
    path = repository.folder / name
    path.write_text(path.read_text() + text)
