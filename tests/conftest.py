from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

# folders whose tests share what is made once
SHARED = ("tests/dvc/", "tests/faults/", "tests/browser/", "tests/cluster/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `pytest -n 2` the tests of a file stay in one process, and those of a shared folder."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file.rpartition("/")[0] if file.startswith(SHARED) else file

    return Together(config, log)


@pytest.fixture(autouse=True)
def threads_of_the_process() -> Iterator[None]:
    """Verbs set how many threads torch has in a process, which moves the last bit of trained weights."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """A process has one precision for life; tests need several."""
    yield
    if state := sys.modules.get("accelerate.state"):  # its import takes seconds
        state.AcceleratorState._reset_state(reset_partial_state=True)
