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


def test_one_of_matches_exactly_the_names() -> None:
    assert [name for name in ("a.b", "a", "axb", "c") if re.fullmatch(one_of({"a.b", "c"}), name)] == [
        "a.b",
        "c",
    ]
    assert not re.fullmatch(one_of([]), "")
