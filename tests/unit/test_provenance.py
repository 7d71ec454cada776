"""Records of how results were made, and the same results made again."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bridgepipe import artifacts, cli
from bridgepipe.errors import UserError
from bridgepipe.runtime import provenance, rerun


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(artifacts, "written", [])
    monkeypatch.setattr(provenance, "_settings", {})
    monkeypatch.setattr(provenance, "_sessions", [])
    (tmp_path / "results/x/parts").mkdir(parents=True)
    (tmp_path / "results/x/input.json").write_text("{}")
    return tmp_path


def made(*names: str) -> list[str]:
    """A command that has written results."""
    for name in names:
        artifacts.write_text(name, "bytes")
    return ["sample", "--config", "results/x/input.json", *(w for n in names for w in ("--output", n))]


def test_a_result_tells_what_may_decide_its_bytes(project: Path) -> None:
    provenance.use(precision="bf16", batch_size=5)
    provenance.record(made("results/x/a.json"), 0.0)
    told = artifacts.read_json("results/x/provenance/a.json.json")
    (session,) = told["sessions"]
    assert session["threads"] == torch.get_num_threads()
    assert session["cpu_kernels"] == torch.backends.cpu.get_cpu_capability()
    assert session["torch"] == torch.__version__
    assert session["numpy"] == np.__version__
    assert (session["precision"], session["batch_size"], session["processes"]) == ("bf16", 5, 1)
    assert told["command"][:2] == ["sample", "--config"]
    assert list(told["inputs"]) == ["results/x/input.json"]


def test_what_people_write_elsewhere_has_no_records(project: Path) -> None:
    provenance.record(made("out/a.json"), 0.0)
    assert not list(project.rglob("provenance"))


def test_only_a_verb_that_succeeds_leaves_records(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: made("results/x/a.json") and sys.exit(2))
    with pytest.raises(SystemExit):
        cli.main()
    assert not list(project.rglob("provenance"))


def other_machine(file: Path) -> None:
    """As if the result had been made with more threads and other kernels."""
    path = provenance.record_of(file)
    told = artifacts.read_json(path)
    told["sessions"][0] |= {"threads": 7, "cpu_kernels": "AVX9", "host": "elsewhere"}
    artifacts.write_json(path, told)


def runner(text: str):
    """What `rerun` starts, as a function: writes ``text`` and a record, reads every input."""

    def run(command: list[str], file: Path) -> None:
        output = Path(command[command.index("--output") + 1])
        for option, value in pairwise(command):
            assert option != "--parts" or Path(value).read_text() == text
        artifacts.write_text(output, text)
        provenance.record(command, 0.0)

    return run


def test_other_bytes_are_explained(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("results/x/a.json")
    provenance.record(made(str(file)), 0.0)
    other_machine(file)
    Path("results/x/input.json").write_text("{} ")
    monkeypatch.setattr(rerun, "_run", runner("other"))
    found = rerun.rerun(file)
    now = provenance.facts()
    assert found.reasons == [
        f"threads: 7, now {now['threads']}",
        f"cpu_kernels: AVX9, now {now['cpu_kernels']}",
        "results/x/input.json was written since",
    ]
    assert str(found).startswith("other bytes: threads: 7")
    assert file.read_text() == "bytes"
    assert not list(project.rglob(".rerun-*"))


def test_inputs_that_were_temporary_are_made_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, part = Path("results/x/whole.json"), Path("results/x/parts/0.json")
    provenance.record(made(str(part)), 0.0)
    artifacts.written.clear()
    provenance.record([*made(str(file)), "--parts", str(part)], 0.0)
    part.unlink()
    monkeypatch.setattr(rerun, "_run", runner("bytes"))
    assert rerun.rerun(file).same
    assert not part.exists()


def test_a_result_without_a_record_is_told(project: Path) -> None:
    Path("results/x/a.json").write_text("{}")
    with pytest.raises(UserError, match="nothing tells how it was made"):
        rerun.rerun(Path("results/x/a.json"))
