"""A small convolutional network that names the class of an image."""

from __future__ import annotations

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Three convolutions, each followed by a halving, the mean over all pixels, one linear layer.

    Args:
        classes: number of classes.
        width: number of features.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _block(3, width // 4), _block(width // 4, width // 2), _block(width // 2, width)
        )
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in [-1, 1], sides of at least 8, to ``[B, width]``."""
        return self.blocks(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def _block(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2))
