"""Every profile plans the whole workflow; through stand-ins of PBS and Kubernetes jobs really run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_api
import pytest
from project import METRICS, Project

# a tiny job takes less than the ten seconds after which Snakemake asks about it again
SOON = ("--seconds-between-status-checks", "2")
pytestmark = pytest.mark.usefixtures("anew")
PROFILES = ("slurm", "cluster-generic", "kubernetes")
# what PBS does, here and at once: it takes a script, says a number, and starts the script some time later
QSUB = """\
#!/bin/bash
echo "$@" >> {folder}/submitted
nohup bash "${{@: -1}}" > {folder}/$$.log 2>&1 < /dev/null &
echo $$.{host}
"""


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor of Kubernetes, which `make setup` keeps out of the way of every other start."""
    plugins = Path(sys.prefix) / "plugins"
    assert plugins.is_dir(), "run make setup"
    monkeypatch.setenv("PYTHONPATH", str(plugins), prepend=os.pathsep)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_dry_run_plans_every_job(finished: Project, profile: str, kubernetes: None) -> None:
    if (
        profile == "slurm"
        and shutil.which("sbatch")
        and subprocess.run(["scontrol", "ping"], check=False).returncode
    ):
        pytest.skip("Slurm is installed here and does not answer; tests/cluster starts one")
    done = finished.snakemake("--profile", f"profiles/{profile}", "-n", "-F", "--", METRICS[0])
    assert f"Using profiles profiles/{profile}" in done.stderr
    for rule in ("prepare", "train", "sample", "fid"):
        assert f"\n{rule} " in done.stdout + done.stderr


def test_jobs_go_through_a_submit_command(
    finished: Project, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qsub = tmp_path / "qsub"
    qsub.write_text(QSUB.format(folder=tmp_path, host="fake"))
    qsub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fid, _, restoration = METRICS
    for name in (fid, restoration):
        (project.folder / name).unlink()
    done = project.snakemake("--profile", "profiles/cluster-generic", *SOON, "--", fid, restoration)
    assert project.read(fid, restoration) == finished.read(fid, restoration)
    assert "external jobid" in done.stdout + done.stderr
    submitted = sorted((tmp_path / "submitted").read_text().splitlines())
    asked = [" ".join(line.split()[:-1]) for line in submitted]
    common = "-V -j oe -q"
    assert asked == [
        f"{common} batch -N restoration -l walltime=7200 -l select=1:ncpus=1:ngpus=0:mem=4000mb",
        f"{common} gpu -N fid -l walltime=7200 -l select=1:ncpus=1:ngpus=1:mem=4000mb",
    ]


def test_jobs_go_through_kubernetes(
    finished: Project, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kubernetes: None
) -> None:
    fid, _, restoration = METRICS
    for name in (fid, restoration):
        (project.folder / name).unlink()
    profile = (project.folder / "profiles/kubernetes/config.yaml").read_text()
    (project.folder / "mine.yaml").write_text(profile.replace("bridgepipe:/work", f"claim:{project.folder}"))
    pods = tmp_path / "pods"
    pods.mkdir()
    monkeypatch.setenv("KUBECONFIG", str(pods / "kubeconfig"))
    with kubernetes_api.serving(pods) as cluster:
        project.snakemake("--profile", "mine.yaml", *SOON, "--", fid, restoration)
    assert project.read(fid, restoration) == finished.read(fid, restoration)
    containers = [cluster.container(job) for job in cluster.jobs.values()]
    asked = [container["resources"]["limits"].get("nvidia.com/gpu") for container in containers]
    assert sorted(asked, key=str) == ["1", None]
    for container in containers:
        assert container["resources"]["limits"]["memory"] == "4000M"
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["claim"] == str(project.folder)
