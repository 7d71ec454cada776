"""Comparison with real images, and what a reader must know of it: the floor, and what the reference holds.

A small set of real images has a FID to other real images, and a set of originals has a small one to a
reference that holds them. So every value stands beside the floor, the same distance of as many
real images, and its protocol counts the originals in the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridgepipe.data.subset import Subset, choose, choose_from, items_of
from bridgepipe.datasets.patches import pictures_of
from bridgepipe.evaluation import protocol
from bridgepipe.evaluation.features import Images, contents
from bridgepipe.evaluation.fid import Statistics, distances, held
from bridgepipe.names import Json

METRIC = (
    "fid: float64, unbiased covariance; kid: unbiased, without pairs of an image and its own original;"
    " 95 % intervals over the evaluated images"
)


def floor_of(images: Any, real: Any | None, originals: Any | None) -> Images | None:
    """Real images, as many as the evaluated ones or as there are: their distance is the floor.

    Args:
        images: the evaluated store.
        real: store of real images; None: the originals.
        originals: store that the evaluated images were restored from; None of samples and translations.
    """
    if originals is not None and (real is None or real.digest == originals.digest):
        return Subset(originals, items_of(images))
    return None if real is None else Subset(real, choose_from(real, len(images)))


def sets_of(images: Images, floor: Images | None, **others: Images) -> dict[str, Images]:
    """What is measured, by the end of its names: ``""`` the evaluated images, ``_real`` the floor.

    Where there are fewer real images, ``_equal`` are as many of the evaluated ones, which alone may be
    compared with the floor.
    """
    sets = {"": images, **others}
    if floor is None or len(floor) < 2:  # one image has no covariance
        return sets
    sets["_real"] = floor
    if len(floor) < len(images):
        sets["_equal"] = Subset(images, choose(len(floor), len(images)))
    return sets


def restored_from(
    measured: Mapping[str, Statistics], images: Any, originals: Any | None
) -> dict[str, Statistics]:
    """Statistics that know which original each restored or corrupted image shows."""
    if originals is None:
        return dict(measured)
    shown = contents(Subset(originals, items_of(images)))
    found = dict(measured)
    for suffix, which in (("", slice(None)), ("_corrupted", slice(None)), ("_equal", None)):
        if suffix in found:
            items = choose(found[suffix].n, len(shown)) if which is None else which
            found[suffix] = replace(found[suffix], pictures=shown[items])
    return found


def cut_from(
    measured: Mapping[str, Statistics], sources: Sequence[str] | None, floor: Images | None
) -> dict[str, Statistics]:
    """Statistics that know which picture each patch was cut from, over which their intervals are.

    Args:
        sources: pictures of the evaluated images, and of those before them; None: they are no patches.
        floor: the images of ``_real``.
    """
    of = dict.fromkeys(measured, sources) | {"_real": pictures_of(floor)}
    if "_equal" in measured and sources is not None:
        of["_equal"] = [sources[i] for i in choose(measured["_equal"].n, len(sources))]
    return {suffix: replace(found, sources=of[suffix]) for suffix, found in measured.items()}


def values_of(
    measured: Mapping[str, Statistics], reference: Statistics, kernel: bool
) -> dict[str, float | int]:
    """`fid.distances` of every set, and the number of real images of the floor."""
    values: dict[str, float | int] = {}
    for suffix, found in measured.items():
        values |= distances(found, reference, kernel, suffix)
    return values | ({"n_real": measured["_real"].n} if "_real" in measured else {})


def described(
    measured: Mapping[str, Statistics],
    reference: Statistics,
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Any],
    restored: bool = False,
    trained_on: str | None = None,
    **details: Any,
) -> Json:
    """The protocol of `values_of`.

    Args:
        settings, inputs: see `protocol.protocol`.
        restored: the evaluated images have originals, which are counted.
        trained_on: digest of the data that the model of the evaluated images was trained on, of samples.
        details: further entries.
    """
    found, floor = measured[""], measured.get("_real")
    name = settings.get("statistics") or settings["reference"]
    identified = len(reference.pictures) > 0  # foreign statistics do not say which images they are of
    about: Json = {"name": name, "digest": reference.data, "n": reference.n or None}
    about |= {"originals": held(found, reference) if restored and identified else None}
    about |= {"training_images": trained_on == reference.data} if trained_on is not None else {}
    about |= {"origin": dict(reference.origin)} if reference.origin else {}
    if floor is not None:
        details["floor"] = {"n": floor.n, "in_reference": held(floor, reference) if identified else None}
    return protocol.protocol(
        METRIC,
        n=found.n,
        settings=settings,
        inputs={"reference": reference.data, **inputs},
        extractor=found.extractor,
        reference=about,
        **details,
    )


def columns(measured: Mapping[str, Statistics], reference: Statistics) -> dict[str, float]:
    """The FID with its interval, and the floor, as columns of a study."""
    found = values_of(measured, reference, kernel=False)
    floor = {"FID real": found["fid_real"]} if "fid_real" in found else {}
    return protocol.as_columns(found, "fid", "FID") | floor
