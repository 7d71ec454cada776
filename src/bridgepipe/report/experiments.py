"""What results/ holds of an experiment, as its part of the page shows it; what is not there is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bridgepipe import artifacts
from bridgepipe.config.resolved import Resolved
from bridgepipe.evaluation import one_table, protocol
from bridgepipe.evaluation.measures import Reading
from bridgepipe.evaluation.one_table import Block
from bridgepipe.evaluation.protocol import Metric
from bridgepipe.names import Json
from bridgepipe.report import costs, findings, photographs, pictures
from bridgepipe.report.costs import Cost
from bridgepipe.report.findings import Finding
from bridgepipe.report.photographs import Photographs
from bridgepipe.report.pictures import Pair, Picture

MODEL = "model.safetensors"
# entries of a record that say how something was computed
SOFTWARE = ("python", "torch", "numpy", "scipy", "sklearn")
MACHINE = ("machine", "cpu_kernels", "threads", "processes", "gpus", "cudnn", "precision", "deterministic")


@dataclass(frozen=True)
class Protocol:
    """The protocol of a metric file, flat."""

    metric: str
    digest: str
    entries: Mapping[str, str]


@dataclass(frozen=True)
class Shown:
    """The part of the page that is about one experiment.

    Attributes:
        name: full name, ``method/name``.
        own: settings that differ from those of its scale, by dotted key.
        settings: all settings as YAML.
        missing: files of its results that are not there.
        figures: figures and curves.
        pairs: images before and after restoration.
        photographs: whole photographs that it restored.
        readings: all numbers.
        blocks: the same under a heading per measure and protocol.
        finding: the one sentence.
        protocols: one for every metric file.
        provenance: digests, seeds, software and machine.
        costs: time, memory and energy of every rule.
        on_gpu: True where a GPU worked for it, whose energy no benchmark tells.
    """

    name: str
    own: Mapping[str, str]
    settings: str
    missing: list[str]
    figures: list[Picture]
    pairs: list[Pair]
    photographs: Photographs | None
    readings: list[Reading]
    blocks: list[Block]
    finding: Finding | None
    protocols: list[Protocol]
    provenance: Mapping[str, str]
    costs: list[Cost]
    on_gpu: bool


def shown(resolved: Resolved, name: str, results: list[str]) -> Shown | None:
    """An experiment as it lies in results/; None where nothing of it was made.

    Args:
        resolved: the parameters.
        name: full name, ``method/name``.
        results: files that the experiment ends in.

    Raises:
        UserError: a file is damaged.
    """
    folder = Path("results", name)
    made = [Path(file) for file in results if Path(file).is_file()]
    if not made and not (folder / MODEL).is_file():
        return None
    files = [f for f in made if f.suffix == ".json" and f.parent == folder]
    metrics = {file.stem: protocol.read_metric(file) for file in files}
    readings = one_table.read(files)
    sessions, restored = list(_sessions(folder)), photographs.read(folder)
    return Shown(
        name,
        dict(_flat({k: v for k, v in resolved.own(name).items() if k != "scales"})),
        yaml.safe_dump(resolved.experiment(name).model_dump(mode="json"), sort_keys=False),
        [file for file in results if not Path(file).is_file()],
        pictures.figures(folder, name.rsplit("/", 1)[0]),
        pictures.comparison(folder),
        restored,
        readings,
        one_table.blocks(readings),
        findings.finding(name, readings) or (Finding(name, restored.text, None) if restored else None),
        [_protocol(stem, metric) for stem, metric in metrics.items()],
        _provenance(folder, metrics, sessions),
        costs.read(folder),
        any(session.get("gpus") and session.get("device") != "cpu" for session in sessions),
    )


def _protocol(stem: str, metric: Metric) -> Protocol:
    return Protocol(stem, metric["protocol_hash"], dict(_flat(metric["protocol"])))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values by dotted key, as text."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    words = {None: "none", True: "yes", False: "no"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _sessions(folder: Path) -> Iterator[Json]:
    """How each result of an experiment was computed."""
    for file in sorted([*folder.glob("provenance/*.json"), *folder.glob("figures/provenance/*.json")]):
        yield from artifacts.read_object(file).get("sessions", [])


def _provenance(folder: Path, metrics: Mapping[str, Metric], sessions: list[Json]) -> dict[str, str]:
    """Digests, seeds, software and machine, each in one line; nothing that names the computer."""
    found: dict[str, str] = {}
    if (folder / MODEL).is_file():
        card = artifacts.load_card(folder / MODEL)
        known = {"weights": "content_sha256", "training data": "data", "code of the training": "code"}
        found |= {words: str(card[key]) for words, key in known.items() if card.get(key)}
        found |= {"training steps": f"{card['step']:,}"} if "step" in card else {}
    for metric in metrics.values():
        made_with = metric["made_with"]
        found |= {
            w: str(made_with[w]) for w in ("model", "data", "evaluated") if _is_digest(made_with.get(w))
        }
        seeds = {key: text for key, text in _flat(made_with.get("settings", {})) if key.endswith("seed")}
        found |= {f"seed ({key})": text for key, text in seeds.items()}
    software = [f"{name} {_values(sessions, name)}" for name in SOFTWARE if _values(sessions, name)]
    machine = {name.replace("_", " "): _values(sessions, name) for name in MACHINE}
    found |= {"software": ", ".join(software)} if software else {}
    return found | {name: text for name, text in machine.items() if text}


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 16


def _values(sessions: list[Json], name: str) -> str:
    """What the sessions have under a name, the different values side by side."""
    found = [_text(session[name]) for session in sessions if session.get(name) not in (None, [])]
    return " / ".join(sorted(set(found)))
