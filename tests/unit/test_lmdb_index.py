"""The digest of an index that is still written: the same whoever reads it, another after every change."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridgepipe.data.lmdbfile import open_writable, transactions
from bridgepipe.data.lmdbindex import Index

COMMITS, MAP_BYTES = 40, 1 << 28


def commit(file: Path, number: int, bytes_each: int = 30) -> None:
    """A transaction of 200 items, by keys in order; of a few bytes each, or of pages of their own."""
    with open_writable(file, MAP_BYTES) as env, env.begin(write=True) as txn:
        for item in range(200 * number, 200 * (number + 1)):
            txn.put(b"%012d" % item, bytes([number]) * bytes_each, append=True)


def items(file: Path) -> int:
    with open_writable(file, 0) as env:
        return env.stat()["entries"]


@pytest.mark.parametrize(("bytes_each", "levels"), [(300, 3), (9000, 2)])
def test_what_is_carried_on_from_commit_to_commit_is_what_a_new_look_finds(
    tmp_path: Path, bytes_each: int, levels: int
) -> None:
    file, index, seen = tmp_path / "a", Index(tmp_path / "a"), set()
    for number in range(COMMITS):
        commit(file, number, bytes_each)
        carried = index.newest()
        assert carried == Index(file).newest()
        seen.add(carried)
    assert len(seen) == COMMITS
    with open_writable(file, 0) as env:
        assert env.stat()["depth"] == levels


def test_a_change_of_any_page_of_the_index_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for number in range(3):
        commit(file, number)
    newest, data = Index(file).newest(), file.read_bytes()
    live = 0
    for at in range(24, len(data), 4096):  # in the head of every page
        changed = bytearray(data)
        changed[at + 12] ^= 4
        file.write_bytes(changed)
        try:
            Index(file).go_back_to(*newest)
        except ValueError:
            live += 1
    # all but the meta page before, and pages that are free
    assert live > 0.6 * len(data) / 4096
    file.write_bytes(data)
    Index(file).go_back_to(*newest)


def test_a_transaction_that_was_not_noted_is_undone(tmp_path: Path) -> None:
    file, index = tmp_path / "a", Index(tmp_path / "a")
    commit(file, 0)
    commit(file, 1)
    noted = index.newest()
    commit(file, 2)
    assert items(file) == 600
    after = file.read_bytes()
    Index(file).go_back_to(*noted)
    assert max(transactions(file)) == noted[0]
    assert items(file) == 400
    commit(file, 2)
    assert file.read_bytes() == after


def test_an_older_transaction_cannot_be_gone_back_to(tmp_path: Path) -> None:
    file = tmp_path / "a"
    commit(file, 0)
    noted = Index(file).newest()
    commit(file, 1)
    commit(file, 2)
    with pytest.raises(ValueError, match="differs from its digest"):
        Index(file).go_back_to(*noted)


def test_an_index_that_leads_in_circles_ends(tmp_path: Path) -> None:
    """A page of a branch in which all places lead to itself."""
    file = tmp_path / "a"
    for number in range(3):
        commit(file, number)
    data = bytearray(file.read_bytes())
    root = int.from_bytes(data[4096 * (3 % 2) + 128 :][:8], "little")
    page = memoryview(data)[4096 * root : 4096 * (root + 1)]
    assert page[10] & 1
    for place in range(16, int.from_bytes(page[12:14], "little"), 2):
        node = int.from_bytes(page[place : place + 2], "little")
        page[node : node + 6] = root.to_bytes(6, "little")
    file.write_bytes(data)
    with pytest.raises(ValueError, match="circles"):
        Index(file).newest()
