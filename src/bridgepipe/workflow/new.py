"""A first experiment on a person's own images: a short file that params.yaml includes, to be edited."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridgepipe import artifacts, config
from bridgepipe.config import including, yaml_reader
from bridgepipe.config.errors import nearest
from bridgepipe.datasets.attribute_tables import attributes_of
from bridgepipe.datasets.folder import Pictures, find, find_splits
from bridgepipe.datasets.images import size_of
from bridgepipe.datasets.items import FRACTIONS, some
from bridgepipe.datasets.pairs import matched
from bridgepipe.errors import UserError

FOLDER = Path(including.PATTERN).parent
PATCH = 64  # pixels of a patch's side; of smaller images, 32 of the whole
SCALE = "demo"  # whose settings the experiments start from
HEAD = """\
# yaml-language-server: $schema=../workflow/schemas/params.schema.json
# {about}
# What is not said here comes from scales.demo of params.yaml. For a first look, {minutes} minutes on
# two cores, set {first}.
# It shows that all runs; its network is not yet of use.
"""
FIRST = "train.steps: 100"
MINUTES = {32: "about 5", PATCH: "5 to 10"}  # of these steps, by the side of the images
VALIDATED = f"{FIRST} and train.validation.every: 50"  # a validation comes before the last step
RESTORATION = """\
datasets:
  {name}: {{source: folder, path: {path}, {size}}}
experiments:
  i2sb:
    {name}:
      scales: [demo]
      dataset: {name}
      corruption: {corruption}    # the damage: docs/corruptions.md shows them all
      variant: exact
      train: {{steps: 5000, validation: {{every: 500, metrics: [psnr], grid: 8}}}}
      sample: {{nfe: 5}}    # network calls
      evaluate: {{extractor: inception, classifier: null}}
"""
PAIRS = """\
datasets:
  {name}: {{source: pairs, path: {path}, size: 64}}    # B is made from A; reverse: true turns that around
experiments:
  i2sb:
    {name}:
      scales: [demo]
      dataset: {name}
      corruption: paired
      ot_ode: true     # one answer for each A; leave it out where many are right
      cond_x1: true    # the network sees A at every step
      train: {{steps: 5000}}
      evaluate: {{extractor: inception, classifier: null}}
"""
TRANSLATION = """\
datasets:
  {name}: {{source: folder, path: {path}, size: 32}}
extractors:
  {name}-classifier: {{kind: classifier, dataset: {name}, steps: 400}}    # says which class a translation has
experiments:
  model:    # one network that learns all classes
    {name}:
      scales: [demo]
      dataset: {name}
      conditional: true
      drop_labels: 0.1    # guidance without a classifier needs it
      train: {{steps: 5000, flip: true}}
  ddib/classes:
    {name}:
      scales: [demo]
      source: {source}
      target: {target}
      source_model: {name}
      sample: {{guidance: free, scale_decode: 1.0}}
      evaluate: {{extractor: {name}-classifier, classifier: {name}-classifier}}
"""
BOUNDARY = """\
datasets:
  {name}: {{source: folder, path: {path}, size: 32}}
experiments:
  model:    # the network whose latents tell the attribute
    {name}: {{scales: [demo], dataset: {name}, train: {{steps: 5000, flip: true}}}}
  boundary:
    {name}:
      scales: [demo]
      model: {name}
      dataset: {name}
      attribute: {attribute}
      search: {{C_z: 1.0e-4}}
{counts}      evaluate: {{extractor: inception, classifier: null}}
"""
WATCH = "bridgepipe status --watch    # in a second terminal: how far it is"
TAKEN = {"mixing": "train", "edit": "test"}  # sections of a boundary, and the split whose images they count


@dataclass(frozen=True)
class New:
    """An experiment that is to be written.

    Attributes:
        experiment: Full name, ``method/name``.
        text: Content of the file.
        found: What the data hold, for people.
        targets: Results that come next.
        use: Commands that use them.
    """

    experiment: str
    text: str
    found: str
    targets: str
    use: Sequence[str] = ()

    @property
    def next(self) -> list[str]:
        """Commands that come next: what the training will take stands before it, how far it is after it."""
        return [f"bridgepipe plan {self.targets}", f"snakemake {self.targets}", WATCH, *self.use]

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.experiment.rpartition('/')[2]}.yaml"

    def write(self, params: Path, dry_run: bool) -> Path | None:
        """Write the file beside a params file; returns its place, or None where nothing was to be written.

        Raises:
            UserError: the file is there, the params file does not include it, or what both say does not go
                together.
        """
        place = params.parent / self.file
        if place.exists():
            raise UserError("already there", place, "give another name, or edit the file")
        document = including.read(params, yaml_reader.parsed(self.text, str(place)))
        config.Resolved(document.values, document.places)
        if document.values["scale"] != SCALE:
            what = f"scale is {document.values['scale']}; a new experiment starts from {SCALE}"
            raise UserError(what, document.places.at("scale"), f"set scale: {SCALE}")
        if dry_run:
            return None
        place.parent.mkdir(exist_ok=True)
        artifacts.write_text(place, self.text)
        return place


def restoration(name: str, data: Path, corruption: str) -> New:
    """Clean images, damaged by a program."""
    pictures = find(data)
    sides = _readable([data / picture for picture in pictures.sizes])
    found = _found(pictures)
    small = min(sides) < PATCH
    size = "size: 32" if small else f"patches: {{size: {PATCH}}}"
    results = f"results/i2sb/{name}"
    return New(
        f"i2sb/{name}",
        _text(
            f"Restoration, learned from {found}.",
            RESTORATION,
            name,
            data,
            size=size,
            corruption=_scalar(corruption),
        ),
        found,
        f"{results}/restoration.json {results}/figures/grid.png {results}/figures/loss.png",
        [f"bridgepipe restore PHOTO --experiment i2sb/{name}"],
    )


def pairs(name: str, data: Path) -> New:
    """``A/`` and ``B/``, images of the same names."""
    pictures, partner = matched(data)
    _readable([*partner, *partner.values()])
    found = f"{_found(pictures)}, each with its partner"
    results = f"results/i2sb/{name}"
    return New(
        f"i2sb/{name}",
        _text(f"B from A, learned from {found}.", PAIRS, name, data),
        found,
        f"{results}/restoration.json {results}/figures/grid.png",
    )


def translation(name: str, data: Path, source: str | None, target: str | None) -> New:
    """A sub-folder for each class, of which one is translated to another."""
    pictures = find(data)
    _readable([data / picture for picture in pictures.sizes])
    classes = _classes(pictures)
    found = f"{_found(pictures)} of {len(classes)} classes"
    ends = _ends(classes, source, target, data)
    results = f"results/ddib/classes/{name}"
    about = f"Translation of {ends[0]} to {ends[1]}, learned from {found}."
    written = map(_scalar, ends)
    return New(
        f"ddib/classes/{name}",
        _text(about, TRANSLATION, name, data, source=next(written), target=next(written)),
        found,
        f"{results}/accuracy.json {results}/similarity.json {results}/figures/grid.png",
    )


def boundary(name: str, data: Path, attribute: str | None, params: Path) -> New:
    """Images with a table of attributes beside them."""
    pictures = find(data)
    _readable([data / picture for picture in pictures.sizes])
    known = attributes_of(list(pictures.sizes), pictures.root, pictures.tables, None)
    columns = list(next(iter(known.values()), {}))
    if not columns:
        mend = "write metadata.csv: file_name and a column of 1 and -1 for each attribute"
        raise UserError("no table of attributes beside the images", data, mend)
    if attribute is None and len(columns) > 1:
        raise UserError(f"attributes {', '.join(columns)}", data, "name one with --attribute")
    chosen = attribute or columns[0]
    if chosen not in columns:
        raise UserError(f"no attribute '{chosen}'", data, nearest(chosen, columns))
    found = f"{_found(pictures)} with a table of {', '.join(columns)}"
    results = f"results/boundary/{name}"
    return New(
        f"boundary/{name}",
        _text(
            f"Edits of {chosen}, learned from {found}.",
            BOUNDARY,
            name,
            data,
            attribute=_scalar(chosen),
            counts=_counts(pictures, params),
        ),
        found,
        f"{results}/accuracy.json {results}/figures/mixing.png",
        [f"bridgepipe edit PHOTO --boundary {results} -o strip.png"],
    )


def _text(about: str, body: str, name: str, data: Path, **more: str) -> str:
    text = body.format(name=name, path=_scalar(str(data)), **more)
    first = VALIDATED if "validation" in body else FIRST
    minutes = MINUTES[32 if "size: 32" in text else PATCH]
    return HEAD.format(about=about, minutes=minutes, first=first) + text


def _scalar(text: str) -> str:
    """A text as YAML takes it for one, also inside braces."""
    plain = re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./-]*", text) and text.lower() not in {
        "true", "false", "null", "yes", "no", "on", "off", "y", "n",
    }  # fmt: skip
    return text if plain else json.dumps(text, ensure_ascii=False)


def _readable(files: Sequence[Path]) -> list[int]:
    """The shorter side of every picture.

    Raises:
        UserError: what some begin with is no picture; they are named.
    """
    sizes = {file: size_of(file) for file in files}
    if bad := [str(file) for file, size in sizes.items() if size is None]:
        raise UserError(f"cannot be read: {some(bad)}", Path(bad[0]).parent, "mend them, or take them away")
    return [min(size) for size in sizes.values() if size is not None]


def _counts(pictures: Pictures, params: Path) -> str:
    """Settings of a boundary that take all images of a split which has fewer than the scale asks for."""
    splits, _ = find_splits(pictures, lambda _: (), FRACTIONS, seed=0)
    found = {section: len(splits[split]) for section, split in TAKEN.items()}
    try:
        asked = yaml_reader.read(params).values["scales"][SCALE]["boundary"]
        few = {section: count for section, count in found.items() if count < asked[section]["images"]}
    except (KeyError, TypeError):
        return ""  # what the file lacks is told when the new one is checked with it
    return "".join(f"      {section}: {{images: {count}}}\n" for section, count in few.items())


def _found(pictures: Pictures) -> str:
    """How many images each split will have.

    Raises:
        UserError: as `folder.find_splits`; or a split would have none.
    """
    splits, _ = find_splits(pictures, lambda _: (), FRACTIONS, seed=0)
    total = len(pictures.sizes)
    if empty := [split for split, items in splits.items() if not items]:
        what = f"{total} images leave none for {', '.join(empty)}"
        raise UserError(what, pictures.root, "put more there")
    counts = ", ".join(f"{len(items)} {split}" for split, items in splits.items())
    return f"{total} images ({counts})"


def _classes(pictures: Pictures) -> list[str]:
    classes = find_splits(pictures, lambda _: (), FRACTIONS, seed=0)[1] or []
    if len(classes) < 2:
        what = f"{len(classes) or 'no'} sub-folder{'s' * (len(classes) != 1)} of classes"
        raise UserError(what, pictures.root, "put the images of each class into a sub-folder")
    return classes


def _ends(classes: Sequence[str], source: str | None, target: str | None, data: Path) -> tuple[str, str]:
    """The two classes of a translation: where there are two alone, the first is translated to the second."""
    for option, name in (("--class-a", source), ("--class-b", target)):
        if name is not None and name not in classes:
            raise UserError(f"{option} {name} is no class", data, nearest(name, classes))
    left = [name for name in classes if name not in (source, target)]
    if source is None and target is None and len(left) == 2:
        return left[0], left[1]
    if len(classes) > 2 and None in (source, target):
        raise UserError(f"classes {', '.join(classes)}", data, "name two with --class-a and --class-b")
    ends = source or left[0], target or left[0]
    if ends[0] == ends[1]:
        raise UserError("source and target are one class", data, "name two")
    return ends
