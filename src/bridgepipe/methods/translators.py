"""Translators from the files of trained models: which classes of their lists the ends are."""

from __future__ import annotations

from pathlib import Path

from bridgepipe.config.ddib import TranslateImages
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.store import ImageStore
from bridgepipe.errors import UserError
from bridgepipe.methods.ddib import Translator
from bridgepipe.methods.gaussian import Model
from bridgepipe.methods.trained import Trained, load_model
from bridgepipe.names.classes import Label, name_of, number_of, numbers_in

Models = tuple[Model, Model, Model | None]


def load_models(
    how: TranslateImages, source: Path, target: Path | None, guide: Path | None, speed: Runtime
) -> Models:
    """The source's model, the target's, which may be the same, and the classifier of noisy images."""
    target = target or source
    a = load_model(Trained.within(source, how), speed)
    b = a if target == source else load_model(Trained.within(target, how.of_target), speed)
    return a, b, None if guide is None else load_model(Trained.within(guide, how.of_guide), speed, guide=True)


def load_translator(
    ends: tuple[Label, Label],
    how: TranslateImages,
    source: Path,
    target: Path | None,
    guide: Path | None,
    speed: Runtime,
) -> Translator:
    """`translator_of` models in folders."""
    return translator_of(ends, how, load_models(how, source, target, guide, speed))


def translator_of(ends: tuple[Label, Label], how: TranslateImages, models: Models) -> Translator:
    """A translation between two classes, whose numbers are those in the lists of the models."""
    a, b, classifier = models
    labels = tuple(
        None if model.classes is None else number_of(label, model.class_names)
        for label, model in zip(ends, (a, b), strict=True)
    )
    for side, model, label in (("source", a, labels[0]), ("target", b, labels[1])):
        _check_label(side, model, label)
    up = guided_class(ends[0] if how.scale_encode else None, a, classifier)
    down = guided_class(ends[1] if how.scale_decode else None, b, classifier)
    return Translator(a, b, (labels[0], labels[1]), how, classifier, (up, down))


def _check_label(side: str, model: Model, label: int | None) -> None:
    """Refuse to leave out the class of a model that was trained without a null class."""
    if model.classes is not None and model.null is None and label is None:
        names = ", ".join(model.class_names or map(str, range(model.classes)))
        what = f"the {side} model is conditional: it needs a class"
        raise UserError(what, "translation", f"give one of: {names[:200]}")


def guided_class(label: Label, model: Model, guide: Model | None) -> int | None:
    """Number that the guide gives to the class of a model: the same name, not the same number.

    Raises:
        UserError: the guide has no such class.
    """
    if guide is None or label is None:
        return None
    name = name_of(label, model.class_names)
    if model.class_names is None:
        return number_of(name, guide.class_names, "guide")
    if guide.class_names is None:
        mend = "train or import it again, which records them"
        raise UserError("the guide does not name its classes, the model does", "guide", mend)
    return numbers_in(guide.class_names, [str(name)], "guide", "translation")[0]


def class_of(label: Label, model: Model, images: ImageStore) -> str | None:
    """Name of a class: in the list of the model, or of the images if the model is unconditional."""
    return name_of(label, model.class_names or images.classes)
