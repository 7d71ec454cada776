"""A part of the work that several jobs share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One of several parts of the work, each of which is a job of its own."""

    part: int = 0
    parts: int = 1

    def of(self, count: int) -> range:
        """Numbers of the items of this part, of ``count``."""
        return range(count * self.part // self.parts, count * (self.part + 1) // self.parts)
