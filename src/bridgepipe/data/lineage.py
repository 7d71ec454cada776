"""What was made from what: artefacts that are compared item by item prove that they belong together.

The card of a store tells in ``made_by`` the digest of the data and of the model that it was made from.
Another store of the same size would be compared without a complaint, and give wrong numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bridgepipe import names
from bridgepipe.artifacts import Card
from bridgepipe.errors import UserError
from bridgepipe.names import Json

if TYPE_CHECKING:
    from bridgepipe.data.store import ImageStore

ROLES = ("images", "space")  # entries of made_by in which stores of one job differ


class Made(Protocol):
    """An `ImageStore`, or anything else with a card."""

    card: Card
    path: Path


def made_from(made: Made, source: Any, what: str, key: str = "data") -> None:
    """Check that ``made`` was made from ``source``.

    Args:
        made: restored images, translations, latents, edits, ...
        source: what has the digest that ``made`` names; its ``path`` stands in the message.
        what: what ``source`` is called, such as "originals".
        key: entry of ``made_by`` that holds the digest.

    Raises:
        UserError: the store was made from something else, or does not say.
    """
    recorded = made.card["made_by"].get(key)
    if recorded != source.digest:
        other = (
            "does not tell what it was made from" if recorded is None else f"was made from {_short(recorded)}"
        )
        where = getattr(source, "path", made.path)
        raise UserError(
            f"{what} of other images: {made.path} {other}, this is {_short(source.digest)}",
            where,
            f"give the {what} that it was made from, or make it again from these",
        )


def made_together(first: Made, *others: Made) -> None:
    """Check that one job made all of these stores: the same settings, model and data, and as many items.

    Raises:
        UserError: an entry differs; the first that does is named.
    """
    for other in others:
        if (entry := _difference(_how(first), _how(other))) is not None:
            what = f"it does not belong to {first.path}: {entry} differs"
            raise UserError(what, other.path, "give stores of one run, or make both again")


def open_sources(path: Path | None, images: Any) -> ImageStore | None:
    """The store of the source images of pairs; None without a path.

    Raises:
        UserError: the sources are not the other halves of ``images``.
    """
    from bridgepipe.data.store import ImageStore

    if path is None:
        return None
    sources = ImageStore(path)
    made_together(images, sources)
    same_count(images=images, sources=sources)
    return sources


def same_count(**stores: Any) -> None:
    """Stores of the same images must have as many.

    Raises:
        UserError: their numbers of items differ.
    """
    counts = {name: len(s) for name, s in stores.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{n} {name}" for name, n in counts.items())
        raise UserError(f"different numbers of images: {listed}", *_mend(stores))


def _mend(stores: dict[str, Any]) -> tuple[Any, str]:
    return next(iter(stores.values())).path, "delete the stores and make them again"


def same_split(about: Mapping[str, Any], split: str, where: Path) -> None:
    """Refuse real images of another split than the configured one.

    Args:
        about: origin of the real images, see `origin`; missing entries are not compared.

    Raises:
        UserError: the real images are of another split.
    """
    if about.get("split", split) != split:
        what = f"real images of {about['name']}, evaluate.reference is {split}"
        raise UserError(what, where, "give those of the configured split")


def same_size(real: Sequence[int] | None, made: Sequence[int], where: Path) -> None:
    """Refuse real images of another size than those that were made.

    Args:
        real: height and width of the real images; None: unknown.

    Raises:
        UserError: the sizes differ.
    """
    if real is not None and list(real) != list(made):
        what = f"real images of {real[0]}x{real[1]} pixels, the others have {made[0]}x{made[1]}"
        raise UserError(what, where, "give those of images of the same size")


def origin(store: Made) -> Json:
    """What data a store is, in words that later comparisons need: its name, and how it was prepared."""
    made_by = {key: value for key, value in store.card["made_by"].items() if key != "skipped"}
    return {"name": f"{store.path.parent.name}/{store.path.stem}", **made_by}


def quantisation(store: Made) -> str:
    """How the pixels of a store became whole numbers; stores that don't say were truncated."""
    return store.card["made_by"].get("quantisation", names.QUANTISATION["published"])


def kind_of(source: str) -> str:
    """The source of the pictures, which several kinds of datasets share."""
    return {"digit-classes": "digits", "photo-edges": "sample-photos"}.get(source, source)


def _how(store: Made) -> Json:
    return {key: value for key, value in store.card["made_by"].items() if key not in ROLES}


def _difference(a: Any, b: Any, at: str = "made_by") -> str | None:
    """The first entry in which two JSON values differ, as a dotted key."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        deeper = (_difference(a.get(key), b.get(key), f"{at}.{key}") for key in sorted({*a, *b}))
        return next((found for found in deeper if found is not None), None)
    return None if a == b else at


def _short(digest: Any) -> str:
    return str(digest)[:12]
