"""What a plan says before a run: counted operations and memory, corrections, chains of jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.workflow import costs, estimates, footprint

ADM = {
    "kind": "adm",
    "model_channels": 32,
    "channel_mult": (1, 2, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "num_heads": 4,
    "num_head_channels": -1,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
    "dropout": 0.0,
}
DIGITS = footprint.Net(ADM, (32, 32), 3, 3)


def test_the_peak_is_of_tensors_that_are_alive_at_once() -> None:
    """Three layers without gradients hold two layers' outputs at a time, with gradients all of them."""
    layers = [nn.Linear(100, 100, bias=False, device="meta") for _ in range(3)]
    peaks = {}
    for grad in (False, True):
        x = torch.zeros(10, 100, device="meta")
        with footprint.Peak() as peak, torch.set_grad_enabled(grad):
            for layer in layers:
                x = layer(x)
        peaks[grad] = peak.most
    assert peaks == {False: 2 * 4000, True: 3 * 4000}


def test_operations_are_those_of_convolutions() -> None:
    network = {"kind": "residual", "model_channels": 16, "channel_mult": (1,), "num_res_blocks": 1}
    small, large = (footprint.of(footprint.Net(network, (s, s), 3, 3), 1, False) for s in (32, 64))
    assert large.operations == pytest.approx(4 * small.operations, rel=0.01)
    assert footprint.of(footprint.Net(network, (32, 32), 3, 3), 8, False).operations == small.operations
    weights = sum(
        p.numel() for p in footprint.Net(network, (32, 32), 3, 3).build().parameters() if p.ndim > 1
    )
    assert small.operations <= 2 * 32 * 32 * weights


def test_large_pictures_are_timed_smaller() -> None:
    """ADM's network of ImageNet: 1.1 T multiplications and additions a call, which a CPU takes long for."""
    large = footprint.Net(
        {**ADM, "model_channels": 256, "channel_mult": (1, 1, 2, 2, 4, 4)}, (256, 256), 3, 3
    )
    cost = footprint.of(large, 1, False)
    size, share = footprint._measured_size(large, cost)
    assert size is not None
    assert share == size[0] * size[1] / 256**2 < 1
    assert min(size) >= footprint.SMALLEST


RSS = """
import re, torch, bridgepipe.stages.training
from tests_net import net
network = net.build()
optimizer = torch.optim.AdamW(network.parameters())
for _ in range(2):
    network(*net.given(32, net.size)).square().mean().backward(); optimizer.step(); optimizer.zero_grad()
# the system's count of resources holds the memory of the process that this one was forked from
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc, which is Linux's")
def test_memory_of_a_training_is_within_15_per_cent(tmp_path: Path) -> None:
    (tmp_path / "tests_net.py").write_text(
        f"from bridgepipe.workflow import footprint\nnet = footprint.Net({ADM!r}, (32, 32), 3, 3)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", RSS], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert footprint.of(DIGITS, 32, True).memory == pytest.approx(float(told.stdout), rel=0.15)


def job(rule: str, needs: list[int], waits: bool = True, benchmark: Path | None = None, **more: Any) -> Any:
    nothing = {"calls": [], "features": 0, "extractor": None, "on_h100": 0.0, "trains": False}
    nothing |= {"processes": 1, "batch": 1, "prepared": 0, "bytes": 0}
    made = {
        "rule": rule,
        "system": "data",
        "outputs": [f"results/{rule}"],
        "benchmark": benchmark and str(benchmark),
    }
    return {**nothing, **made, "needs": needs, "waits": waits, **more}


def planned(
    monkeypatch: pytest.MonkeyPatch, jobs: list[Any], gpus: int = 0, processes: int = 1
) -> costs.Plan:
    monkeypatch.setattr(estimates, "_found", lambda targets: {"jobs": jobs, "missing": []})
    monkeypatch.setattr(estimates, "read_runtime_file", lambda path: Runtime(processes=processes))
    return estimates.plan([], gpus)


def test_jobs_that_were_done_correct_those_that_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "done.tsv"
    file.write_text("s\th:m:s\n12.0\t0:00:12\n")
    done, waiting, other = job("fid", [], False, file), job("fid", []), job("accuracy", [])
    told = {cost.rule: cost.seconds for cost in planned(monkeypatch, [done, waiting, other]).costs}
    assert told == {"fid": 12.0, "accuracy": estimates.START}


def test_gpus_work_beside_each_other_as_far_as_jobs_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job("train", [], on_h100=100.0), *(job("sample", [0], on_h100=50.0) for _ in range(4))]
    took = [planned(monkeypatch, jobs, gpus).seconds for gpus in (1, 2, 8)]
    assert took == [300 + 5 * estimates.START, 150 + 2.5 * estimates.START, 150 + 2 * estimates.START]


def test_the_job_that_others_wait_for_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    start = estimates.START
    short, train = job("prepare", []), job("train", [0], on_h100=1000.0)
    jobs = [short, train, job("sample", [1, 0], on_h100=50.0), job("statistics", [0], on_h100=200.0)]
    assert planned(monkeypatch, jobs, 1).limit is None
    limited = planned(monkeypatch, jobs, 8)
    assert [link.rule for link in limited.chain] == ["prepare", "train", "sample"]
    assert limited.limit == ("train", 1000 + start)
    assert "\nlimit: others wait for train, 16.7 min; runtime.processes gives" in costs.table(limited)
    assert limited.as_json()["limit"] == {"rule": "train", "seconds": 1000 + start}
    assert "limit:" not in costs.table(planned(monkeypatch, jobs))


def test_processes_share_the_gpus_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    start = estimates.START
    jobs = [job("train", [], on_h100=800.0, processes=8), job("prepare", [])]
    eight = planned(monkeypatch, jobs, 8, processes=8)
    assert {cost.rule: cost.seconds for cost in eight.costs} == {"train": 100 + start, "prepare": start}
    assert eight.workers == 1
    assert planned(monkeypatch, jobs, 64, processes=8).workers == 8
    assert planned(monkeypatch, jobs, 2, processes=8).costs[0].seconds == 400 + start
    assert planned(monkeypatch, jobs, 0, processes=8).workers == 1  # here processes share the processor


def test_downloads_are_named_with_their_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = "data/checkpoints/adm/256x256_diffusion_uncond.pt"
    plan = planned(monkeypatch, [job("fetch", [], outputs=[weights])])
    assert "download: adm/256x256_diffusion_uncond, 2.2 GB, licence " in costs.table(plan)
    assert json.loads(json.dumps(plan.as_json()))["downloads"][0]["bytes"] == 2211383297


def test_what_does_not_fit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch, [job("prepare", [], bytes=10**18)])
    assert any("of disk are free here" in warning for warning in plan.warnings())


def test_a_folder_without_a_project_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no workflow here"):
        estimates.plan([])


def test_sizes_and_times_are_written_for_people() -> None:
    assert [costs.size(n) for n in (None, 5, 2e6, 2.4e9, 3e12)] == [
        "of unknown size",
        "< 1 MB",
        "2 MB",
        "2.4 GB",
        "3.0 TB",
    ]
    assert [costs.duration(s) for s in (5, 150, 9000, 300_000)] == ["5 s", "2.5 min", "2.5 h", "3.5 days"]
