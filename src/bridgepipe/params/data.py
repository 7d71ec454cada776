"""Sections of params.yaml about data: sources of images and points, feature extractors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bridgepipe.params.common import Size, Strict


class Digits(Strict):
    """scikit-learn's 1,797 handwritten digits, embedded."""

    source: Literal["digits"]
    size: Size = 32
    seed: int = Field(0, ge=0, description="of the split")


class Photos(Strict):
    """Patches of scikit-learn's two sample photographs, embedded; photo-edges pairs them with their edges."""

    source: Literal["photos", "photo-edges"]
    size: Annotated[int, Field(ge=8, le=192)] = 64


class Folder(Strict):
    """A folder of images, one sub-folder per class or none."""

    source: Literal["folder"]
    path: str
    size: Size | tuple[Size, Size] = Field(256, description="pixels, or [height, width]")
    crop: Literal["adm", "torchvision", "stretch"] = "adm"
    seed: int = Field(0, ge=0, description="of the split")
    skip_bad: bool = Field(False, description="skip unreadable images instead of stopping")


class Pairs(Strict):
    """Two folders A/ and B/ matched by name, or images side by side; B (right) is restored from A (left)."""

    source: Literal["pairs"]
    path: str
    layout: Literal["folders", "side-by-side"] = "folders"
    reverse: bool = False
    size: Size | tuple[Size, Size] = Field(256, description="pixels, or [height, width]")
    crop: Literal["adm", "torchvision", "stretch"] = "adm"
    seed: int = Field(0, ge=0, description="of the split")
    skip_bad: bool = Field(False, description="skip unreadable pairs instead of stopping")


class ImageNet(Strict):
    """ImageNet folders train/ and val/, or I2SB's LMDB files of them."""

    source: Literal["imagenet", "i2sb-lmdb"]
    path: str
    size: Size = 256
    subset: str | None = Field(None, description="file with names of validation images, one a line")
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    skip_bad: bool = Field(False, description="skip unreadable images instead of stopping")


SOURCES: dict[str, type[Strict]] = {
    "digits": Digits,
    "photos": Photos,
    "photo-edges": Photos,
    "folder": Folder,
    "pairs": Pairs,
    "imagenet": ImageNet,
    "i2sb-lmdb": ImageNet,
}
Dataset = Annotated[Digits | Photos | Folder | Pairs | ImageNet, Field(discriminator="source")]


def splits_of(dataset: Strict) -> tuple[str, ...]:
    """Splits that a dataset comes in."""
    return dataset.splits if isinstance(dataset, ImageNet) else ("train", "val", "test")


def is_paired(dataset: Strict) -> bool:
    """Whether every image has a source image that it is restored from."""
    return isinstance(dataset, Pairs) or (isinstance(dataset, Photos) and dataset.source == "photo-edges")


def stores_of(dataset: Strict) -> tuple[str, ...]:
    """Stores that a dataset is prepared as: one for each split, and one for each split's sources."""
    splits = splits_of(dataset)
    return (*splits, *(f"{split}-source" for split in splits)) if is_paired(dataset) else splits


def paths_of(dataset: Strict) -> list[str]:
    """Files and folders that a dataset is made from; [] when it is embedded."""
    values = dataset.model_dump()
    return [values[key] for key in ("path", "subset") if values.get(key) is not None]


class Extractor(Strict):
    """What turns images into features and classes for the metrics."""

    kind: Literal["classifier", "inception", "resnet50"]
    dataset: str | None = Field(None, description="data that a classifier is trained on")
    steps: int = Field(400, ge=1)
    batch_size: int = Field(64, ge=1)
    lr: float = Field(5e-3, gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _dataset_where_needed(self) -> Extractor:
        if (self.kind == "classifier") != (self.dataset is not None):
            raise ValueError("dataset is needed by kind: classifier, and by no other kind")
        return self
