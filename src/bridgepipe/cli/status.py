"""What runs, what ran, and where it writes."""

from __future__ import annotations

from pathlib import Path

from bridgepipe.cli import groups
from bridgepipe.errors import UserError


@groups.app.verb(panel=groups.RESULTS)
def status(folder: Path = Path()) -> None:
    """The last job of every command that was run in this folder: rule, experiment, job number, state, log.

    Below them the states of trainings, those that were set aside among them.
    """
    from bridgepipe import cluster, training_state

    if not folder.is_dir():
        raise UserError("no such folder", folder, "give the folder of a project")

    states = _slurm_states()
    jobs = cluster.last_jobs(folder, states)
    jobs += cluster.waiting(folder, {job.number for job in jobs}) if states else []
    print(cluster.table(jobs) if jobs else "nothing was run here yet")
    trained = sorted({file.parent for file in (folder / "results").rglob("train/state*.safetensors")})
    for line in [line for found in trained for line in training_state.described(found)]:
        print(line)


def _slurm_states() -> dict[str, str]:
    """Slurm's states of jobs; where there are none it is said why."""
    from bridgepipe import cluster

    if not cluster.present():
        print("no Slurm here: states are those of Snakemake's log\n")
        return {}
    try:
        return cluster.slurm_states()
    except UserError as e:  # its client can be installed without a cluster
        print(f"{e}; states are those of Snakemake's log\n")
        return {}
