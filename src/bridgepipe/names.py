"""Names that params.yaml and the code share: neither of them imports the other."""

from __future__ import annotations

from typing import Literal

# tf32: convolutions of a GPU round their inputs to 10 bits, PyTorch's own way; elsewhere the same as fp32
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
# of the probability-flow ODE, see samplers.solvers
Solver = Literal["ddim", "heun", "multistep2", "multistep3", "unipc3", "obelm"]
# of new images: also the Markov chain
Sampler = Literal["ancestral", "ddim", "heun", "multistep2", "multistep3", "unipc3", "obelm"]
# where the calls of a Gaussian process lie, see samplers.steps
Spacing = Literal["uniform", "leading", "trailing", "quad", "log_snr"]
# how training draws times, see processes.losses
Times = Literal["uniform", "quadratic", "loss_aware"]

# Classes of the datasets whose publisher numbers them, in the order of the numbers.
DIGITS = tuple("0123456789")
PHOTOS = ("china", "flower")
ANIMALS = ("cat", "dog", "wild")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGENET_CLASSES = 1000

# What is known of every digit: of its label, of its pixels, as its store has it.
DIGIT_LABELS = ("loop", "even")
DIGIT_MEASURES = ("ink", "slant")
DIGIT_STORED = ("even", "has_loop", "ink", "slant")
# The columns of CelebAMask-HQ-attribute-anno.txt.
_CELEBA = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair "
    "Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair "
    "Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face "
    "Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair "
    "Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young"
)
CELEBA_ATTRIBUTES = tuple(_CELEBA.split())
