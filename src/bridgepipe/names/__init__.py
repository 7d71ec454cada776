"""Names that params.yaml and the code share: neither of them imports the other."""

from __future__ import annotations

from typing import Any, Literal

# An object of JSON or YAML: names to numbers, texts, lists and objects.
Json = dict[str, Any]
# tf32: convolutions of a GPU round their inputs to 10 bits, PyTorch's own way; elsewhere the same as fp32
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
# where the calls of a Gaussian process lie, see samplers.steps
Spacing = Literal["uniform", "leading", "trailing", "quad", "quad_full", "log_snr"]
# how training draws times, see processes.losses
Drawn = Literal["uniform", "quadratic", "loss_aware"]

# How pixels become whole numbers, see pixels.to_uint8: part of the protocol of what reads images.
QUANTISATION = {
    "published": "uint8 by truncation of (x + 1) * 127.5",
    "exact": "uint8 by rounding of (x + 1) * 127.5",
}

# Classes of the datasets whose publisher numbers them, in the order of the numbers.
DIGITS = tuple("0123456789")
ANIMALS = ("cat", "dog", "wild")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGENET_CLASSES = 1000

# What is known of every digit: of its label, of its pixels, as its store has it.
DIGIT_LABELS = ("loop", "even")
DIGIT_MEASURES = ("ink", "slant")
DIGIT_STORED = ("even", "has_loop", "ink", "slant")
DIGITS_WITH = {"loop": tuple("0689"), "has_loop": tuple("0689"), "even": tuple("02468")}
# What is measured on the pixels of all other images.
PHOTO_MEASURES = ("brightness", "warmth")
# Least and largest value of what is measured; of digits on their 8x8 images.
RANGES = {
    "ink": (0.1806, 0.4229),
    "slant": (-0.3505, 0.3157),
    "brightness": (0.0, 1.0),
    "warmth": (-1.0, 1.0),
}
# The columns of CelebAMask-HQ-attribute-anno.txt.
_CELEBA = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair "
    "Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair "
    "Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face "
    "Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair "
    "Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young"
)
CELEBA_ATTRIBUTES = tuple(_CELEBA.split())

# Images of every digit in its splits, whatever the seed: 1,258, 180 and 359.
DIGIT_COUNTS = {
    "train": (124, 128, 124, 128, 127, 127, 127, 125, 122, 126),
    "val": (18,) * 10,
    "test": (36, 36, 35, 37, 36, 37, 36, 36, 34, 36),
}
# folders around all images of a dataset or split, which are no classes
WRAPPERS = frozenset({"images", "raw_images"})
# source, split -> images as published; an own folder or a part of it may have fewer
PUBLISHED_COUNTS = {
    ("cifar10", "train"): 50_000,
    ("cifar10", "test"): 10_000,
    ("imagenet", "train"): 1_281_167,
    ("imagenet", "val"): 50_000,
    ("i2sb-lmdb", "train"): 1_281_167,
    ("i2sb-lmdb", "val"): 50_000,
    ("celebahq", "train"): 21_000,
    ("celebahq", "val"): 3_000,
    ("celebahq", "test"): 6_000,
    ("afhq", "train"): 14_630,
    ("afhq", "val"): 1_500,
}
# the same of each class, or of the largest
CLASS_COUNTS = {
    ("cifar10", "train"): 5_000,
    ("cifar10", "test"): 1_000,
    ("imagenet", "train"): 1_300,
    ("imagenet", "val"): 50,
    ("i2sb-lmdb", "train"): 1_300,
    ("i2sb-lmdb", "val"): 50,
    ("afhq", "train"): 5_153,
    ("afhq", "val"): 500,
}
