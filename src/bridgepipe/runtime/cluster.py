"""What the profiles of clusters ask for: names, partitions, the command for states, rules with a GPU.

Runs before the workflow is read, so it imports nothing heavy.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import yaml

from bridgepipe.config import including, yaml_scalars
from bridgepipe.errors import UserError, stop
from bridgepipe.names import Json
from bridgepipe.runtime import launch, slurm

T = TypeVar("T")

REMEMBERED_SECONDS = 60  # squeue must know of an ended job at least as long as it is asked about it
PROFILE = "profiles/slurm/config.yaml"


def check_profiles(arguments: Sequence[str]) -> None:
    """Refuse what YAML reads as another number than was typed: a plain ``1:30:00`` is 5400.

    Args:
        arguments: arguments that Snakemake was started with.

    Raises:
        UserError: such a text without quotes, with its file and line.
    """
    for file in _profiles(arguments):
        for node in _scalars(yaml.compose(file.read_text(encoding="utf8"), yaml.SafeLoader)):
            try:
                if node.style is None:
                    yaml_scalars.plain(node.value)
            except yaml_scalars.Ambiguous as e:
                mend = f"{e.mend}; runtime takes minutes, such as 90" if ":" in node.value else e.mend
                raise UserError(str(e), f"{file}, line {node.start_mark.line + 1}", mend) from None


def _profiles(arguments: Sequence[str]) -> Iterator[Path]:
    """Files of the profiles in use, as Snakemake finds them."""
    found = sys.modules.get("snakemake.cli")  # loaded when it is started, and slow to load otherwise
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("--workflow-profile", default="profiles/default")
    known, _ = parser.parse_known_args(arguments)
    named = known.profile or [os.environ.get("SNAKEMAKE_PROFILE", "")]
    for name in (*named, known.workflow_profile):
        if name not in ("", "none") and found and (place := found.get_profile_dir(name)):
            yield place[1]


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Texts and numbers below a node of YAML, keys left out."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _scalars(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value)


def named(key: str, value: object) -> str:
    """A setting that is a name, or several with commas between them: a partition, an account.

    Raises:
        UserError: YAML reads it as no text, or it holds what no name of Slurm holds.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[\w.+@-]+(,[\w.+@-]+)*", value):
        mend = "write names as Slurm shows them, in quotes; several with commas and no spaces between them"
        raise UserError(f"{key} is {value!r}", PROFILE, mend)
    return value


def partition(partitions: object, kind: str) -> str:
    """The partitions of rules without a GPU (``cpu``), or with one (``gpu``).

    Raises:
        UserError: none is given, or it is no name of Slurm.
    """
    given = partitions.get(kind) if isinstance(partitions, dict) else partitions
    if given is None or not isinstance(partitions, dict):
        mend = "write partitions: {cpu: NAME, gpu: NAME}, with names as `sinfo` shows them"
        raise UserError(f"partitions has no {kind}", PROFILE, mend)
    return named(f"partitions.{kind}", given)


def gpu_model(name: object) -> str:
    """A model of GPUs, in the spelling that Snakemake's executor takes.

    Raises:
        UserError: a name that the executor would refuse at the first job that it sends.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.]+", name):
        raise UserError(
            f"gpu_model is {name!r}; Snakemake's executor takes letters, digits, _ and . only",
            PROFILE,
            "leave it empty and choose the nodes: give partitions.gpu a partition of this model alone, or"
            " write constraint: FEATURE beside slurm_partition, with a feature that `sinfo -o '%G %f'` shows",
        )
    return name


def status_command(accounting: str = "auto") -> str:
    """The command that Snakemake asks for the states of jobs: ``sacct`` or ``squeue``.

    Snakemake would wait for ever for an accounting database that is not there.

    Args:
        accounting: ``sacct``, ``squeue``, or ``auto``: sacct where the accounting database answers.

    Raises:
        UserError: the one that is asked for cannot work on this cluster.
    """
    if accounting not in ("auto", "sacct", "squeue"):
        raise UserError(f"accounting is '{accounting}'", PROFILE, "use auto, sacct or squeue")
    if shutil.which("sbatch") is None:  # dry runs need no Slurm
        return "squeue"
    trouble = None if accounting == "squeue" else _accounting_trouble()
    if accounting == "sacct" and trouble is not None:
        raise UserError(
            f"the accounting database does not answer: {trouble}",
            "sacct",
            f"set accounting: auto in {PROFILE}",
        )
    if accounting == "squeue" or trouble is not None:
        _check_squeue()
        return "squeue"
    return "sacct"


def gpus_here() -> int:
    """How many NVIDIA GPUs this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([device for device in chosen.split(",") if device.strip() not in ("", "-1")])
    return len(list(launch.GPUS.glob("*")))


def gpu_rules(folder: str | Path, params: str | Path = "params.yaml") -> list[str]:
    """Names of the rules of a folder of .smk files that ask for a GPU; none with ``runtime.device: cpu``."""
    if _on_cpus(Path(params)):
        return []
    text = "\n".join(f.read_text(encoding="utf8") for f in sorted(Path(folder).glob("*.smk")))
    head = r"^(?:use )?rule (\w+)(?: as (\w+) with)?:\n"
    found: set[str] = set()
    for rule in re.finditer(head + r"((?:[ \t].*\n|\n)*)", text, re.MULTILINE):
        base, heir, body = rule.groups()
        if re.search(r"^\s+(gpu=|\*\*network\()", body, re.MULTILINE) or base in found:
            found.add(heir or base)
    return sorted(found | set(map(rule_of_pairs, _with_pairs(Path(params)))))


def rule_of_pairs(group: str) -> str:
    """Name of the rule that translates the pairs of an experiment; its text has no rule of this name."""
    return f"translate_pairs_of_{group.rpartition('/')[2]}"


def _with_pairs(params: Path) -> list[str]:
    """Experiments with pairs."""
    translations = _section(_section(_values(params), "experiments"), "ddib/classes")
    return [name for name in translations if "pairs" in _section(translations, name)]


def _on_cpus(params: Path) -> bool:
    return _section(_values(params), "runtime").get("device") == "cpu"


def _values(params: Path) -> Json:
    """What params.yaml says. The workflow reports whatever is wrong with it."""
    with suppress(UserError):
        return including.read(params).values
    return {}


def _section(values: Json, key: str) -> Json:
    section = values.get(key)
    return section if isinstance(section, dict) else {}


def one_volume(spec: str) -> list[str]:
    """The volume of the Kubernetes profile, ``claim:path``, which Snakemake has every pod mount.

    Its executor takes for granted that pods share no files. It would copy every file through
    an object storage, and a training would not find the state of the job before it.
    """
    with suppress(ImportError):  # Snakemake says what to install
        from snakemake_executor_plugin_kubernetes import common_settings

        common_settings.implies_no_shared_fs = False
        common_settings.job_deploy_sources = False
        common_settings.auto_deploy_default_storage_provider = False
    return [spec]


def _or_stop(function: Callable[..., T]) -> Callable[..., T]:
    """A function for profiles. Snakemake prints all of its options before what an exception says."""

    @wraps(function)
    def in_one_line(*args: Any) -> T:
        try:
            return function(*args)
        except UserError as e:
            stop(e)

    return in_one_line


# what the profiles call
profile = SimpleNamespace(
    **{f.__name__: _or_stop(f) for f in (named, partition, gpu_model, status_command, gpu_rules, one_volume)}
)


def _accounting_trouble() -> str | None:
    """Why sacct is of no use here; None when it answers."""
    try:
        done = slurm.run("sacct", "-X", "--noheader", "--name=bridgepipe")
    except (OSError, subprocess.TimeoutExpired) as e:
        return (
            f"no answer in {slurm.ANSWER_SECONDS} s" if isinstance(e, subprocess.TimeoutExpired) else str(e)
        )
    return None if done.returncode == 0 else done.stderr.strip()


def _check_squeue() -> None:
    configuration = slurm.ask("scontrol", "show", "config")
    age = re.search(r"MinJobAge\s*=\s*(\d+)", configuration)
    if age and int(age[1]) < REMEMBERED_SECONDS:
        raise UserError(
            f"without an accounting database Slurm forgets ended jobs after {age[1]} s",
            "MinJobAge of slurm.conf",
            f"ask your administrator for an accounting database or MinJobAge of {REMEMBERED_SECONDS} or more",
        )
