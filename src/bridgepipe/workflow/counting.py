"""How many images a person's data have: as counted when they were prepared, else what lies in the folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.config import asked
from bridgepipe.config.data import Folder, Pairs
from bridgepipe.errors import UserError

LOOKED_AT = 50  # pictures whose patches are counted; the others have as many on average


class Counted:
    """Counts of one dataset, read when they are first asked for."""

    def __init__(self, name: str, dataset: Any) -> None:
        self._name, self._dataset = name, dataset

    def split(self, name: str) -> int | None:
        """Images, or patches of them, in a split; None where nothing tells."""
        return self._splits.get(name)

    @cached_property
    def _splits(self) -> Mapping[str, int]:
        prepared = Path(f"data/prepared/{self._name}/{asked.COUNTS}")
        try:
            if prepared.is_file():
                return artifacts.read_json(prepared)["items"]
            return self._in_folder() if isinstance(self._dataset, Folder | Pairs) else {}
        except UserError:  # the job that prepares the data says what is wrong with them
            return {}

    def _in_folder(self) -> Mapping[str, int]:
        from bridgepipe.datasets.folder import find_splits
        from bridgepipe.datasets.items import FRACTIONS

        root = Path(self._dataset.path)
        if not root.is_dir():
            return {}
        pictures = self._pictures(root)
        splits, _ = find_splits(pictures, lambda _: (), FRACTIONS, self._dataset.seed)
        each = self._patches([pictures.root / name for name in list(pictures.sizes)[:LOOKED_AT]])
        return {name: round(len(items) * each) for name, items in splits.items()}

    def _pictures(self, root: Path) -> Any:
        """Pictures that become items; of pairs those of one side."""
        from bridgepipe.datasets import folder, pairs

        if isinstance(self._dataset, Pairs) and self._dataset.layout == "folders":
            return pairs.matched(root)[0]
        return folder.find(root)

    def _patches(self, pictures: list[Path]) -> float:
        """Patches of a picture; 1 where it is taken whole."""
        from bridgepipe.datasets.images import size_of
        from bridgepipe.photographs.samples import Grid

        if getattr(self._dataset, "patches", None) is None:
            return 1
        grid = Grid(**self._dataset.patches.model_dump())
        sizes = filter(None, map(size_of, pictures))
        counts = [grid.count(height, width) for width, height in sizes]
        return sum(counts) / max(len(counts), 1)
