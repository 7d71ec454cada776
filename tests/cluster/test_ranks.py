"""Several processes under Slurm: one job with two GPUs, and two launchers of one job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from project import MODEL, ROOT, Project

import slurm
from bridgepipe import artifacts, config
from bridgepipe.data.store import ImageStore
from slurm import PROFILE

pytestmark = pytest.mark.cluster

TRAINING = "results/i2sb/jpeg-5/train"
RESTORED = "results/i2sb/jpeg-5/restored.lmdb"
SCRIPT = Path(__file__).parents[1] / "unit/two_processes.py"
# a line of docs/several-processes.md, with tasks in the place of nodes, of which there is one
NODES = """\
#!/bin/bash
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --ntasks=2 bash -c "{python} -m torch.distributed.run --nnodes=2 --nproc-per-node=1 \
--node-rank=\\$SLURM_PROCID --master-addr=$first --master-port=29517 {script} {folder}"
"""


def pixels(project: Project) -> np.ndarray:
    images = ImageStore(project.folder / RESTORED)
    return np.stack([images[i] for i in range(len(images))]).astype(int)


def test_jobs_of_two_processes_have_two_gpus_and_the_results_of_one(
    finished: Project, project: Project
) -> None:
    project.edit(lambda v: v["runtime"].update(processes=2, partitions=1, threads=2))
    assert project.planned(MODEL) == set()
    shutil.rmtree(project.folder / TRAINING)
    for name in (MODEL, RESTORED):
        (project.folder / name).unlink()
    project.snakemake(*PROFILE, "--", RESTORED)
    for rule in ("train", "sample"):
        assert slurm.jobs_of(project.folder, rule)[-1]["TresPerJob"] == "gres:gpu:2"
    one, two = (artifacts.load_tensors(p.folder / MODEL)[0] for p in (finished, project))
    # a bias before a normalisation has no gradient but rounding, which Adam makes as large as any other
    for key in (k for k in one if not k.endswith("bias")):
        torch.testing.assert_close(two[key], one[key], atol=2e-3, rtol=1e-3)
    assert np.abs(pixels(project) - pixels(finished)).mean() < 1


@pytest.mark.usefixtures("cluster")
def test_two_nodes_of_one_job(tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(NODES.format(python=sys.executable, script=SCRIPT, folder=tmp_path))
    options = ["--wait", "--ntasks=2", "--mem=3000", f"--output={tmp_path}/job.log", f"--chdir={tmp_path}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["sbatch", *options, script], env=environment, check=False, timeout=240)
    assert done.returncode == 0, (tmp_path / "job.log").read_text()
    main, other = (artifacts.load_tensors(tmp_path / f"{rank}-of-2/odd.safetensors")[0] for rank in (0, 1))
    assert all(torch.equal(main[key], other[key]) for key in main)


@pytest.mark.usefixtures("cluster")
def test_a_command_that_srun_copies_is_refused(tmp_path: Path) -> None:
    resolved = config.Resolved(config.read_yaml(ROOT / "params.yaml"))
    artifacts.write_json(tmp_path / "c", resolved.stages("i2sb/jpeg-5")["train"])
    (tmp_path / "d").touch()
    verb = ["bridgepipe", "stage", "train", "--config=c", "--data=d", "--folder=f", "--output=o", "--csv=l"]
    done = subprocess.run(
        ["srun", "--ntasks=2", "--mem=2000", sys.executable, "-m", *verb],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "srun started this command 2 times, each for itself" in done.stderr
