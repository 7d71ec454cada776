"""Whether a value of ours may stand beside a published one: which entries of the two protocols differ.

What either side does not tell is unknown, and an unknown entry is no agreement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridgepipe.downloads import sources
from bridgepipe.evaluation.published_numbers import Published

# What values depend on, in the order in which differences are reported.
ENTRIES = ("dataset", "split", "n", "nfe", "reference", "extractor", "resize", "quantisation")
OF_CYCLES = ("dataset", "n", "nfe", "solver")  # of points, which no network looks at


def beside(number: Published, metric: Mapping[str, Any]) -> bool:
    """Whether a published number may stand beside ours."""
    return not number.baseline and verdict([(number, metric)]) == "yes"


def verdict(pairs: Sequence[tuple[Published, Mapping[str, Any]]]) -> str:
    """``yes``, or what differs and what is unknown, over published values and our metric files.

    Args:
        pairs: a published value and the metric file with ours, for every metric that both have.
    """
    differ: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for number, metric in pairs:
        for entry in OF_CYCLES if number.metric.startswith("cycle") else ENTRIES:
            if entry == "reference" and number.metric == "accuracy":  # the true classes
                continue
            published, ours = _published(number, entry), _ours(number, metric, entry)
            if published is None or ours is None:
                unknown[entry] = None
            elif not _agree(published, ours):
                differ[f"{entry} {_shown(ours)} (published {_shown(published)})"] = None
    found = [f"no: {', '.join(differ)}"] if differ else []
    found += [f"unknown: {', '.join(unknown)}"] if unknown or not pairs else []
    return "; ".join(found) or "yes"


def _published(number: Published, entry: str) -> Any:
    if entry == "nfe":
        return number.nfe
    value = number.same.get(entry)
    if entry == "extractor" and isinstance(value, str):
        return {"sha256": sources.load_sources()[value].sha256, "name": value}
    return value


def _ours(number: Published, metric: Mapping[str, Any], entry: str) -> Any:
    """The entry in a metric file; None where the file lacks it."""
    protocol, made_with = metric.get("protocol", {}), metric.get("made_with", {})
    extractor, reference = protocol.get("extractor") or {}, protocol.get("reference") or {}
    match entry:
        case "dataset" | "split":
            return _data(number, made_with, reference)
        case "nfe":
            made = made_with.get("settings", {}).get("sample", {})
            return made.get("nfe", metric.get("values", {}).get("calls"))
        case "solver":
            settings = protocol.get("settings", {})
            return {key: settings.get(key) for key in number.same["solver"]}
        case "reference":
            return reference.get("origin")
        case "extractor":
            # Without the digest of a file it is no published network, whatever it is called.
            return {"sha256": None, **extractor} if extractor else None
        case "resize":
            return extractor.get("resize")
    return protocol.get(entry)


def _data(number: Published, made_with: Mapping[str, Any], reference: Mapping[str, Any]) -> Any:
    """What the evaluated images were made from; samples were made from the data that trained their model."""
    if "origin" in made_with or number.system != "gaussian":
        return made_with.get("origin")
    trained_on_it = made_with.get("data") is not None and made_with["data"] == reference.get("digest")
    return reference.get("origin") if trained_on_it else None


def _agree(published: Any, ours: Any) -> bool:
    """Equal; of mappings the entries that are published, but for names."""
    if not isinstance(published, Mapping):
        return published == ours
    keys = [key for key in published if key != "name"]
    return isinstance(ours, Mapping) and all(published[key] == ours.get(key) for key in keys)


def _shown(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    words = [value.get(key) for key in ("released", "name", "source", "split")]
    return str(next((word for word in words if word), ", ".join(map(str, value.values()))))
