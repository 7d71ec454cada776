"""Two processes (gloo, on the CPU) do what one does; what ends one of them ends the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import two_processes
from started import PATIENCE, all_succeed, free_port
from torch import distributed
from typer.testing import CliRunner

from bridgepipe import artifacts, cli, config
from bridgepipe.data.store import writer
from bridgepipe.errors import UserError
from bridgepipe.evaluation import fid
from bridgepipe.methods import i2sb
from bridgepipe.networks import adm
from bridgepipe.runtime import interruption, launch, running
from bridgepipe.runtime.interruption import RESUME_ME

SCRIPT = Path(two_processes.__file__)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process, and of two that two launchers started as if on two machines."""
    folder = tmp_path_factory.mktemp("found")
    node = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *node]
    commands = [[*torchrun, f"--node-rank={rank}", str(SCRIPT), str(folder)] for rank in (0, 1)]
    commands.append([sys.executable, str(SCRIPT), str(folder)])
    started = [subprocess.Popen(c, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for c in commands]
    all_succeed(started)
    return folder


def weights(found: Path, who: str, name: str) -> dict[str, torch.Tensor]:
    return artifacts.load_tensors(found / who / f"{name}.safetensors")[0]


@pytest.mark.parametrize("name", two_processes.TRAININGS)
def test_training_is_that_of_one_process(found: Path, name: str) -> None:
    one, two = weights(found, "0-of-1", name), weights(found, "0-of-2", name)
    for key in one:
        torch.testing.assert_close(two[key], one[key], atol=1e-6, rtol=1e-5)


def test_objective_learns_from_the_losses_of_both(found: Path) -> None:
    one, main, other = (weights(found, who, "learnt") for who in ("0-of-1", "0-of-2", "1-of-2"))
    assert one
    for key in one:
        assert torch.equal(main[key], other[key])
        torch.testing.assert_close(main[key], one[key], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", [*two_processes.TRAININGS, "learning", "stopped"])
def test_averaged_weights_are_equal_in_both(found: Path, name: str) -> None:
    main, other = weights(found, "0-of-2", name), weights(found, "1-of-2", name)
    assert all(torch.equal(main[key], other[key]) for key in main)


def test_losses_are_those_of_one_process(found: Path) -> None:
    one, two = (
        np.genfromtxt(found / f"training-{world}/odd/train.csv", delimiter=",", skip_header=1)
        for world in (1, 2)
    )
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def validations(found: Path, world: int, name: str) -> list[dict[str, float]]:
    (file,) = (found / f"training-{world}/{name}").glob("kept-*/validation.json")
    return artifacts.read_json(file)["rows"]


def test_processes_share_a_validation_and_measure_what_one_does(found: Path) -> None:
    one, two = (validations(found, world, "validated") for world in (1, 2))
    assert [row["step"] for row in one] == [row["step"] for row in two] == [3, 6, 9, 12]
    losses = [[row["loss"] for row in rows] for rows in (one, two)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    (best,) = (found / "training-2/validated").glob("kept-*/best.safetensors")
    assert artifacts.load_card(best)["step"] == min(two, key=lambda row: row["loss"])["step"]
    assert validations(found, 2, "halted") == two  # the signal came in a step that is validated
    whole, validated = weights(found, "0-of-2", "even"), weights(found, "0-of-2", "validated")
    assert all(torch.equal(whole[key], validated[key]) for key in whole)


def test_signal_to_one_stops_both_and_changes_no_byte(found: Path) -> None:
    whole, stopped = weights(found, "0-of-2", "even"), weights(found, "0-of-2", "stopped")
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    logs = [(found / f"training-2/{name}/train.csv").read_bytes() for name in ("even", "stopped")]
    assert logs[0] == logs[1]


def test_training_longer_equals_one_long_training(found: Path) -> None:
    whole, longer = weights(found, "0-of-2", "even"), weights(found, "0-of-2", "longer")
    assert all(torch.equal(whole[key], longer[key]) for key in whole)


def test_one_process_goes_on_from_the_state_of_two(found: Path) -> None:
    folder = found / "training-2/left"
    assert artifacts.load_card(folder / "state.safetensors")["step"] == 6
    left = two_processes.train(folder, two_processes.RECIPE, two_processes.RUNNING, two_processes.objective)
    one = weights(found, "0-of-1", "even")
    for key in one:
        torch.testing.assert_close(left[key], one[key], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["restored", "generated"])
def test_images_are_those_of_one_process(found: Path, name: str) -> None:
    one, two = (np.load(found / who / f"{name}.npy") for who in ("0-of-1", "0-of-2"))
    assert len(one) == 20
    assert np.array_equal(one, two)
    assert not (found / f"1-of-2/{name}.npy").exists()


@pytest.mark.parametrize("name", ["statistics", "one-batch"])
def test_statistics_are_those_of_one_process(found: Path, name: str) -> None:
    one, main, other = (
        fid.Statistics.load(found / who / f"{name}.safetensors") for who in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert one.n == main.n == other.n == len(two_processes.IMAGES)
    assert torch.equal(one.sample, main.sample)
    for wanted, value in ((one.mu, main.mu), (one.sigma, main.sigma), (main.mu, other.mu)):
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


def test_accuracy_and_refusal(found: Path) -> None:
    one, main, other = (
        json.loads((found / who / "said.json").read_text()) for who in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert one["accuracy"] == main["accuracy"] == other["accuracy"]
    assert main["gathered"] == other["gathered"] == [0, 1]
    assert one["refused"] == ""
    assert "1 images per step for 2 processes" in main["refused"]


# the command line


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configurations, images and an untrained model of a tiny experiment."""
    folder = tmp_path_factory.mktemp("stage")
    experiment = config.I2SB.model_validate(
        {
            "dataset": "noise",
            "corruption": "jpeg-5",
            "network": {"channel_mult": (1,), "attention_resolutions": ()},
            "train": {"steps": 40, "batch_size": 3, "flip": True},
            "sample": {"nfe": 50},
            "evaluate": {"extractor": "none", "classifier": "none"},
        }
    )
    stages = {stage: read.as_json() for stage, read in experiment.stages().items()}
    for name in ("train", "sample"):
        artifacts.write_json(folder / f"{name}.json", stages[name])
    speed = {"device": "cpu", "threads": 1, "processes": 2, "batch_size": 4, "save_every": 3}
    artifacts.write_json(folder / "runtime.json", speed)
    with writer(folder / "images.lmdb", {}) as store:
        for image in two_processes.IMAGES:
            store.put(image)
    network = i2sb.network((16, 16), False, 0, **experiment.network.model_dump())
    card = {"config": artifacts.read_json(folder / "train.json")}
    artifacts.save_tensors(folder / "model.safetensors", network.state_dict(), card)
    return folder


def bridgepipe(
    stage: Path, verb: str, *options: str, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.Popen[str]:
    options += ("--config", f"{verb}.json", "--data", "images.lmdb", "--runtime", "runtime.json")
    command = [sys.executable, "-m", "bridgepipe", "stage", verb, *options]
    return subprocess.Popen(command, cwd=stage, env=environment, stderr=subprocess.PIPE, text=True)


def train(
    stage: Path, *options: str, folder: str = "train", environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.Popen[str]:
    files = ("--folder", folder, "--output", "trained.safetensors", "--csv", "t.csv")
    return bridgepipe(stage, "train", *files, *options, environment=environment)


def eventually(condition: Callable[[], object], run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def children(run: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]


def eventually_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.05)


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    errors = run.communicate(timeout=PATIENCE)[1]
    return run.returncode, errors


def saved_again(state: Path) -> Callable[[], bool]:
    before = state.stat().st_mtime_ns if state.exists() else 0
    return lambda: state.exists() and state.stat().st_mtime_ns != before


def test_command_is_stopped_killed_and_goes_on(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = stage / "train/state.safetensors"
    run = train(stage)
    eventually(saved_again(state), run)
    run.send_signal(signal.SIGUSR1)
    assert ended(run)[0] == RESUME_ME

    run = train(stage)
    eventually(saved_again(state), run)
    ranks = children(run)
    run.kill()
    ended(run)
    eventually_gone(ranks)
    assert not (stage / "trained.safetensors").exists()

    assert ended(train(stage))[0] == 0
    two, card = artifacts.load_tensors(stage / "trained.safetensors")
    assert card["step"] == 40
    alone = ["stage", "train", "--config", "train.json", "--data", "images.lmdb", "--runtime", "runtime.json"]
    outputs = ["--folder", "alone", "--output", "one.safetensors", "--csv", "one.csv", "--processes", "1"]
    monkeypatch.chdir(stage)
    assert CliRunner().invoke(cli.app, alone + outputs).exit_code == 0
    one, _ = artifacts.load_tensors(stage / "one.safetensors")
    # a bias before a normalisation has no gradient but rounding, which Adam makes as large as any other
    for key in (k for k in one if not k.endswith("bias")):
        torch.testing.assert_close(two[key], one[key], atol=2e-3, rtol=1e-3)


def test_warning_does_not_kill_what_is_still_starting(stage: Path) -> None:
    with interruption.held_back():
        run = bridgepipe(stage, "no-such-verb")
    run.send_signal(signal.SIGUSR1)  # long before Python runs
    code, errors = ended(run)
    assert (code, "No such command 'no-such-verb'" in errors) == (2, True)


def test_training_that_is_warned_while_it_starts_goes_back_into_the_queue(
    stage: Path, tmp_path: Path
) -> None:
    for name, script in {
        "squeue": "sleep 7; echo RUNNING",
        "scontrol": f'echo "$@" >> {tmp_path}/said',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    queue = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "5"}
    with interruption.held_back():
        run = train(stage, folder="warned", environment={**ENVIRONMENT, **queue})
    run.send_signal(signal.SIGUSR1)
    code, errors = ended(run)
    assert (code, "stopped after step 1: run the same command to go on; back in the queue" in errors) == (
        RESUME_ME,
        True,
    ), errors
    assert (tmp_path / "said").read_text() == "requeue 5\n"


SAMPLE = [
    *("--train-config", "train.json", "--model", "model.safetensors"),
    *("--restored", "restored.lmdb", "--corrupted", "corrupted.lmdb"),
]


def sample(stage: Path, *options: str) -> subprocess.Popen[str]:
    return bridgepipe(stage, "sample", *SAMPLE, *options)


def finished(stage: Path, batches: int = 1) -> Callable[[], bool]:
    """Whether so many batches of the restored images are finished."""
    partial = stage / ".restored.lmdb.partial"
    return lambda: partial.exists() and partial.read_bytes().count(b'"sha256"') >= batches


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    forward = adm.UNet.forward

    def counted(self: adm.UNet, x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return forward(self, x, *rest)

    monkeypatch.setattr(adm.UNet, "forward", counted)
    return calls


def test_failing_process_fails_the_command_and_leaves_nothing(stage: Path) -> None:
    run = sample(stage)
    eventually(finished(stage), run)
    ranks = children(run)
    os.kill(ranks[1], signal.SIGKILL)
    code, errors = ended(run)
    assert (code, "process 1 of 2 ended first, with code -9" in errors) == (137, True)
    eventually_gone(ranks)
    assert {f.name for f in stage.glob("*restored*")} - {".restored.lmdb.lock"} == {".restored.lmdb.partial"}
    assert not list(stage.glob("*corrupted*")) + list(stage.glob(".*tmp"))


def test_sampling_goes_on_where_it_was_killed_or_warned(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends it, and however many processes it has: the bytes are those of an undisturbed run."""
    (stage / ".restored.lmdb.partial").unlink(missing_ok=True)
    run = sample(stage)
    eventually(finished(stage), run)
    run.send_signal(signal.SIGUSR1)
    code, errors = ended(run)
    assert (code, "finished images are kept" in errors) == (RESUME_ME, True), errors

    run = sample(stage, "--processes", "1")
    eventually(finished(stage, 3), run)
    run.kill()
    assert "of 23 images finished" in ended(run)[1]
    with open(stage / ".restored.lmdb.partial", "ab") as f:
        f.write(b"half a record")

    monkeypatch.chdir(stage)
    alone = ["--config", "sample.json", "--data", "images.lmdb", "--runtime", "runtime.json", *SAMPLE]
    calls = count_calls(monkeypatch)
    assert CliRunner().invoke(cli.app, ["stage", "sample", *alone, "--processes", "1"]).exit_code == 0
    continued = [(stage / f"{name}.lmdb").read_bytes() for name in ("restored", "corrupted")]
    assert 0 < len(calls) <= 50 * 3
    calls.clear()
    assert CliRunner().invoke(cli.app, ["stage", "sample", *alone, "--processes", "1"]).exit_code == 0
    assert len(calls) == 50 * 6
    assert continued == [(stage / f"{name}.lmdb").read_bytes() for name in ("restored", "corrupted")]
    assert not (stage / ".restored.lmdb.partial").exists()


def test_processes_meet_on_the_socket_of_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that was only reserved could not be bound again on macOS, nor be kept from others for sure."""
    monkeypatch.setattr(running, "_stores", [])
    with launch._listener() as listener:
        place = listener.getsockname()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(place)
        early = socket.create_connection(place, timeout=5)  # before the first process is ready
        monkeypatch.setenv("MASTER_ADDR", place[0])
        monkeypatch.setenv("MASTER_PORT", str(place[1]))
        monkeypatch.setenv(launch.LISTENER, str(os.dup(listener.fileno())))
    early.close()
    running._serve_the_others()
    assert launch.LISTENER not in os.environ
    client = distributed.TCPStore(*place, is_master=False)
    running._stores[0].set("met", "here")
    assert client.get("met") == b"here"


def test_number_of_processes_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    launch.start(1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    launch.start(2)
    with pytest.raises(UserError, match=r"2 processes were started where 4 are wanted.*--processes 2"):
        launch.start(4)


def test_copies_of_a_command_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(UserError, match="srun started this command 2 times"):
        launch.start(1)
