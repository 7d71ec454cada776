"""Verbs for people: look at the configuration, restore one's own photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli import groups, outputs
from bridgepipe.cli.common import load_restorer, problem_of, sampling_of
from bridgepipe.cli.options import Alone, File, Trained
from bridgepipe.cli.settings import read_settings
from bridgepipe.config import paths_of


@groups.app.verb("config", panel=groups.PREPARE)
def show_config(
    experiment: Annotated[str, typer.Argument(help="method/name, such as i2sb/jpeg-5")],
    params: File = Path("params.yaml"),
) -> None:
    """Print the resolved experiment."""
    resolved = configuration.load(params).experiment(experiment).model_dump(mode="json")
    print(yaml.safe_dump(resolved, sort_keys=False), end="")


@groups.app.verb("schema", panel=groups.PREPARE)
def write_schema(output: File = Path("workflow/schemas/params.schema.json")) -> None:
    """Write the JSON schema of params.yaml, which editors use."""
    artifacts.write_json(output, configuration.schema())


@groups.app.verb(panel=groups.APPLY)
def restore(
    photos: Annotated[list[Path], typer.Argument(help="corrupted photographs, of any size")],
    output: Annotated[Path, typer.Option(help="folder of the restored images")],
    experiment: Annotated[str, typer.Option(help="trained experiment, method/name")] = "i2sb/jpeg-5",
    results: File = Path("results"),
    run: Alone = Alone(),
) -> None:
    """Restore photographs with a trained experiment; they are taken as they are, nothing is corrupted."""
    import numpy as np

    from bridgepipe import running
    from bridgepipe.datasets import images
    from bridgepipe.finished import kept
    from bridgepipe.finite import naming

    photos = list(dict.fromkeys(photos))
    places = {photo: output / f"{photo.stem}.png" for photo in photos}
    outputs.check(places)
    speed, folder = run.start(), results / experiment
    settings = read_settings(folder / "config/sample.json")
    how = sampling_of(settings["sample"])
    trained = Trained.within(folder)
    digests = []
    for photo in photos:  # all are tried before the first is restored
        images.read_photo(photo)
        digests.append(artifacts.digest_file(photo))

    def restored(piece: Sequence[Path]) -> np.ndarray:
        pixels = images.read_photo(piece[0])
        restorer = load_restorer(trained, problem_of(settings, pixels.shape[:2]), speed)
        with naming(str(piece[0])):
            return restorer.restore_photo(pixels, how)[None]

    identity = {"settings": settings, "model": artifacts.load_card(trained.model)[artifacts.CONTENT]}
    with kept(output / experiment.replace("/", "-"), {**identity, "photos": digests}, speed):
        batches = running.shared(restored, photos, 1, "restoring")
        for place, batch in zip(places.values(), batches, strict=True):
            images.write_png(place, batch[0], f"restored {experiment}")
            print(place)
        outputs.finish(places.values())


@groups.app.verb(panel=groups.PREPARE)
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
        "missing data": ", ".join(p for p in wanted if not Path(p).exists()) or "none",
    }.items():
        print(f"{what:<13} {value}")
