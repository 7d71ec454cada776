"""A real Slurm on this machine alone: controller, node daemon and munge, with fake GPUs.

    python tests/cluster/slurm.py start|stop

Needs root and the packages slurmctld, slurmd, munge, slurm-client. Everything it
writes is in one folder, and links to it in /etc/slurm, where Slurm's commands
look for their configuration. No accounting database, no cgroups; CPUs, memory
and GPUs are really allotted, and memory limits are enforced.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(tempfile.gettempdir()) / "bridgepipe-slurm"
ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
DAEMONS = ("munged", "slurmctld", "slurmd")
GPUS = 2
FEATURE = "fake-80gb"  # a model of GPUs with a hyphen, which Snakemake's executor refuses as gpu_model
# Snakemake asks how its jobs are after this time, then 10 s more each time; a tiny job takes about 15 s
PROFILE = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "4")
CPUS, MEMORY_MB = 8, 64000  # more than there may be: the jobs of the tests are small, whatever they ask for

SLURM_CONF = """\
ClusterName=bridgepipe
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# a requeued job waits until its old credential has expired, 2 minutes by default
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/begins
TaskEpilog={folder}/ends
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
MinJobAge=600
KillWait=5
OverTimeLimit=0
InactiveLimit=0
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Feature={feature} \\
 Gres=gpu:fake:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=2-00:00:00 DefaultTime=00:10:00 State=UP
PartitionName=gpu Nodes={host} Default=NO MaxTime=2-00:00:00 DefaultTime=00:10:00 State=UP
"""

TASK_SCRIPT = """\
#!/bin/sh
step=${{SLURM_STEP_ID:-batch}}
echo "{moment} $SLURM_JOB_ID $step gpu:$CUDA_VISIBLE_DEVICES $(date +%s.%N)" >> {folder}/tasks.log
"""


@dataclass(frozen=True)
class Step:
    """One step of a job, as it saw itself: seconds since the epoch, GPUs such as "0"."""

    job: str
    gpus: str
    begin: float
    end: float


def unusable() -> str | None:
    """Why Slurm cannot be started here; None when it can."""
    missing = [name for name in (*DAEMONS, "sbatch", "srun") if shutil.which(name) is None]
    if missing:
        return f"needs Slurm: {', '.join(missing)} not here (make system-setup installs it)"
    if os.geteuid() != 0:
        return "needs root: a Slurm of its own cannot be started"
    if foreign := [f for f in FILES if (ETC / f).exists() and not _ours(ETC / f)]:
        return f"this machine belongs to another Slurm: {ETC / foreign[0]}"
    return None


def start() -> None:
    """Start the daemons that do not run yet and wait until the node takes jobs."""
    for folder in (FOLDER, FOLDER / "state", FOLDER / "spool", FOLDER / "munge", ETC):
        folder.mkdir(parents=True, exist_ok=True)
    FOLDER.chmod(0o755)
    _write_configuration()
    if _pid("munged") is None:
        _start_munge()
    for daemon in ("slurmctld", "slurmd"):
        if _pid(daemon) is None:
            subprocess.run([daemon, "-f", ETC / "slurm.conf"], check=True)
    _wait_for_node()


def stop() -> None:
    """Cancel every job and end the daemons that ``start`` started."""
    if _pid("slurmctld") is not None:
        subprocess.run(["scancel", "--user=root"], check=False)
        until(lambda: not _output("squeue", "--noheader"), seconds=15)
    for daemon in reversed(DAEMONS):
        _end(daemon)
    _kill_survivors()
    for name in FILES:
        if _ours(ETC / name):
            (ETC / name).unlink()
    shutil.rmtree(FOLDER, ignore_errors=True)


def jobs(folder: Path) -> list[dict[str, str]]:
    """What the controller knows of the jobs of a folder, as ``scontrol show job`` names it, in order."""
    blocks = _output("scontrol", "show", "job").split("\n\n")
    found = [dict(re.findall(r"(\S+?)=(\S*)", block)) for block in blocks]
    here = [job for job in found if job.get("WorkDir") == str(folder.resolve())]
    return sorted(here, key=lambda job: int(job["JobId"]))


def jobs_of(folder: Path, rule: str) -> list[dict[str, str]]:
    return [job for job in jobs(folder) if re.match(rf"rule_{rule}(_wildcards|$)", job["Comment"])]


def steps() -> list[Step]:
    """Every step that has ended; the batch script is none."""
    moments = [line.split() for line in (FOLDER / "tasks.log").read_text().splitlines()]
    begun = {(job, step): (gpus, float(at)) for what, job, step, gpus, at in moments if what == "begins"}
    ended = {(job, step): float(at) for what, job, step, _, at in moments if what == "ends"}
    return [
        Step(k[0], begun[k][0].removeprefix("gpu:"), begun[k][1], end)
        for k, end in ended.items()
        if k[1] != "batch"
    ]


def control(*words: str) -> None:
    """scontrol WORDS."""
    subprocess.run(["scontrol", *words], check=True, capture_output=True, timeout=10)


def node() -> str:
    return socket.gethostname().split(".")[0]


def until(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Wait until ``condition`` holds; False when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _write_configuration() -> None:
    values = {
        "host": node(),
        "folder": FOLDER,
        "cpus": CPUS,
        "memory": MEMORY_MB,
        "gpus": GPUS,
        "feature": FEATURE,
    }
    devices = [_fake_gpu(k) for k in range(GPUS)]
    contents = {
        "slurm.conf": SLURM_CONF.format(**values),
        "gres.conf": "".join(f"Name=gpu Type=fake File={device}\n" for device in devices),
        "cgroup.conf": "CgroupAutomount=no\n",
    }
    for moment in ("begins", "ends"):  # of every step: what a job saw of its GPUs, and when
        script = FOLDER / moment
        script.write_text(TASK_SCRIPT.format(folder=FOLDER, moment=moment))
        script.chmod(0o755)
    for name, content in contents.items():
        (FOLDER / name).write_text(content)
        if not _ours(ETC / name):
            (ETC / name).symlink_to(FOLDER / name)


def _fake_gpu(k: int) -> Path:
    device = FOLDER / f"nvidia{k}"
    if not device.exists():
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return device


def _start_munge() -> None:
    key, socket_file = FOLDER / "munge/munge.key", FOLDER / "munge.socket"
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
    (FOLDER / "munge").chmod(0o700)
    socket_file.unlink(missing_ok=True)
    options = {
        "key-file": key,
        "socket": socket_file,
        "pid-file": FOLDER / "munged.pid",
        "log-file": FOLDER / "munge/munged.log",
        "seed-file": FOLDER / "munge/munge.seed",
    }
    subprocess.run(["munged", "--force", *(f"--{k}={v}" for k, v in options.items())], check=True)


def _wait_for_node() -> None:
    if not until(lambda: _output("sinfo", "--noheader", "--format=%T").split()[:1] == ["idle"], seconds=30):
        raise RuntimeError("Slurm did not start: " + (FOLDER / "slurmctld.log").read_text()[-2000:])


def _end(daemon: str) -> None:
    pid = _pid(daemon)
    if pid is not None:
        os.kill(pid, 15)
        if not until(lambda: _pid(daemon) is None, seconds=10):
            os.kill(pid, 9)


def _kill_survivors() -> None:
    """What jobs left running: without cgroups Slurm loses sight of a process whose parent has ended."""
    for proc in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"SLURM_CLUSTER_NAME=bridgepipe" in (proc / "environ").read_bytes().split(b"\0"):
                os.kill(int(proc.name), 9)


def _pid(daemon: str) -> int | None:
    """Process of a daemon that we started; None when it does not run."""
    try:
        pid = int((FOLDER / f"{daemon}.pid").read_text())
        return pid if Path(f"/proc/{pid}/comm").read_text().strip() == daemon else None
    except (OSError, ValueError):
        return None


def _ours(link: Path) -> bool:
    return link.is_symlink() and Path(os.readlink(link)).parent == FOLDER


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()


if __name__ == "__main__":
    {"start": start, "stop": stop}[sys.argv[1]]()
