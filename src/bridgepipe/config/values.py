"""What every section of params.yaml shares: the kinds of values, each with its limits."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
)

from bridgepipe.names import Json, Spacing, degradations
from bridgepipe.names.nfe import SAMPLER_TRAITS

T = TypeVar("T", bound=Hashable)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ValueError(f"{twice[0]!r} comes twice")
    return values


def _corruption(name: str) -> str:
    if name != degradations.PAIRED:
        degradations.parse(name)
    return name


def _path(path: str) -> str:
    if not path.strip() or not path.isprintable():
        raise ValueError("a path is text of visible characters")
    expanded = os.path.expanduser(os.path.expandvars(path))
    if expanded.startswith("~"):
        raise ValueError(
            f"there is no user {expanded[1:].partition('/')[0]} here; a file called so is ./{path}"
        )
    if unset := re.search(r"\$(\w+|\{\w+\})", expanded):
        raise ValueError(f"the variable {unset[1].strip('{}')} is not set")
    return expanded


def visible(text: str) -> str:
    """The text; ValueError when it holds control or format characters, or spaces other than the plain one."""
    if hidden := [c for c in text if not c.isprintable()]:
        raise ValueError(f"the character U+{ord(hidden[0]):04X} cannot be seen: remove it")
    return text


def spelled(pattern: str, meaning: str) -> Callable[[str], str]:
    """A validator of texts that match a pattern; a person reads its meaning."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(meaning)
        return text

    return check


Distinct = AfterValidator(_distinct)


def _apart(named: dict[str, Any]) -> dict[str, Any]:
    """Names as keys; a reader takes two that differ by case for one, and so do many file systems."""
    known: dict[str, str] = {}
    for name in named:
        if (other := known.setdefault(name.casefold(), name)) != name:
            raise ValueError(f"'{other}' and '{name}' differ by case only: rename one")
    return named


Apart = AfterValidator(_apart)

NAME = "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}"
# A folder or a file is called so, hence no slash, no leading dot, no space.
Name = Annotated[
    str,
    AfterValidator(visible),
    AfterValidator(
        spelled(NAME, "a name has up to 100 letters, digits, '.', '_' and '-', the first a letter or digit")
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"}),
]
# Figures leave out what starts with _ and set what stands between $; tables and metrics split at : and |.
LABEL = r"[^\s_:|/\\$]([^:|/\\$]{0,58}[^\s:|/\\$])?"
# What a figure, a table and a metric call something.
Label = Annotated[
    str,
    AfterValidator(visible),
    AfterValidator(
        spelled(
            LABEL, "a label has up to 60 characters, none of : | / \\ $, no _ first, no space at its ends"
        )
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{LABEL}$"}),
]
Written = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(visible)
]  # a class, an attribute
Reference = Annotated[str, Field(min_length=1, max_length=100)]  # a name that is defined elsewhere
FilePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_path)]
Corruption = Annotated[
    str,
    AfterValidator(_corruption),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*degradations.NAMES, degradations.PAIRED]},
                {"type": "string", "pattern": f"^({degradations.PATTERN})$"},
            ]
        }
    ),
]
Size = Annotated[int, Field(ge=8, le=4096)]
Split = Literal["train", "val", "test"]
Variant = Literal["published", "exact"]

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Times = Annotated[int, Field(ge=2, le=100_000)]  # of a process, or some of them
Calls = Annotated[int, Field(ge=1, le=100_000)]  # of a network, per item
Items = Annotated[int, Field(ge=1, le=100_000_000)]  # images or points
Several = Annotated[int, Field(ge=2, le=100_000_000)]
Batch = Annotated[int, Field(ge=1, le=1_000_000)]
Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]  # of a training
Rate = Annotated[float, Field(gt=0, le=1)]
Cost = Annotated[float, Field(ge=1e-12, le=1e9)]
Noise = Annotated[float, Field(ge=0, le=10)]  # eta of a sampler
Strength = Annotated[float, Field(ge=0, le=1000)]  # of guidance


def _own_spacing(spacing: Any, info: ValidationInfo) -> Any:
    """Where none is written, that of the sampler or solver, whose key stands before."""
    if spacing is not None:
        return spacing
    named = info.data.get("sampler", info.data.get("solver"))  # None: it is refused already
    return "uniform" if named is None else SAMPLER_TRAITS[named].spacing


# of the times of network calls; as a default: Field(None, validate_default=True)
OwnSpacing = Annotated[
    Spacing,
    BeforeValidator(_own_spacing),
    WithJsonSchema({"anyOf": [{"enum": [*get_args(Spacing)]}, {"type": "null"}]}),
]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Blocks = Annotated[int, Field(ge=1, le=16)]
Width = Annotated[int, Field(ge=32, le=2048, multiple_of=32)]  # group normalisation has 32 groups
Multipliers = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=9)]


# key, dataset or model/NAME for its dataset, split, number of items, and the class that they are of
Ask = tuple[str, str, str, int | None, int | str | None]


@dataclass(frozen=True)
class Results:
    """The results of the experiments of a method.

    Attributes:
        metrics: files of numbers, without ``.json``.
        figures: pictures below ``figures/``, without ``.png``; the loss is drawn of what is trained here.
        tables: tables over all experiments, without ``.csv`` and ``.md``.
        own_table: whether each experiment also has its own table.
    """

    metrics: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ("table",)
    own_table: bool = False


def absent(value: Any) -> bool:
    """Whether a key is left out of what stages read: it is younger than files that were made without it."""
    return value is None


WHOLE = "whole"  # context of reading back a stage: every key is written, also those that nothing reads


class Strict(BaseModel):
    results: ClassVar[Results] = Results(tables=())  # of an experiment
    renamed: ClassVar[Mapping[str, str]] = {}  # former names of keys, each with the name of today

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    _base: str | None = PrivateAttr(None)

    @property
    def base(self) -> str | None:
        """The experiment ``method/name`` whose variant this is, and whose network it uses; None: its own."""
        return self._base

    def sharing(self, base: str | None) -> Self:
        """This experiment as a variant of another."""
        self._base = base
        return self

    @classmethod
    def named(cls, name: str) -> Json:
        """Values of an experiment that follow from its name, where none are written."""
        return {}

    def asks(self) -> list[Ask]:
        """Requests to the data, such as a number of images, that only the data can confirm."""
        return []

    def files(self, folder: str, defined: Any) -> dict[str, Json]:
        """The files that each stage reads besides its settings: stage -> input -> file or files.

        Args:
            folder: folder of the experiment's results.
            defined: what the parameters define, a `config.defined.Defined`.
        """
        return {}

    @classmethod
    def of(cls, *parts: BaseModel, **more: Any) -> Self:
        """Made of the fields that it shares with the parts, and of ``more``."""
        names = cls.model_fields.keys()
        shared = {name: getattr(p, name) for p in parts for name in names & type(p).model_fields.keys()}
        return cls.model_validate({**shared, **more}, context=WHOLE)

    def as_json(self) -> Json:
        """The settings as plain JSON values."""
        return self.model_dump(mode="json")

    def unread(self, info: ValidationInfo, keys: set[str], why: str) -> None:
        """Raise ValueError when a person wrote one of the keys here, where nothing reads it."""
        written = set() if info.context == WHOLE else keys & self.model_fields_set
        if written:
            raise ValueError(f"{min(written)} is not read: {why}")


class OfMethod(Strict):
    """A stage whose configuration file names its method."""

    method: str


class OnDataset(Strict):
    dataset: Reference = Field(
        description="name of the dataset to train on, and to restore unless sample.dataset is given"
    )


def optional(key: str, section: str, name: str | None) -> dict[str, tuple[str, str]]:
    """Entry of `references` for a name that may be null."""
    return {} if name is None else {key: (section, name)}


class Repeated(Strict):
    """What draws at random, and may be repeated with other seeds."""

    seeds: Annotated[tuple[Seed, ...], Distinct, Field(min_length=1, max_length=100)] | None = Field(
        None,
        description="seeds in place of seed: the experiment has the first, and for each of the others there"
        " is an experiment NAME.seed-N; the table of all results has one row for all of them",
        exclude_if=absent,
    )


class Varied(Repeated):
    """How an experiment samples, and other ways to sample with the same network."""

    variants: Annotated[dict[Name, Json], Apart] | None = Field(
        None,
        description="name -> keys of sample that differ: each an experiment NAME.VARIANT of its own, of the"
        " same network",
        exclude_if=absent,
    )


class Pairs(Strict):
    """An experiment that may stand for several."""

    pairs: Annotated[dict[Written, int | Written], Field(min_length=1)] | None = Field(
        None,
        description="source class -> target class, in place of source and target: each an experiment"
        " NAME.SOURCE-TARGET of its own, all translated in one job",
        exclude_if=absent,
    )
