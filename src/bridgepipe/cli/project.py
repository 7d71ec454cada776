"""Verbs for people about a project: its experiments, its machine, its jobs, its files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli import groups
from bridgepipe.cli.options import PARAMS, AsJson, DryRun, Params
from bridgepipe.config import paths_of
from bridgepipe.errors import UserError
from bridgepipe.photographs import samples
from bridgepipe.runtime.unchanged import folders, once_a_change
from bridgepipe.training import state as training_state

if TYPE_CHECKING:
    from bridgepipe.runtime import history

SEEN = Path(".snakemake/bridgepipe.seen.json")


@groups.people.verb("config")
def show_config(
    experiment: Annotated[str, typer.Argument(help="method/name, such as i2sb/jpeg-5")],
    params: Params = PARAMS,
    as_json: AsJson = False,
) -> None:
    """Print the resolved experiment."""
    resolved = configuration.load(params).experiment(experiment).model_dump(mode="json")
    print(json.dumps(resolved, indent=2) if as_json else yaml.safe_dump(resolved, sort_keys=False).rstrip())


SCHEMA = Path("workflow/schemas/params.schema.json")


@groups.people.verb("schema")
def write_schema(
    output: Annotated[Path, typer.Option("--output", "-o", help="place of the schema")] = SCHEMA,
) -> None:
    """Write the JSON schema of params.yaml, which editors use."""
    artifacts.write_json(output, configuration.schema())


@groups.people.verb()
def doctor(params: Params = PARAMS, as_json: AsJson = False) -> None:
    """What this machine has, and whether params.yaml, where there is one, can run on it."""
    import platform
    import shutil

    wanted = _wanted(params)
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free = shutil.disk_usage(".").free / 2**30
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "GPUs": ", ".join(gpus) or "none, running on the CPU",
        "CPU threads": torch.get_num_threads(),
        "free disk": f"{free:.1f} GiB",
        "Slurm": shutil.which("sbatch") or "not here",
        "photographs": samples.by_licence(),
        **wanted,
    }
    _show(found, as_json)


def _show(found: Mapping[str, Any], as_json: bool) -> None:
    """Print what was found, a line each, or as JSON."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for what, value in found.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        print(f"{what:<13} {shown}")


def _wanted(params: Path) -> dict[str, str]:
    """What params.yaml asks for; where nobody has named one, there may be none."""
    if params == PARAMS and not params.exists():
        return {"params": "no params.yaml in this folder; restoring photographs needs none"}
    resolved = configuration.load(params)
    paths = [path for dataset in resolved.sources_in_use() for path in paths_of(dataset)]
    return {
        "params": f"{len(resolved.experiments)} experiments at scale {resolved.params.scale}",
        "missing data": ", ".join(path for path in paths if not Path(path).exists()) or "none",
    }


@groups.people.verb()
def status(
    folder: Annotated[Path, typer.Option(help="folder of the project")] = Path(),
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="show it again and again, until Ctrl-C")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="pass on what is piped in, and below it show which jobs run")
    ] = False,
) -> None:
    """The last job of every command that was run in this folder, with its state, progress and log.

    Below them the states of trainings, those that were set aside among them.
    """
    from bridgepipe.runtime import history, watching

    if not folder.is_dir():
        raise UserError("no such folder", folder, "give the folder of a project")
    if as_json + watch + follow > 1:
        raise UserError("more than one way to show it", "status", "give one of --json, --watch, --follow")
    if follow:
        watching.follow(sys.stdin, lambda: history.running(folder))
    elif watch:
        watching.watch(lambda: _status(folder, lambda _: None).lines())
    elif as_json:
        print(json.dumps(_status(folder).as_json(), indent=2))
    else:
        print("\n".join(_status(folder).lines()))


_states = once_a_change(training_state.described)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _status(folder: Path, say: Callable[[str], None] = _to_stderr) -> history.Status:
    from bridgepipe.runtime import history

    states = [line for found in folders(folder / "results", "train") for line in _states(found)]
    return history.status(folder, _slurm_states(folder, say), states)


def _slurm_states(folder: Path, say: Callable[[str], None]) -> dict[str, str] | None:
    """Slurm's states of jobs; None, said where it may surprise, where none is or was in Slurm's hands."""
    from bridgepipe.runtime import jobs, slurm

    if not slurm.present():
        say("no Slurm here: states are those of Snakemake's log")
        return None
    if not slurm.sent_any(folder) and not any(job.number for job in jobs.unfinished(folder)):
        return None
    try:
        return slurm.states()
    except UserError:
        say("Slurm does not answer (`sinfo` tells why): states are those of Snakemake's log")
        return None


@groups.people.verb()
def plan(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="files, rules or experiments, such as i2sb/jpeg-5; default: everything"),
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, max=10_000, help="for so many H100s; 0: for this machine")] = 0,
    as_json: AsJson = False,
) -> None:
    """What targets will take: jobs, network calls, time, memory, disk and downloads.

    Only what is not done yet counts. Every network is timed on this machine for a moment; jobs that were done
    here before correct the times.
    """
    from bridgepipe.workflow import costs, estimates

    found = estimates.plan(targets or [], gpus)
    print(json.dumps(found.as_json(), indent=2) if as_json else costs.table(found))


@groups.people.verb()
def record(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="experiments that DVC records, or all; default: those of the last time"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="stop where stages/names.yaml would be another")
    ] = False,
) -> None:
    """Write which stages DVC has, to stages/names.yaml, and what each depends on, to results/plan.

    Plain Snakemake does not need it, and removes results/plan when it runs under other parameters, sources or
    code.
    """
    from bridgepipe.workflow import plans

    plans.plan(experiments or [], check)


@groups.people.verb()
def clean(params: Params = PARAMS, dry_run: DryRun = False) -> None:
    """Remove what the workflow can make again from what is here, and say what is left.

    Files that no rule makes stay, downloads and training states too, and so does whatever was made from data
    or files that are gone, or by an experiment that params.yaml no longer has at this scale.
    """
    from bridgepipe.workflow import cleaning

    cleaning.clean(params, dry_run)


@groups.people.verb()
def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="files or folders; default: data results")
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="delete them: the next run makes them again")
    ] = False,
    again: Annotated[
        bool, typer.Option("--rerun", help="make the named files again and compare the bytes")
    ] = False,
    params: Params = PARAMS,
    seen: Annotated[Path, typer.Option(help="digests of the files as they were found sound")] = SEEN,
) -> None:
    """Read every artefact; name those that are damaged, and results of other parameters than params.yaml's.

    Exit code 1 when there are any. With --rerun the named files are made again beside the old ones, by the
    commands that made them, and where the bytes differ it says what was different then: threads, kernels,
    libraries, settings, inputs.
    """
    from bridgepipe.workflow import verifying

    if again:
        sound = verifying.made_again(paths or [])
    else:
        sound = verifying.verify(paths or [], delete, params, seen)
    raise SystemExit(0 if sound else 1)


@groups.people.verb("training-state")
def show_training_state(
    folder: Annotated[Path, typer.Argument(help="folder train/ of an experiment")],
    go_on: Annotated[
        bool, typer.Option("--go-on", help="train on from the state although the code has changed")
    ] = False,
    start_again: Annotated[
        bool, typer.Option("--start-again", help="set the state aside, the next training begins anew")
    ] = False,
) -> None:
    """Show the states in the folder of a training, or decide what becomes of the current one."""
    if not training_state.saved(folder):
        raise _no_state(folder)
    with artifacts.exclusive(folder / ".lock"):
        states = {s.path.name: s for s in training_state.saved(folder)}
        current = states.get(training_state.FILE)
        if go_on and start_again:
            raise UserError("two choices", "--go-on --start-again", "give one of them")
        if (go_on or start_again) and current is None:
            raise _no_state(folder)
        if go_on and current is not None:
            training_state.accept(current)
        if start_again and current is not None:
            training_state.set_aside(current)
        for line in training_state.described(folder):
            print(line)


def _no_state(folder: Path) -> UserError:
    return UserError("no state of a training", folder, "give the folder train/ of an experiment")


@groups.people.verb()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="sources such as i2sb/jpeg-5, a group such as i2sb, hf:OWNER/NAME, hf:datasets/OWNER/NAME;"
            " default: list them"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="another place for the file")] = None,
    root: Annotated[Path, typer.Option(help="folder of the data", show_default=False)] = Path("data"),
    dry_run: DryRun = False,
) -> None:
    """Download published weights or data: resumes, verifies, shows the licence."""
    from bridgepipe.downloads import fetch as downloads
    from bridgepipe.downloads import sources

    if not names:
        print("\n".join(sources.listed()))
    if output is not None and len(names or ()) > 1:
        raise UserError(f"one place for {len(names or ())} sources", "--output", "name one of them")
    for name in names or ():
        for path in (downloads.missing if dry_run else downloads.fetch_all)(name, root, output):
            print(path)


@groups.store.verb("info")
def store_info(file: Annotated[Path, typer.Argument(help="store")], as_json: AsJson = False) -> None:
    """What a store holds and how it was made."""
    from bridgepipe.data import storecard

    _show(storecard.info(file), as_json)
