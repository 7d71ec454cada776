"""Sources of data that need no download: digits, photographs of installed packages, drawn points, colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bridgepipe.config.values import Apart, Distinct, FilePath, Label, Seed, Size, Strict, Variant, Written
from bridgepipe.photographs import samples


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
