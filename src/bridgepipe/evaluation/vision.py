"""The one door to torchvision; everything that needs it imports it from here.

torchvision's prebuilt wheels for GPUs cannot load their compiled operators next
to a CPU-only torch, and then even the import fails, because it attaches shape
rules to two of them. Defining the schemas of these two is enough: no network or
image transform of this project calls them.
"""

from __future__ import annotations

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A library takes its definitions with it when it is collected, so it lives as long as this module.
_libraries: list[torch.library.Library] = []


def _define_missing_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _libraries.append(library)


try:
    import torchvision
except RuntimeError as e:
    if "torchvision::nms" not in str(e):
        raise
    _define_missing_operators()
    import torchvision

__all__ = ["torchvision"]
