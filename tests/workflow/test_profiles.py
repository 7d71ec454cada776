"""Every profile plans the whole workflow, wherever its executor is installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest
from project import METRICS, Project

EXECUTORS = {"slurm": "slurm", "cluster-generic": "cluster_generic", "kubernetes": "kubernetes"}


@pytest.mark.parametrize("profile", EXECUTORS)
def test_a_dry_run_plans_every_job(finished: Project, profile: str) -> None:
    plugin = f"snakemake_executor_plugin_{EXECUTORS[profile]}"
    if importlib.util.find_spec(plugin) is None:
        pytest.skip(f"{plugin} is not installed")
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
