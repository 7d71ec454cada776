"""What does not go together in the search of a boundary and in the edits along it."""

from __future__ import annotations

from bridgepipe import names
from bridgepipe.config import contents
from bridgepipe.config.boundary import BoundarySearch
from bridgepipe.config.builtin import Digits
from bridgepipe.config.checks.evaluation import classified, extractors
from bridgepipe.config.checks.shared import Defined, Problem, Problems, at_most, folders_in, same_size
from bridgepipe.config.checks.weights import kept
from bridgepipe.config.values import Strict


def boundary(e: BoundarySearch, defined: Defined) -> Problems:
    model, dataset = defined.experiments[f"model/{e.model}"], defined.datasets[e.dataset]
    if model.conditional:
        yield Problem("model", f"model {e.model} is conditional", "name one with conditional: false")
    yield from same_size("dataset", e.dataset, contents.size_of(defined.datasets[model.dataset]), defined)
    yield from kept("", e, f"model/{e.model}", defined)
    yield from _attributes(e, dataset, defined)
    unmeasured = [name for name in e.evaluate.preserved if name not in contents.measures_of(dataset)]
    if unmeasured and e.evaluate.classifier is None:
        what = f"evaluate.preserved names {unmeasured[0]}, which needs evaluate.classifier"
        yield Problem("evaluate.preserved", what, "name a classifier of the dataset, or leave it out")
    yield from _steps(e, model.process.T)
    yield from _halves(e, dataset)
    if e.edit.source == "images":
        yield from at_most("edit.images", e.edit.images, dataset, e.search.test)
    yield from extractors(e, dataset, defined)
    yield from classified(e.evaluate.classifier, dataset, defined)


def _attributes(e: BoundarySearch, dataset: Strict, defined: Defined) -> Problems:
    """Attributes that the data don't have, or that nothing can judge in an edited image."""
    known, of_labels = contents.attributes_of(dataset), contents.classes_of(dataset)
    if known is None or of_labels is None:
        yield from _folder_attributes(e, dataset, folders_in(dataset, defined))
        return
    written = {"attribute": e.attribute, "evaluate.preserved": e.evaluate.preserved}
    measures = contents.measures_of(dataset)
    against = tuple(name for name in known if name not in measures)
    if not known:
        yield Problem("dataset", f"{e.dataset} has neither attributes nor classes", "name another dataset")
        return
    for key, named in written.items():
        for name in (named,) if isinstance(named, str) else named:
            if name.casefold() not in {other.casefold() for other in known}:
                yield Problem(key, f"{e.dataset} has no attribute '{name}'", value=name, names=known)
    if e.against is not None and e.against not in against:
        yield Problem(
            "against", f"{e.dataset} has no class '{e.against}'", value=e.against, names=of_labels or against
        )
    computed = names.DIGIT_LABELS if isinstance(dataset, Digits) else ()
    recognised = (*measures, *computed, *of_labels)
    if e.evaluate.classifier is not None:
        for key, name in (
            ("evaluate.classifier", e.attribute),
            *(("evaluate.preserved", n) for n in e.evaluate.preserved),
        ):
            if name in known and name not in recognised:
                mend = "set evaluate.classifier to null, so that a judge is trained"
                yield Problem(key, f"the classes don't tell {name}", mend)


def _halves(e: BoundarySearch, dataset: Strict) -> Problems:
    """Images with and without the attribute: whether there are both, and enough."""
    if e.attribute in contents.measures_of(dataset):
        yield from _measured(e, dataset)
        return
    for key, unset in (("threshold", None), ("middle", 0.0)):
        if getattr(e.search, key) != unset:
            mend = f"set it to {'null' if unset is None else 0}"
            yield Problem(f"search.{key}", f"{e.attribute} is either there or not", mend)
    known, split = set(contents.classes_of(dataset) or ()), e.search.split
    having = known & set(names.DIGITS_WITH.get(e.attribute, (e.attribute,)))
    against = known if e.against is None else known & set(names.DIGITS_WITH.get(e.against, (e.against,)))
    lacking = against - having
    is_known = known and against  # others only the data can tell
    if is_known and not (having and lacking):
        what = f"no image of {e.dataset} {'has' if not having else 'lacks'} {e.attribute}"
        yield Problem("attribute" if e.against is None else "against", what, "name another")
        return
    for key, count in (("mixing.images", e.mixing.images), ("search.images", e.search.images)):
        yield from at_most(key, count, dataset, split, having | lacking if is_known else None)
    if not is_known:
        return
    fewer = min(having, lacking, key=lambda half: contents.most_of(dataset, split, half) or 0)
    yield from at_most("mixing.folds", e.mixing.folds, dataset, split, fewer)


def _measured(e: BoundarySearch, dataset: Strict) -> Problems:
    """An attribute that is a number, which a threshold cuts."""
    if e.against is not None:
        yield Problem("against", f"{e.attribute} is measured on every image", "set it to null")
    least, most = names.RANGES[e.attribute]
    if e.search.threshold is not None and not least < e.search.threshold < most:
        what = f"{e.attribute} is between {least} and {most}, the threshold {e.search.threshold}"
        yield Problem("search.threshold", what, "take a number between them, or null")
    count = contents.most_of(dataset, e.search.split)
    left = None if count is None else count - round(e.search.middle * count)
    for key, wanted in (("mixing.images", e.mixing.images), ("search.images", e.search.images)):
        if left is not None and wanted is not None and left < wanted:
            what = f"{wanted} of the {left} images that search.middle: {e.search.middle} leaves"
            yield Problem(key, what, f"take at most {left}, or a smaller middle")


def _folder_attributes(e: BoundarySearch, dataset: Strict, folders: tuple[str, ...] | None) -> Problems:
    """Attributes of own images, which are the names of their folders, or measured."""
    if folders is None:
        return
    measured = contents.measures_of(dataset)
    preserved = [("evaluate.preserved", name) for name in e.evaluate.preserved if name not in measured]
    attribute = [] if e.attribute in measured else [("attribute", e.attribute)]
    columns = contents.columns_of(dataset)
    known = {name.casefold() for name in (*folders, *columns)}
    for key, name in [*attribute, ("against", e.against), *preserved]:
        if name is not None and name.casefold() not in known:
            what = f"{e.dataset} has no folder '{name}'" + (", and no such attribute" if columns else "")
            yield Problem(key, what, value=name, names=(*folders, *columns))


def _steps(e: BoundarySearch, T: int) -> Problems:
    """Indices that the process, or the way to the edited step, does not have."""
    if e.mixing.last >= T:
        yield Problem("mixing.last", f"{e.mixing.last} of a process of {T} steps", f"take 1 to {T - 1}")
        return
    last = T - 2 if e.edit.source == "samples" else T - 1
    if e.t is not None and e.t > last:
        yield Problem("search.t", f"{e.t} of a process of {T} steps", f"take 1 to {last}")
        return
    edited = [e.t] if e.t is not None else e.mixing.measured
    for key, count in (("inversion.count", e.inversion.count), ("edit.count", e.edit.count)):
        if count > min(edited) + 1:
            may = "is" if e.t is not None else "may be"
            what = f"{count} indices from 0 to the edited step, which {may} {min(edited)}"
            yield Problem(key, what, f"take at most {min(edited) + 1}")
    if e.edit.source == "samples" and e.edit.generate > T:
        yield Problem("edit.generate", f"{e.edit.generate} indices of {T}", f"take at most {T}")
