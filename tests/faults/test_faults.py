"""A short campaign of every kind; `make faults` is the long one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from campaign import Campaign


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(tmp_path_factory.mktemp("faults"), seed=0)


@pytest.mark.parametrize(("victim", "kills"), [("job", 3), ("snakemake", 3), ("dvc", 2)])
def test_kills_lose_nothing(campaign: Campaign, victim: str, kills: int) -> None:
    campaign.kills(victim, kills)
    assert campaign.tally.injected[victim] >= 1
    assert campaign.tally.lost == []


@pytest.mark.parametrize("kind", ["flip", "truncate"])
def test_damage_is_found_and_made_good(campaign: Campaign, kind: str) -> None:
    campaign.damage(kind, 4)
    assert campaign.tally.noticed[kind] == campaign.tally.injected[kind] == 4
    assert campaign.tally.lost == []


def test_a_full_disk_loses_nothing(campaign: Campaign) -> None:
    campaign.full_disk(2)
    assert campaign.tally.noticed["full"] == 2
    assert campaign.tally.lost == []
