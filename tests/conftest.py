from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# folders whose tests share what is made once: each runs in one process with `pytest -n 2 --dist loadgroup`
ENGINES = ("dvc", "faults", "browser", "cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in ENGINES:
            item.add_marker(pytest.mark.xdist_group(folder))


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """A process has one precision for life; tests need several."""
    yield
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
