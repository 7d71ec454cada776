"""Verbs for people that look at a project: its experiments, its machine, its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli import groups
from bridgepipe.cli.options import File
from bridgepipe.config import paths_of
from bridgepipe.errors import UserError
from bridgepipe.photographs import samples


@groups.people.verb("config")
def show_config(
    experiment: Annotated[str, typer.Argument(help="method/name, such as i2sb/jpeg-5")],
    params: File = Path("params.yaml"),
) -> None:
    """Print the resolved experiment."""
    resolved = configuration.load(params).experiment(experiment).model_dump(mode="json")
    print(yaml.safe_dump(resolved, sort_keys=False), end="")


@groups.people.verb("schema")
def write_schema(output: File = Path("workflow/schemas/params.schema.json")) -> None:
    """Write the JSON schema of params.yaml, which editors use."""
    artifacts.write_json(output, configuration.schema())


@groups.people.verb()
def doctor(params: File = Path("params.yaml")) -> None:
    """What this machine has, and whether params.yaml can run on it."""
    import platform
    import shutil

    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free = shutil.disk_usage(".").free / 2**30
    resolved = configuration.load(params)
    wanted = [path for dataset in resolved.sources_in_use() for path in paths_of(dataset)]
    for what, value in {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "GPUs": ", ".join(gpus) or "none, running on the CPU",
        "CPU threads": torch.get_num_threads(),
        "free disk": f"{free:.1f} GiB",
        "Slurm": shutil.which("sbatch") or "not here",
        "params": f"{len(resolved.experiments)} experiments at scale {resolved.params.scale}",
        "photographs": samples.by_licence(),
        "missing data": ", ".join(p for p in wanted if not Path(p).exists()) or "none",
    }.items():
        print(f"{what:<13} {value}")


@groups.people.verb()
def status(folder: Path = Path()) -> None:
    """The last job of every command that was run in this folder: rule, experiment, job number, state, log.

    Below them the states of trainings, those that were set aside among them.
    """
    from bridgepipe.runtime import history
    from bridgepipe.training import state as training_state

    if not folder.is_dir():
        raise UserError("no such folder", folder, "give the folder of a project")

    states = _slurm_states()
    jobs = history.last_jobs(folder, states)
    jobs += history.waiting(folder, {job.number for job in jobs}) if states else []
    print(history.table(jobs) if jobs else "nothing was run here yet")
    trained = sorted({file.parent for file in (folder / "results").rglob("train/state*.safetensors")})
    for line in [line for found in trained for line in training_state.described(found)]:
        print(line)


def _slurm_states() -> dict[str, str]:
    """Slurm's states of jobs; where there are none it is said why."""
    from bridgepipe.runtime import slurm

    if not slurm.present():
        print("no Slurm here: states are those of Snakemake's log\n")
        return {}
    try:
        return slurm.states()
    except UserError as e:  # its client can be installed without a cluster
        print(f"{e}; states are those of Snakemake's log\n")
        return {}
