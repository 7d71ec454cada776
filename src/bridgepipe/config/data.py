"""Sources of data in params.yaml, of which those that read files of a person or of a publication are here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from bridgepipe.config.builtin import ColorCloud, DigitClasses, Digits, Patches, PointSet, SamplePhotos
from bridgepipe.config.values import (
    Distinct,
    FilePath,
    Items,
    Label,
    Seed,
    Size,
    Strict,
    Written,
)
from bridgepipe.names import origins


def _two(size: Any) -> Any:
    if isinstance(size, list) and len(size) != 2:
        raise ValueError("a size is one number, or two as [height, width]")
    return tuple(size) if isinstance(size, list) else size


def _of_hub(path: str) -> str:
    if path.startswith(origins.HUB):
        repository = origins.repository_of(path)
        if repository is None or not repository["datasets"]:
            raise ValueError(f"{path} is no dataset of a hub: write hf:datasets/OWNER/NAME")
    return path


Pixels = Size | Annotated[tuple[Size, Size], BeforeValidator(_two)]


Crop = Literal["adm", "torchvision", "stretch"]
Decode = Annotated[
    Literal["exact", "draft"],
    Field(
        description="exact: files are decoded whole; draft: JPEG files as small as twice the size"
        " allows, which is faster and changes pixels a little"
    ),
]


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
    decode: Decode = "exact"
    patches: Patches | None = Field(
        None, description="cut patches from the whole images, in place of size and crop"
    )
    attributes: FilePath | None = Field(
        None,
        description="table of attributes, CSV, JSONL or CelebA's text; null: metadata.csv beside the images,"
        " if any",
    )
    seed: Seed = Field(0, description="seed of the split")

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> Folder:
        if self.patches is not None:
            self.unread(info, {"size", "crop", "decode"}, "patches are cut from the images as they are")
            self.unread(info, {"attributes"}, "an attribute is one of a whole image, not of its patches")
        return self


class Parquet(FromFiles):
    """Image datasets of a Hugging Face hub: their parquet files, fetched or in a folder of this machine."""

    source: Literal["hf"]
    path: Annotated[FilePath, AfterValidator(_of_hub)] = Field(
        description="hf:datasets/OWNER/NAME of a hub, the folder of parquet files, or one file"
    )
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
    decode: Decode = "exact"
    classes: Annotated[tuple[Annotated[int, Field(ge=0, le=999)] | Label, ...], Distinct] | None = Field(
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
    """CelebA-HQ with 40 attributes: CelebAMask-HQ's archive, or a folder of images and the annotation.

    Splits are drawn, unless the images lie in train/, val/ and test/.
    """

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
