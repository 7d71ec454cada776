"""What does not go together in params.yaml: experiments with the data, models and extractors that they name.

The limits of single values stand in `bridgepipe.config`; here is what takes two sections to see. What only
data can tell, such as the classes of an own folder, is left to the jobs that read them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridgepipe.config import contents
from bridgepipe.config.boundary import BoundarySearch
from bridgepipe.config.checks.boundary import boundary
from bridgepipe.config.checks.models import between, generation, i2sb, model, points, validation
from bridgepipe.config.checks.shared import Defined, Problem, Problems
from bridgepipe.config.checks.translation import translation
from bridgepipe.config.checks.weights import named
from bridgepipe.config.colors import ColorTransfer
from bridgepipe.config.ddib import ClassTranslation
from bridgepipe.config.gaussian import Generation, Guide, Model
from bridgepipe.config.i2sb import I2SB
from bridgepipe.config.points import Domain, PointModel, PointTranslation
from bridgepipe.config.unread import unread


def problems(full: str, e: Any, own: Mapping[str, Any], defined: Defined) -> Problems:
    """Everything that does not go together in an experiment whose names are all defined.

    Args:
        full: full name of the experiment, ``method/name``.
        e: the merged experiment.
        own: the keys that the experiment sets itself, without inherited ones.
    """
    for key, why in unread(e, own):
        yield Problem(key, f"nothing reads it: {why}", "remove it")
    yield from _kinds(e, defined)
    for kind, check in CHECKS.items():
        if isinstance(e, kind):
            yield from check(e, defined)
    if getattr(e, "train", None) is not None:
        yield from named(full, e, defined)
        yield from validation(e, defined)


def _kinds(e: Any, defined: Defined) -> Problems:
    """Datasets of the wrong kind: images, points of the plane, or colours."""
    wanted = "colors" if type(e) is PointModel else "points" if isinstance(e, Domain) else "images"
    for key, (section, name) in e.references().items():
        if section != "datasets":
            continue
        dataset = defined.datasets[name]
        found = dataset.model_dump()["source"] if contents.is_points(dataset) else "images"
        if found != wanted:
            yield Problem(key, f"{name} is {found}, not {wanted}", f"name a dataset of {wanted}")


CHECKS: dict[Any, Callable[[Any, Defined], Problems]] = {
    I2SB: i2sb,
    Model: model,
    Guide: model,
    Generation: generation,
    ClassTranslation: translation,
    BoundarySearch: boundary,
    PointModel: points,
    PointTranslation: between,
    ColorTransfer: between,
}
