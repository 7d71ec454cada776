"""Sections of params.yaml about data: sources of images and points, feature extractors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from bridgepipe.config.values import (
    Apart,
    Distinct,
    FilePath,
    Items,
    Label,
    Seed,
    Size,
    Strict,
    Variant,
    Written,
)
from bridgepipe.photographs import samples


def _two(size: Any) -> Any:
    if isinstance(size, list) and len(size) != 2:
        raise ValueError("a size is one number, or two as [height, width]")
    return tuple(size) if isinstance(size, list) else size


Pixels = Size | Annotated[tuple[Size, Size], BeforeValidator(_two)]


class Digits(Strict):
    """scikit-learn's 1,797 handwritten digits, embedded."""

    source: Literal["digits"]
    size: Size = Field(32, description="side of the images in pixels")
    seed: Seed = Field(0, description="seed of the split")


class DigitClasses(Strict):
    """A subset of the classes of the digits, with the same splits, as a dataset of its own."""

    source: Literal["digit-classes"]
    classes: Annotated[tuple[Annotated[int, Field(ge=0, le=9)], ...], Distinct] = Field(
        min_length=1, description="digits to include"
    )
    size: Size = Field(32, description="side of the images in pixels")
    seed: Seed = Field(0, description="seed of the split")


class Patches(Strict):
    """Square patches of larger pictures, at several scales."""

    size: Annotated[int, Field(ge=8, le=1024)] = Field(64, description="side of a patch in pixels")
    stride: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="pixels between patches; null: half the size"
    )
    scales: Annotated[tuple[Annotated[float, Field(ge=0.01, le=1)], ...], Distinct] = Field(
        (1.0,),
        min_length=1,
        description="factors by which the pictures are downscaled before patches are cut",
    )


SPLITS = ("train", "val", "test")


class SamplePhotos(Strict):
    """Patches of photographs inside installed packages; photo-edges pairs them with their edges."""

    source: Literal["sample-photos", "photo-edges"]
    patches: Patches = Patches()
    classes: Annotated[dict[Label, Annotated[tuple[Written, ...], Distinct]], Apart] | None = Field(
        None, min_length=1, description="names of the photographs of each class; null: all, by subject"
    )

    @model_validator(mode="after")
    def _possible(self) -> SamplePhotos:
        size, largest = self.patches.size, max(self.patches.scales)
        if size > 256 * largest:
            raise ValueError(
                f"patches.size must be at most {256 * largest:g}, the smallest photograph's at the largest of"
                f" patches.scales, is {size}"
            )
        self._check_classes()
        return self

    def _check_classes(self) -> None:
        """Raise ValueError when classes name no photograph, one twice, or leave a split empty."""
        named = [name for of_class in self.by_class.values() for name in of_class]
        split_of = {photo.name: photo.split for photo in samples.photographs()}
        if unknown := [name for name in named if name not in split_of]:
            raise ValueError(f"classes: no photograph '{unknown[0]}'; choose from {', '.join(split_of)}")
        if twice := [name for i, name in enumerate(named) if name in named[:i]]:
            raise ValueError(f"classes: {twice[0]} is in two of them")
        wanted = {"classes": named, **{f"class {label}": of for label, of in self.by_class.items()}}
        for what, of_it in wanted.items():
            for split in SPLITS if what == "classes" else ("train",):
                if split not in {split_of[name] for name in of_it}:
                    some = ", ".join(name for name, other in split_of.items() if other == split)
                    raise ValueError(f"{what}: no photograph of {split}: {some}")

    @property
    def by_class(self) -> Mapping[str, Sequence[str]]:
        """Names of the photographs of each class."""
        return samples.by_subject() if self.classes is None else self.classes


Crop = Literal["adm", "torchvision", "stretch"]


class FromFiles(Strict):
    """How the image files of a source become the images of a store."""

    crop: Crop = Field(
        "adm", description="resizing: ADM's downscaling and centre crop, torchvision's, or stretching"
    )
    codec: Literal["raw", "png", "source"] = Field(
        "raw",
        description="how stores hold the same images: raw reads fastest, png takes less room, source keeps"
        " the files of images that are neither resized nor cropped, with their metadata, and others as png",
    )
    skip_bad: bool = Field(False, description="skip unreadable images instead of stopping")


class Folder(FromFiles):
    """A folder of images, one sub-folder per class or none."""

    source: Literal["folder"]
    path: FilePath = Field(description="the folder")
    size: Pixels = Field(256, description="side in pixels, or [height, width]")
    patches: Patches | None = Field(
        None, description="cut patches from the whole images, in place of size and crop"
    )
    attributes: FilePath | None = Field(
        None, description="table of attributes, CSV or JSONL; null: metadata.csv beside the images, if any"
    )
    seed: Seed = Field(0, description="seed of the split")

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> Folder:
        if self.patches is not None:
            self.unread(info, {"size", "crop"}, "patches are cut from the images as they are")
            self.unread(info, {"attributes"}, "an attribute is one of a whole image, not of its patches")
        return self


class Parquet(FromFiles):
    """Image datasets of the Hugging Face hub: their parquet files, in a folder of this machine."""

    source: Literal["hf"]
    path: FilePath = Field(description="folder of the parquet files, or one file")
    size: Pixels = Field(256, description="pixels, or [height, width]")
    image: Written | None = Field(None, description="column of the images; null: the only one")
    label: Written | None = Field(None, description="column of the classes; null: the only one, if any")
    seed: Seed = Field(0, description="seed of the split")


class WebDataset(FromFiles):
    """Tar shards of webdataset: KEY.jpg with KEY.cls and KEY.json."""

    source: Literal["webdataset"]
    path: FilePath = Field(description="folder of the shards, or one file")
    size: Pixels = Field(256, description="pixels, or [height, width]")
    image: Written | None = Field(None, description="end of images' names, such as left.png; null: any")
    seed: Seed = Field(0, description="seed of the split")


class Pairs(FromFiles):
    """Two folders A/ and B/ matched by name, or images side by side; B (right) is restored from A (left)."""

    source: Literal["pairs"]
    path: FilePath = Field(description="the folder that holds both")
    layout: Literal["folders", "side-by-side"] = Field(
        "folders", description="two folders with matching file names, or both images in one file"
    )
    reverse: bool = Field(False, description="restore A from B")
    size: Pixels = Field(256, description="side in pixels, or [height, width]")
    seed: Seed = Field(0, description="seed of the split")


class ImageNet(FromFiles):
    """ImageNet folders train/ and val/, or I2SB's LMDB files of them."""

    source: Literal["imagenet", "i2sb-lmdb"]
    path: FilePath = Field(description="folder of train/ and val/, or of I2SB's LMDB files")
    size: Size = Field(256, description="side of the images in pixels")
    crop: Crop = Field(
        "torchvision", description="resizing, as for a folder; torchvision: as I2SB, adm: as DDIB"
    )
    classes: Annotated[tuple[Label, ...], Distinct] | None = Field(
        None, min_length=1, description="classes to prepare, by name or number; null: all"
    )
    subset: FilePath | None = Field(
        None, description="file that lists validation images by name, one per line"
    )
    splits: Annotated[tuple[Literal["train", "val"], ...], Distinct] = Field(
        ("train", "val"), min_length=1, description="splits to prepare"
    )

    @model_validator(mode="after")
    def _possible(self) -> ImageNet:
        if self.subset is not None and "val" not in self.splits:
            raise ValueError("subset chooses validation images, and splits has no val")
        return self


class Cifar10(Strict):
    """CIFAR-10 from its published archive, or from the folder in it."""

    source: Literal["cifar10"]
    path: FilePath = Field(
        "data/raw/cifar-10-python.tar.gz",
        description="archive or folder; the default is downloaded when missing",
    )
    size: Size = Field(32, description="side of the images in pixels")


class CelebAHQ(FromFiles):
    """CelebA-HQ with 40 attributes: CelebAMask-HQ's archive, or a folder of images and the annotation."""

    source: Literal["celebahq"]
    path: FilePath = Field(
        "data/raw/CelebAMask-HQ.zip", description="archive or folder; the default is downloaded when missing"
    )
    size: Size = Field(256, description="side of the images in pixels")
    seed: Seed = Field(0, description="seed of the split")


class AFHQ(FromFiles):
    """Animal faces: the published archive, or folders train/{cat,dog,wild} and val/ (v2: test/)."""

    source: Literal["afhq"]
    path: FilePath = Field(
        "data/raw/afhq.zip", description="archive or folder; the default is downloaded when missing"
    )
    domain: Literal["cat", "dog", "wild"] | None = Field(
        None, description="one domain; null: all three, with labels"
    )
    size: Size = Field(256, description="side of the images in pixels")


class LSUN(FromFiles):
    """A scene category of LSUN: a folder with its unzipped LMDB folders."""

    source: Literal["lsun"]
    path: FilePath = Field(description="folder that holds CATEGORY_train_lmdb and CATEGORY_val_lmdb")
    category: Literal[
        "bedroom",
        "bridge",
        "church_outdoor",
        "classroom",
        "conference_room",
        "dining_room",
        "kitchen",
        "living_room",
        "restaurant",
        "tower",
    ] = Field(description="category of scenes")
    size: Size = Field(256, description="side of the images in pixels")
    limit: Items | None = Field(
        None, description="number of images to read from the start of each split; null: all"
    )


class PointSet(Strict):
    """Points in the plane, drawn from one of six densities."""

    source: Literal["points"]
    domain: Literal[
        "moons", "checkerboard", "concentric_rings", "concentric_squares", "olympic_rings", "olympic_squares"
    ] = Field(description="name of the density")
    count: int = Field(100_000, ge=12, le=100_000_000, description="number of points per split")
    variant: Variant = Field(
        "published", description="published: as DDIB draws them; exact: in proportion, each axis normalised"
    )
    seed: Seed = Field(0, description="seed of the points")


class ColorCloud(Strict):
    """The colours of a photograph as points in a cube."""

    source: Literal["colors"]
    image: FilePath = Field(description="china, flower (embedded) or a file")
    space: Literal["rgb", "lab"] = Field("rgb", description="coordinates of the colours")
    size: int | None = Field(None, ge=2, le=65536, description="longer side in pixels; null: unchanged")
    seed: Seed = Field(0, description="seed of the split")


SOURCES: dict[str, type[Strict]] = {
    "digits": Digits,
    "digit-classes": DigitClasses,
    "sample-photos": SamplePhotos,
    "photo-edges": SamplePhotos,
    "folder": Folder,
    "hf": Parquet,
    "webdataset": WebDataset,
    "pairs": Pairs,
    "imagenet": ImageNet,
    "i2sb-lmdb": ImageNet,
    "cifar10": Cifar10,
    "celebahq": CelebAHQ,
    "afhq": AFHQ,
    "lsun": LSUN,
    "points": PointSet,
    "colors": ColorCloud,
}
Dataset = Annotated[
    Digits
    | DigitClasses
    | SamplePhotos
    | Folder
    | Parquet
    | WebDataset
    | Pairs
    | ImageNet
    | Cifar10
    | CelebAHQ
    | AFHQ
    | LSUN
    | PointSet
    | ColorCloud,
    Field(discriminator="source"),
]
