"""The model card of a network that is shared, ``README.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def model_card(name: str, library: str, use: str, about: Mapping[str, Any]) -> str:
    """Markdown: what the network is for, its data, recipe, metrics with their protocol, and licence."""
    licence = about["licence"]
    known = re.fullmatch(r"[A-Za-z0-9.-]+", licence) is not None
    named = {"license": licence.lower()} if known else {"license": "other", "license_name": licence}
    front = {"library_name": library, **named, "tags": ["bridgepipe"]}
    data, recipe = about["data"], about["recipe"]
    verb = "Trained" if "train" in recipe else "Imported"
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in front.items()),
        "---",
        f"# {name}",
        f"{verb} by bridgepipe {about['bridgepipe']}. Use: `{use}`",
        "## Data",
        *_origin(data),
        "## Recipe",
        "```json",
        json.dumps(recipe, indent=2),
        "```",
        "## Metrics",
        *(_measured(about["metrics"]) or ["None were measured."]),
        "## Licence",
        licence,
    ]
    return "\n".join(lines) + "\n"


def _origin(data: Mapping[str, Any]) -> list[str]:
    """What a network was trained on, and where it was imported from."""
    lines = []
    if (imported := data.get("imported")) is not None:
        lines = [f"- {key}: {value}" for key, value in imported.items()]
        lines = ["Imported weights:", "", *lines, ""]
    if "dataset" not in data:
        return [*lines, "Their training data are those of their source: none of them were seen here."]
    licences = [f"- {picture}: {licence}" for picture, licence in data["licences"].items()]
    return [*lines, f"Dataset `{data['dataset']}`.", *licences]


def _measured(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    for file, metric in metrics.items():
        rows = [
            f"| {key} | {value:.6g} |"
            for key, value in metric["values"].items()
            if isinstance(value, float | int)
        ]
        lines += [f"### {file}", "", "| metric | value |", "|---|---|", *rows, "", "Protocol:", "", "```json"]
        lines += [json.dumps(metric["protocol"], indent=2), "```"]
    return lines
