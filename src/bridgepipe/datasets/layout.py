"""What the folders of a dataset mean: splits under any of their names, classes, or two sides."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from unicodedata import combining, normalize

from bridgepipe.errors import UserError

_WORDS = {  # in English, German, French, Spanish, Portuguese and Italian, without accents
    "train": (
        "train|training|trn|trainings|lern|lernen|apprentissage|entrainement|entrenamiento|entreno"
        "|treinamento|treino|addestramento|allenamento"
    ),
    "val": (
        "val|valid|validation|validate|validating|dev|devel|development|validierung|validierungs"
        "|validacion|validacao|validazione|convalida"
    ),
    "test": (
        "test|tests|testing|tst|eval|evaluation|heldout|held[-_ ]out|holdout|pruef|prueba|pruebas|essai"
        "|teste|testes|prova|evaluacion|auswertung"
    ),
}
_SPLITS = {
    split: re.compile(
        rf"(?:(?:datos|conjunto|jeu|dados|dati)[-_ ]d[eio][-_ ])?(?:{words})"
        r"(?:[-_ ]?(?:set|data|daten|satz|menge|split|images|imgs|bilder|fotos|imagenes))?[-_ ]?\d*",
        re.IGNORECASE,
    )
    for split, words in _WORDS.items()
}
_AMONG = {
    split: re.compile(rf"(?<![a-z])(?:{words.pattern})(?![a-z])", re.IGNORECASE)
    for split, words in _SPLITS.items()
}
_HUMP = re.compile("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # where mnistTrain has a second word
_SIDE = re.compile(
    rf"(?:(?:{'|'.join(_WORDS.values())})[-_ ]?)?"
    r"(?:(?:domain|class|real|fake|img|images?|photos?|set|side)[-_ ]?)?([abxy])",
    re.IGNORECASE,
)
# what is no class beside a split: the parts of a search, pictures without labels
_ROLES = re.compile(
    r"query|gallery|probe|unlabell?ed|unsupervised|extra|additional|submission|predict(?:ion)?s?|calib(?:ration)?",
    re.IGNORECASE,
)
# what a split's name may be written behind or before: cats_train, 80_train, train.zip, imagesTr
_PART = re.compile(
    rf"(?P<start>.*[-_ .])?(?:(?P<train>{_WORDS['train']})|{_WORDS['val']}|{_WORDS['test']})"
    r"(?P<end>[-_ .].*)?",
    re.IGNORECASE,
)
_SHORT = re.compile(r"(?P<start>.*[a-z])(?:(?P<train>Tr)|Ts|Va)(?P<end>)")
# names that two folders of one picture's two versions bear
_TWO_NAMES = (
    "source/target, src/tgt, src/trg, input/output, input/target, inputs/targets, lr/hr, lq/hq, lq/gt,"
    " low res/high res, lowres/highres, image/mask, images/masks, images/labels, images/annotations,"
    " images/edges, sketch/photo, before/after, pre/post, antes/despues, avant/apres, vorher/nachher,"
    " clean/noisy, clean/noise, clean/rainy, clean/degraded, clean/corrupted, clear/hazy, clear/haze,"
    " original/noisy, original/degraded, original/corrupted, original/edited, original/restored,"
    " sharp/blur, sharp/blurred, sharp/blurry, gt/input, gt/noisy, gt/degraded, gt/blur, gt/hazy,"
    " ground truth/input"
)
_PARTNERS = {frozenset(pair.split("/")) for pair in _TWO_NAMES.split(", ")}
# what the name of a side says besides: noisy_images, imgs-before
_BESIDE = re.compile(r"\b(?:images?|imgs?|img|photos?|pictures?|data|set|files)\b")
TWO_SIDES = (
    "two sides of pairs go into A/ and B/ under source: pairs; two unpaired domains are two datasets, each"
    " with a path of its own; if they are classes, give them names that say so"
)


def split_of(folder: str) -> str | None:
    """The split that a folder is named after, in any case: train, val, test, or None."""
    plain = _plain(folder)
    return next((split for split, words in _SPLITS.items() if words.fullmatch(plain)), None)


def splits_among(name: str) -> set[str]:
    """The splits that words of a name say, such as train of imagenet1k-train-0000.tar."""
    plain = _HUMP.sub(" ", _plain(name))
    return {split for split, words in _AMONG.items() if words.search(plain)}


def _plain(name: str) -> str:
    """A name without accents."""
    return "".join(c for c in normalize("NFKD", name) if not combining(c))


def given_splits(names: Iterable[str], folders: Iterable[str], root: Path) -> dict[str, str] | None:
    """Folder of every given split; None when the pictures come without splits.

    Args:
        names: names of the pictures, relative to ``root``.
        folders: all that there are, empty ones too.

    Raises:
        UserError: folders that may mean two things.
    """
    names = list(names)
    inside = folders_by_parent(names)
    no_splits_below(inside, root)
    tops = sorted(inside.pop("", set()))
    loose = [name for name in names if "/" not in name]
    refuse_sides(tops, root)
    every = {folder for folder in folders if "/" not in folder}
    splits = {top: split for top in sorted(every | set(tops)) if (split := split_of(top)) is not None}
    found = set(splits.values())
    if not found:
        _refuse_parts(tops, root)
        return None
    if len(found) == 1:
        (split,) = found
        if roles := [top for top in tops if _ROLES.fullmatch(top)]:
            _refuse(f"{next(iter(splits))} is a split, and {roles[0]} beside it is no class", root)
        if others := loose + [top for top in tops if top not in splits]:
            if any(inside[top] for top in splits if top in inside):
                _refuse(f"{next(iter(splits))} is a split, but beside it there is {others[0]}", root)
            return None  # a class may bear such a name: train beside bus and car
        if split != "train":
            _refuse(f"{split} is there, but no train", root)
    elif "train" not in found:
        _refuse(f"{' and '.join(sorted(splits))} are there, but no train", root)
    elif others := loose + [top for top in tops if top not in splits]:
        _refuse(f"beside the splits there is {others[0]}", root)
    folder_of = {split: top for top, split in splits.items()}
    if len(folder_of) < len(splits):
        _refuse(f"{', '.join(splits)}: two folders of one split", root)
    if empty := [top for top in splits if top not in tops]:
        raise UserError(
            f"no pictures in the split {empty[0]}", root, "put them there, or take the folder away"
        )
    return folder_of


def refuse_sides(folders: Iterable[str], root: Path) -> None:
    """Raises UserError when folders are the two sides of pairs, or two domains."""
    names = sorted(folders)
    sides = [_SIDE.fullmatch(name) for name in names]
    letters = {side[1].lower() for side in sides if side is not None}
    bare = frozenset(map(_bare, names))
    if (all(sides) and letters in ({"a", "b"}, {"x", "y"})) or bare in _PARTNERS:
        raise UserError(f"{' and '.join(names)} are no classes but two sides", root, TWO_SIDES)


def _bare(name: str) -> str:
    """What the name of a side says: its words in lower case, without "images" and such beside others."""
    words = re.sub(r"[-_ .]+", " ", _plain(name)).lower()
    return " ".join(_BESIDE.sub("", words).split()) or words


def _refuse_parts(folders: Iterable[str], root: Path) -> None:
    """Raises UserError when folders are splits by the name of a part of them: x_train beside x_test."""
    trained: dict[str, str] = {}
    held_out: dict[str, str] = {}
    for name in folders:
        if part := _PART.fullmatch(_plain(name)) or _SHORT.fullmatch(name):
            rest = re.sub(r"[\d\W_]+", "", (part["start"] or "") + (part["end"] or "")).lower()
            (held_out if part["train"] is None else trained)[rest] = name
    if both := sorted(set(trained) & set(held_out)):
        train, other = trained[both[0]], held_out[both[0]]
        _refuse(f"{train} and {other} look like splits", root)


def folders_by_parent(names: Iterable[str]) -> dict[str, set[str]]:
    """Folders that hold files, at any depth, by the folder that they lie in ("" on top)."""
    inside: dict[str, set[str]] = defaultdict(set)
    for parent in {name.rpartition("/")[0] for name in names}:
        parts = parent.split("/") if parent else []
        for depth, part in enumerate(parts):
            inside["/".join(parts[:depth])].add(part)
    return inside


def no_splits_below(inside: Mapping[str, set[str]], root: Path) -> None:
    """Raises UserError when splits lie below the top, where they would pass for parts of classes."""
    for parent, children in sorted(inside.items()):
        found = {split_of(child) for child in children}
        if parent and "train" in found and (found & {"val", "test"} or len(children) == len(inside[""]) == 1):
            mend = f"put the splits on top, each with its classes; or give {root / parent} as the path"
            raise UserError(f"the splits {', '.join(sorted(children))} lie inside {parent}", root, mend)


def splits_at_any_depth(names: Iterable[str], root: Path) -> dict[str, str] | None:
    """Folder of every split, which may lie in other folders; None when the pictures come without splits.

    Raises:
        UserError: pictures beside the splits, or folders that may mean two things.
    """
    names = list(names)
    by_parent = folders_by_parent(names)
    tops = [
        top for top, inside in by_parent.items() if len({split_of(folder) for folder in inside} - {None}) > 1
    ]
    if not tops:
        return None
    start = f"{min(tops)}/".lstrip("/")
    if beside := [name for name in names if not name.startswith(start)]:
        _refuse(f"beside the splits of {min(tops)} there is {beside[0]}", root)
    given = given_splits([name.removeprefix(start) for name in names], (), root / min(tops)) or {}
    return {split: f"{start}{folder}/" for split, folder in given.items()}


def _refuse(what: str, root: Path) -> None:
    mend = "move all pictures into train/, val/ and test/; or if these are classes, rename them"
    raise UserError(what, root, mend)
