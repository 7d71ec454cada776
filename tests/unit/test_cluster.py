"""What can be told of Slurm without one: commands that pretend, and logs as Snakemake writes them."""

from __future__ import annotations

import io
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yte

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.runtime import cluster, history, launch, locks, slurm

CONFIG = 'echo "MinJobAge               = {age} sec"'
LOG = """\
Job 1: Training i2sb/jpeg-5
Shell command: bridgepipe stage train --config results/i2sb/jpeg-5/config/train.json > results/i2sb/jpeg-5/logs/train.log 2>&1
Job 1 has been submitted with SLURM jobid 17 (log: /p/.snakemake/slurm_logs/rule_train/i2sb_jpeg-5/17.log).
Job 2: Preparing the images of digits
Shell command: bridgepipe stage prepare --config data/prepared/digits/config.json > results/logs/prepare-digits.log 2>&1
Finished jobid: 2 (Rule: prepare)
Error in rule train:
    message: SLURM-job '17' failed, SLURM status is: 'TIMEOUT'.
    jobid: 1
Trying to restart job 1.
Job 1: Training i2sb/jpeg-5
Shell command: bridgepipe stage train --config results/i2sb/jpeg-5/config/train.json > results/i2sb/jpeg-5/logs/train.log 2>&1
Job 1 has been submitted with SLURM jobid 18 (log: /p/.snakemake/slurm_logs/rule_train/i2sb_jpeg-5/18.log).
Job 3: FID of jpeg-5
Shell command: bridgepipe stage evaluate fid --config results/i2sb/jpeg-5/config/evaluate.json > results/i2sb/jpeg-5/logs/fid.log 2>&1
Error in rule fid:
    jobid: 3
"""  # noqa: E501


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands, the only ones besides the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin")
    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 0.5)
    return folder


def pretend(folder: Path, **scripts: str) -> None:
    for name, script in {"sbatch": "true", "squeue": "true", **scripts}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def test_sacct_where_the_database_answers(commands: Path) -> None:
    pretend(commands, sacct="exit 0", scontrol=CONFIG.format(age=300))
    assert cluster.status_command("auto") == "sacct"
    assert cluster.status_command("sacct") == "sacct"
    assert cluster.status_command("squeue") == "squeue"


@pytest.mark.parametrize("sacct", ["echo Slurm accounting storage is disabled >&2; exit 1", "exec sleep 60"])
def test_squeue_where_it_does_not(commands: Path, sacct: str) -> None:
    pretend(commands, sacct=sacct, scontrol=CONFIG.format(age=300))
    before = time.monotonic()
    assert cluster.status_command("auto") == "squeue"
    with pytest.raises(UserError, match="the accounting database does not answer"):
        cluster.status_command("sacct")
    assert time.monotonic() - before < 5


def test_neither_is_told(commands: Path) -> None:
    pretend(commands, sacct="exit 1", scontrol=CONFIG.format(age=2))
    with pytest.raises(UserError, match="forgets ended jobs after 2 s"):
        cluster.status_command("auto")


def test_a_controller_that_is_away_is_told(commands: Path) -> None:
    pretend(commands, sacct="exit 1", scontrol="echo slurm_load_ctl_conf error >&2; exit 1")
    with pytest.raises(UserError, match="Slurm does not answer: slurm_load_ctl_conf error"):
        cluster.status_command("auto")


def test_a_misspelt_setting_is_told() -> None:
    with pytest.raises(UserError, match="use auto, sacct or squeue"):
        cluster.status_command("saact")


def test_gpu_rules_are_those_that_ask_for_one_and_their_heirs(tmp_path: Path) -> None:
    (tmp_path / "a.smk").write_text(
        "rule train:\n    resources:\n        gpu=1,\n    shell:\n        'x'\n\n\n"
        "rule test:\n    resources:\n        **network(1),\n\n\n"
        "rule gather:\n    shell:\n        'y'\n\n\n"
        "use rule train as tune with:\n    output:\n        'z'\n"
    )
    assert cluster.gpu_rules(tmp_path) == ["test", "train", "tune"]


def test_gpu_rules_of_the_workflow() -> None:
    assert {"train", "sample", "study"} <= set(
        cluster.gpu_rules(Path(__file__).parents[2] / "workflow/rules")
    )


def test_gpu_rules_have_those_that_params_yaml_makes(tmp_path: Path) -> None:
    """Jobs that translate pairs of classes; their rules are named after their experiments."""
    params = tmp_path / "params.yaml"
    params.write_text("experiments: {ddib/classes: {cats: {pairs: {281: 285}}, 260-261: {source: 260}}}\n")
    assert cluster.gpu_rules(tmp_path, params) == ["translate_pairs_of_cats"]
    params.write_text("experiments: {ddib/classes: {cats: {pairs: {281: 285}}}}\nruntime: {device: cpu}\n")
    assert cluster.gpu_rules(tmp_path, params) == []


def test_jobs_of_a_folder_without_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bridgepipe.cli.project import status

    monkeypatch.setenv("PATH", "")
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    (tmp_path / ".snakemake/log/1.snakemake.log").write_text(LOG)
    status(tmp_path)
    said = capsys.readouterr()
    assert said.err.splitlines() == ["no Slurm here: states are those of Snakemake's log"]
    assert said.out.splitlines() == [
        "rule          experiment   job  state      log",
        "prepare       digits       #2   COMPLETED  results/logs/prepare-digits.log",
        "train         i2sb/jpeg-5  18   STOPPED    results/i2sb/jpeg-5/logs/train.log",
        "evaluate fid  i2sb/jpeg-5  #3   FAILED     results/i2sb/jpeg-5/logs/fid.log",
    ]


def test_commands_that_are_done_are_known_by_their_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make demo` asks Snakemake to be quiet, and then its log names no job."""
    from bridgepipe.cli.project import status

    monkeypatch.setenv("PATH", "")
    command = ["stage", "evaluate", "fid", "--images", "results/i2sb/jpeg-5/restored.lmdb"]
    told = {"command": command, "log": "results/i2sb/jpeg-5/logs/fid.log"}
    artifacts.write_json(tmp_path / "results/i2sb/jpeg-5/provenance/fid.json.json", told)
    status(tmp_path)
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        *("evaluate", "fid", "i2sb/jpeg-5", "COMPLETED", "results/i2sb/jpeg-5/logs/fid.log"),
    ]


def test_a_client_of_slurm_without_a_cluster_is_told(
    commands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bridgepipe.cli.project import status

    pretend(commands, sacct="exit 1", squeue="echo no configuration >&2; exit 1")
    status(tmp_path)  # it is not asked where nothing was sent
    assert capsys.readouterr().err == ""
    (tmp_path / slurm.LOGS).mkdir(parents=True)
    (tmp_path / ".snakemake/log").mkdir()
    (tmp_path / ".snakemake/log/1.snakemake.log").write_text(LOG)
    status(tmp_path)
    said = capsys.readouterr()
    assert said.err == "Slurm does not answer (`sinfo` tells why): states are those of Snakemake's log\n"
    assert said.out.splitlines()[-1].startswith("evaluate fid  i2sb/jpeg-5")


def test_slurm_has_the_last_word(commands: Path, tmp_path: Path) -> None:
    pretend(
        commands, sacct="exit 1", squeue="echo '18|PENDING|Resources|/p|rule_train_wildcards_i2sb_jpeg-5'"
    )
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    (tmp_path / ".snakemake/log/1.snakemake.log").write_text(LOG)
    states = {job.number: job.state for job in history.last_jobs(tmp_path, slurm.states())}
    assert states == {"#2": "COMPLETED", "18": "PENDING (Resources)", "#3": "FAILED"}


def test_jobs_of_a_quiet_run_that_wait_are_told_by_slurm(
    commands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bridgepipe.cli.project import status

    (tmp_path / slurm.LOGS).mkdir(parents=True)
    queue = f"18|PENDING|Resources|{tmp_path}|rule_train_wildcards_i2sb_jpeg-5"
    pretend(
        commands, sacct="exit 1", squeue=f"echo '{queue}'; echo '19|PENDING|Priority|/elsewhere|rule_fid'"
    )
    status(tmp_path)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["rule", "experiment", "job", "state", "log"],
        ["train", "i2sb_jpeg-5", "18", "PENDING", "(Resources)"],
    ]


@pytest.fixture
def killed() -> locks.Owner:
    """A run of this machine that was killed."""
    process = subprocess.Popen(["true"])
    process.wait()
    return replace(locks.me(), pid=process.pid)


def test_orphans_of_this_folder_are_cancelled(commands: Path, tmp_path: Path, killed: locks.Owner) -> None:
    here, said = tmp_path / "project", tmp_path / "cancelled"
    here.mkdir()
    queue = [
        f"7|RUNNING|None|{here}|rule_train",
        "8|RUNNING|None|/elsewhere|rule_train",
        f"9|PENDING|None|{here}|mine",
    ]
    listed = " ".join(f"'{line}'" for line in queue)
    pretend(
        commands,
        squeue=f"[ -e {said} ] || printf '%s\\n' {listed}",
        scancel=f'echo "$@" > {said}',
    )
    assert slurm.cancel_orphans(here, killed) == []
    (here / slurm.LOGS).mkdir(parents=True)
    foreign = replace(killed, host="login2", boot="another")
    for unknown, whose in ((foreign, "process .* of login2"), (None, "an unknown run")):
        with pytest.raises(UserError, match=rf"jobs of {whose}.* still in Slurm's queue: 7 .*: scancel 7$"):
            slurm.cancel_orphans(here, unknown)
    assert not said.exists()
    assert slurm.cancel_orphans(here, killed) == ["7"]
    assert said.read_text() == "7\n"


def test_requeue_only_a_running_job_of_slurm(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    pretend(commands, squeue="echo RUNNING", scontrol=f'echo "$@" > {said}')
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert not slurm.requeue()
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert slurm.requeue()
    assert said.read_text() == "requeue 5\n"
    pretend(commands, squeue="echo COMPLETING")
    assert not slurm.requeue()


@pytest.mark.parametrize("slow", ["squeue", "scontrol"])
def test_requeue_waits_for_a_busy_slurm(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    said = tmp_path / "said"
    answers = {"squeue": "echo RUNNING", "scontrol": f'echo "$@" > {said}'}
    pretend(commands, **{**answers, slow: f"sleep 0.8; {answers[slow]}"})  # other questions give up at 0.5
    assert slurm.requeue()
    assert said.read_text() == "requeue 5\n"
    monkeypatch.setattr(slurm, "REQUEUE_SECONDS", 0.2)
    assert not slurm.requeue()


def test_requeue_has_the_time_that_the_warning_leaves() -> None:
    profile = (Path(__file__).parents[2] / cluster.PROFILE).read_text()
    assert "--signal=USR1@120" in profile
    assert 2 * slurm.REQUEUE_SECONDS <= launch.REQUEUEING < 120


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("default-resources:\n  runtime: 1:30:00\n", 2, "1:30:00 is text or a time"),
        ("set-resources:\n  train: {runtime: 2:00}\n", 2, "2:00 is text or a time"),
        ("jobs: 3\ndefault-resources: [mem_mb=1]\nset-threads:\n  train: 010\n", 4, "010 is .* base 8"),
        ("__use_yte__: true\n__variables__:\n  account: 0123\n", 3, "0123 is .* base 8"),
    ],
)
def test_a_number_that_yaml_reads_as_another_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, what: str
) -> None:
    import snakemake.cli  # noqa: F401

    profile = tmp_path / "mine.yaml"
    profile.write_text(text)
    told = f"{what}.* \\({profile}, line {line}\\)"
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    for arguments in (["--profile", str(profile), "all"], [f"--workflow-profile={profile}"]):
        with pytest.raises(UserError, match=told):
            cluster.check_profiles(arguments)
    cluster.check_profiles(["all"])
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(profile))
    with pytest.raises(UserError, match=told):
        cluster.check_profiles(["-n"])
    profile.write_text(
        text.replace("1:30:00", "90").replace("2:00", "120").replace("010", "8").replace("0123", "'0123'")
    )
    cluster.check_profiles(["-n"])


@pytest.mark.parametrize("profile", ["default", "slurm", "cluster-generic", "kubernetes"])
def test_our_profiles_hold_no_such_number(profile: str) -> None:
    import snakemake.cli  # noqa: F401

    cluster.check_profiles(["--profile", str(Path(__file__).parents[2] / "profiles" / profile)])


@pytest.mark.parametrize("name", ["a100-80gb", "nvidia_a100:2", "a100 80gb", "'a100'", 4090, True, None])
def test_a_model_that_the_executor_refuses_is_told_at_the_start(name: object) -> None:
    with pytest.raises(UserError, match=r"gpu_model is .*constraint: FEATURE"):
        cluster.gpu_model(name)


def test_models_that_the_executor_takes() -> None:
    assert cluster.gpu_model("a100") == "a100"
    assert cluster.gpu_model("nvidia_a100_3g.20gb") == "nvidia_a100_3g.20gb"


@pytest.mark.parametrize("value", ["", "gpu, long", "gpu;x", 83, False, None, ["gpu"]])
def test_a_partition_or_account_that_is_no_name_is_told(value: object) -> None:
    with pytest.raises(UserError, match=r"partitions\.gpu is .*in quotes"):
        cluster.named("partitions.gpu", value)
    assert cluster.named("partitions.gpu", "gpu,gpu-long") == "gpu,gpu-long"


@pytest.mark.parametrize(
    ("line", "mistake", "told"),
    [
        ('gpu_model: ""', "gpu_model: a100-80gb", "gpu_model is 'a100-80gb'"),
        ("gpu: gpu}", "gpus: gpu}", "partitions has no gpu"),
        ("{cpu: cpu, gpu: gpu}", "gpu", "partitions has no cpu"),
        ('account: ""', "account: 0123", "account is 83"),
        ("accounting: auto", "accounting: sact", "use auto, sacct or squeue"),
    ],
)
def test_a_mistake_in_a_profile_is_told_in_one_line(
    line: str, mistake: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Snakemake would print how it is used before what an exception says."""
    monkeypatch.chdir(Path(__file__).parents[2])
    text = Path(cluster.PROFILE).read_text()
    assert line in text
    with pytest.raises(SystemExit) as stopped:
        yte.process_yaml(io.StringIO(text.replace(line, mistake)), require_use_yte=True)
    assert stopped.value.code == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("bridgepipe: ")
    assert told in said


def test_the_executor_takes_what_the_profile_adds() -> None:
    """Also that a requeued job goes on writing where it had written."""
    from snakemake_executor_plugin_slurm import validation

    extra = "--requeue --open-mode=append --signal=USR1@120"
    assert extra in (Path(__file__).parents[2] / cluster.PROFILE).read_text()
    validation.validate_slurm_extra(SimpleNamespace(resources=SimpleNamespace(slurm_extra=extra)))
