"""What rules ask of their wildcards."""

from __future__ import annotations

import re

import pytest
from snakemake.iocontainers import Wildcards

from bridgepipe.workflow.wildcards import lookup, one_of

FILES = {"fid": {"ddib": {"classes": {"3-8": {"images": "a.lmdb"}}}, "i2sb": {"x": {}}}}


def test_lookup_follows_the_keys_of_a_path_and_of_wildcards() -> None:
    assert lookup("fid/i2sb/x", within=FILES) == {}
    found = lookup("ddib/classes/{experiment}/images", within=FILES["fid"])
    assert found(Wildcards(fromdict={"experiment": "3-8"})) == "a.lmdb"
    whole = lookup("{name}", within=FILES["fid"])
    assert whole(Wildcards(fromdict={"name": "ddib/classes/3-8"})) == {"images": "a.lmdb"}


def test_lookup_of_what_is_not_there() -> None:
    with pytest.raises(LookupError, match="nothing is known of fid/spd/x"):
        lookup("fid/spd/x", within=FILES)
    with pytest.raises(LookupError, match="nothing is known of i2sb/y"):
        lookup("i2sb/{experiment}", within=FILES["fid"])(Wildcards(fromdict={"experiment": "y"}))


@pytest.mark.parametrize(
    "names",
    [
        {"a.b", "c"},
        {"jpeg-5", "jpeg-5.nfe-15", "jpeg-50", "jpeg-10", "blur"},  # one name is the beginning of another
        {"i2sb/jpeg-5", "i2sb/blur", "ddib/classes/3-8", "ddib/points/a-b"},
        {f"grown-{number}" for number in range(40)},
    ],
)
def test_one_of_matches_exactly_the_names(names: set[str]) -> None:
    others = {name[:-1] for name in names} | {name + "0" for name in names} | {"axb", "", "grown-", "jpeg"}
    assert {name for name in names | others if re.fullmatch(one_of(names), name)} == names
    pattern = re.compile(f"results/(?P<name>{one_of(names)})/fid.json")
    assert {pattern.fullmatch(f"results/{name}/fid.json")["name"] for name in names} == names


def test_one_of_no_names_matches_nothing() -> None:
    assert not re.fullmatch(one_of([]), "")


def test_the_pattern_of_names_that_begin_alike_grows_little() -> None:
    names = [f"a-family-of-experiments-{number}" for number in range(1000)]
    assert len(one_of(names)) < 6 * len(names)
