"""The time that jobs ask for follows what they compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bridgepipe import artifacts, config
from bridgepipe.config import read_yaml
from bridgepipe.runtime.duration import Durations
from bridgepipe.workflow import Pipeline

ROOT = Path(__file__).parents[2]
Values = dict[str, Any]


class Job(dict[str, str]):
    """The wildcards of a job, by key and as attributes."""

    __getattr__ = dict.__getitem__


def opened(
    edit: Callable[[Values], None] = lambda values: None, scale: str = "paper", **runtime: Any
) -> Pipeline:
    values = read_yaml(ROOT / "params.yaml") | {"scale": scale}
    values["runtime"] |= {"longest": 100_000, **runtime}
    edit(values)
    return Pipeline(config.Resolved(values))


def minutes(p: Pipeline, name: str, stage: str, attempt: int = 1, least: int = 60) -> int:
    return Durations(p.experiment, p.datasets, p.runtime).minutes(least, name, stage, attempt)


def nfe(calls: int) -> Callable[[Values], None]:
    return lambda values: values["scales"]["paper"]["i2sb"]["sample"].update(nfe=calls)


def test_a_part_of_the_published_setting_gets_the_time_it_takes() -> None:
    """10,000 images of 256 x 256, 999 calls of 15.9 ms on an H100, in two parts: 22 hours."""
    known = lambda values: values["experiments"]["i2sb"]["jpeg-5"].update(sample={"count": 10_000})  # noqa: E731
    asked = minutes(opened(known, partitions=2), "i2sb/jpeg-5", "sample")
    assert 22 * 60 < asked < 5 * 22 * 60
    assert minutes(opened(known, partitions=4), "i2sb/jpeg-5", "sample") == pytest.approx(asked / 2, abs=1)
    assert minutes(opened(known, partitions=2, processes=2), "i2sb/jpeg-5", "sample") == pytest.approx(
        asked / 2, abs=1
    )
    assert minutes(opened(known, partitions=2), "i2sb/jpeg-5", "sample", attempt=2) == 2 * asked


def test_it_follows_calls_and_size() -> None:
    many, few = (minutes(opened(nfe(calls)), "i2sb/jpeg-5", "sample", least=1) for calls in (900, 90))
    assert many == pytest.approx(10 * few, rel=0.01)

    p = opened(nfe(900))
    small = {name: d.model_copy(update={"size": 128}) for name, d in p.datasets.items() if name[:4] == "imag"}
    of_small = Durations(p.experiment, {**p.datasets, **small}, p.runtime).minutes(1, "i2sb/jpeg-5", "sample")
    assert of_small == pytest.approx(many / 4, rel=0.05)


def test_a_small_network_waits_for_its_kernels_once_a_batch() -> None:
    """Points: 100,000 steps of 20,000 points at a time; the launches of 300,000 calls alone take 150 s."""
    p = opened()
    name = next(name for name in p.defined.trained() if name.startswith("ddib/sample/"))
    work = p.durations.work(name, "train")
    assert work.batches == 3 * p.experiment(name).train.steps
    assert 150 < work.on_h100 < 3600


def test_only_the_class_that_is_translated_counts() -> None:
    """50 images of ImageNet's validation set are of a class: 1000 calls up and 1000 guided ones down."""
    work = opened(partitions=1).durations.work("ddib/classes/281-285", "sample")
    assert sum(work.calls.values()) == 50 * (1000 + 3 * 1000)


def test_it_follows_the_calls_that_are_made() -> None:
    """A stride of 1000 // 300 visits 334 times; Heun's method calls twice in every step but the last."""

    def asked(respacing: str, solver: str = "ddim") -> int:
        def edit(values: Values) -> None:
            values["scales"]["paper"]["ddib/classes"]["sample"] |= {"respacing": respacing, "solver": solver}

        return minutes(opened(edit, device="cpu"), "ddib/classes/281-285", "sample", least=1)

    for respacing, made in {"uniform 300": 334, "uniform-trailing 600": 1000, "10,20": 30}.items():
        assert asked(respacing) == asked(str(made))
    assert asked("100", "heun") == pytest.approx(2 * asked("100"), rel=0.01)


def test_it_stays_between_the_least_and_the_longest() -> None:
    assert minutes(opened(scale="demo"), "i2sb/jpeg-5", "sample", least=240) == 240
    assert minutes(opened(longest=1440), "i2sb/jpeg-5", "sample", attempt=3, least=240) == 1440
    assert minutes(opened(longest=100, scale="demo"), "i2sb/jpeg-5", "sample", least=240) == 100


def test_a_cpu_is_given_more() -> None:
    assert minutes(opened(nfe(9), device="cpu"), "i2sb/jpeg-5", "sample") > minutes(
        opened(nfe(9)), "i2sb/jpeg-5", "sample"
    )


STAGES = {
    "i2sb": ("sample", "path", "features"),
    "spd": ("sample", "features"),
    "ddib/classes": ("sample", "cycle", "features"),
    "boundary": ("mixing", "latents", "strips", "features"),
}


@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_every_stage_of_every_experiment_has_an_estimate(scale: str) -> None:
    p = opened(scale=scale)
    for method, stages in STAGES.items():
        for name in p.resolved.names(method):
            for stage in stages:
                assert minutes(p, f"{method}/{name}", stage, least=1) >= 1
            if getattr(p.experiment(f"{method}/{name}"), "study", None):
                assert minutes(p, f"{method}/{name}", "study", least=1) >= 1


def test_rules_ask_for_it() -> None:
    p = opened(longest=1440)
    assert p.durations.minutes(240, "i2sb/jpeg-5", "sample", attempt=1) == 1440
    assert p.durations.statistics(240, "imagenet256", "train") == 428  # 1,281,167 images
    assert p.durations.statistics(240, "digits", "train", attempt=2) == 480
    job = Job(dataset="imagenet256", split="train")
    assert p.asks.takes_statistics(240)(job, 1) == 428


def test_a_job_that_calls_networks_asks_for_every_process_and_for_more_when_it_is_sent_again() -> None:
    p = opened(processes=2, device="cuda", longest=4000)
    asked: dict[str, Any] = p.asks.network(6000, p.asks.takes(240, "i2sb/{experiment}", "sample"))
    job = Job(experiment="jpeg-5")
    at_first, again = (
        {key: at(job, attempt) for key, at in asked.items() if key != "gpu"} for attempt in (1, 2)
    )
    assert (asked["gpu"], at_first["mem_mb"], again["mem_mb"]) == (2, 12000, 24000)
    assert at_first["runtime"] == p.durations.minutes(240, "i2sb/jpeg-5", "sample")
    assert again["runtime"] == min(4000, 2 * at_first["runtime"])


def test_an_own_folder_is_counted_before_it_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 pictures of 100 x 64 pixels; patches of 64 every 32 pixels: two each."""
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        file = tmp_path / f"photos/{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (100, 64)).save(file)
    mine = {"whole": {"size": 64}, "cut": {"patches": {"size": 64}}, "gone": {"path": "elsewhere"}}
    folders = {name: {"source": "folder", "path": "photos", **own} for name, own in mine.items()}
    images = opened(lambda values: values["datasets"].update(folders), scale="demo").durations.images
    whole = {split: images("whole", split) for split in ("train", "val", "test")}
    assert sum(whole.values()) == 20
    assert whole["train"] > 10
    assert images("cut", "train") == 2 * whole["train"]
    assert images("gone", "train") > 1_000_000  # nothing tells

    artifacts.write_json(tmp_path / "data/prepared/whole/counts.json", {"items": {"train": 7}})
    opened_again = opened(lambda values: values["datasets"].update(folders), scale="demo")
    assert opened_again.durations.images("whole", "train") == 7


@pytest.mark.parametrize(("layout", "sides"), [("folders", ("A", "B")), ("side-by-side", (".",))])
def test_own_pairs_are_counted_as_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, sides: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for side in sides:
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (16, 8)).save(tmp_path / f"pairs/{side}/{number}.png")
    mine = {"source": "pairs", "path": "pairs", "size": 8, "layout": layout}
    images = opened(lambda values: values["datasets"].update(mine=mine), scale="demo").durations.images
    assert sum(images("mine", split) for split in ("train", "val", "test")) == 20
