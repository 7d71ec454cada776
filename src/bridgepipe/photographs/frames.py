"""How many frames a file has, what they are, and which formats hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

# What several frames of a format are; of the others they are frames of an animation.
KINDS = {"TIFF": "pages", "DCX": "pages", "IM": "pages", "SPIDER": "pages"}
KINDS |= {"MPO": "pictures", "PSD": "layers"}
HOLD = {"frames": ("GIF", "PNG", "WEBP", "AVIF", "TIFF"), "pages": ("TIFF",)}  # formats that hold such frames


@dataclass(frozen=True)
class Frames:
    """How many frames a file has, and what they are: of `HOLD`, pictures or layers."""

    count: int = 1
    kind: str = "frames"

    @classmethod
    def of(cls, image: Image.Image) -> Frames:
        """Those of a file that is open."""
        return cls(getattr(image, "n_frames", 1), KINDS.get(image.format or "", "frames"))

    @property
    def restorable(self) -> int:
        """How many of them are restored where the format of the result holds all."""
        return self.count if self.kind in HOLD else 1

    def held(self, format: str) -> int:
        """How many of them a format holds."""
        return self.count if format in HOLD.get(self.kind, ()) else 1

    def note(self, format: str) -> str | None:
        """What a person should know of what becomes of them; None: nothing."""
        if self.count == 1:
            return None
        if self.kind == "layers":
            return f"{self.count} layers, restored as the one picture that they make"
        if self.held(format) == 1:
            holds_all = {"frames": "; --format png holds all", "pages": "; --format tiff holds all"}
            what = f"{self.count} {self.kind}, of which {format} holds one: the first is restored"
            return what + holds_all.get(self.kind, "")
        if self.kind == "frames" and format == "TIFF":
            return f"{self.count} frames become pages: a TIFF file has no durations"
        return None


ALONE = Frames()
