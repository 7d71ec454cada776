"""Pairs of classes: one experiment that stands for several, which one job translates."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridgepipe.config import Resolved, read_yaml, schema
from bridgepipe.config.outcomes import Outcomes
from bridgepipe.errors import UserError
from bridgepipe.runtime.duration import Durations
from bridgepipe.workflow.opening import check_targets

PARAMS = read_yaml(Path(__file__).parents[2] / "params.yaml")
GROUP = "ddib/classes/some"
BOTH = {"3": 8, "8": 3}


def resolved(pairs: Any, **more: Any) -> Resolved:
    values = copy.deepcopy(PARAMS)
    values["experiments"]["ddib/classes"]["some"] = {"scales": ["demo"], "pairs": pairs, **more}
    return Resolved(values)


def test_every_pair_is_what_an_experiment_of_its_classes_would_be() -> None:
    made = resolved(BOTH)
    assert made.groups == {GROUP: [f"{GROUP}.3-8", f"{GROUP}.8-3"]}
    assert GROUP not in made.experiments
    assert made.stages(f"{GROUP}.3-8") == made.stages("ddib/classes/3-8")
    ends = Outcomes(made).results(f"{GROUP}.8-3")
    assert {f"results/{GROUP}.8-3/{file}" for file in ("fid.json", "cycle.json", "figures/grid.png")} <= {
        *ends
    }
    assert f"results/{GROUP}/table.md" in Outcomes(made).tables()
    assert [*Resolved(PARAMS).experiments] == [name for name in made.experiments if GROUP not in name]
    check_targets(made, [f"results/{GROUP}/table.md"])


def test_numbers_of_classes_need_no_quotes(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("pairs: {260: 261, 281: 285}")
    assert read_yaml(file) == {"pairs": {"260": 261, "281": 285}}
    assert [e.source for name, e in resolved({"3": 8}).experiments.items() if GROUP in name] == [3]


def test_pairs_at_another_scale_are_none_here() -> None:
    assert resolved({"260": 261, "281": 285}, scales=["paper"]).groups == {}


def test_variants_and_pairs_together() -> None:
    made = resolved(BOTH, sample={"variants": {"quick": {"respacing": "log_snr 20"}}})
    assert {*made.groups} == {GROUP, f"{GROUP}.quick"}
    quick = made.experiments[f"{GROUP}.quick.8-3"]
    assert (quick.sample.respacing, quick.source, quick.target) == ("log_snr 20", 8, 3)


def test_one_job_asks_for_the_time_of_all_pairs() -> None:
    made = resolved(BOTH)
    durations = Durations(made.experiment, made.params.datasets, made.params.runtime)
    one, other = (durations.work(name, "sample").seconds for name in made.groups[GROUP])
    assert one > 0
    assert durations.work(made.groups[GROUP], "sample").seconds == pytest.approx(one + other)


def refusals() -> Iterator[tuple[Any, str]]:
    yield {"pairs": BOTH, "source": 3}, r"pairs and a source.*some\.source.: keep one of the two"
    yield {"pairs": {}}, r"some\.pairs"
    yield {"pairs": {"3": None}}, r"some\.pairs\.3"
    yield {"pairs": {"3": 3}}, r"source and target are both class 3.*some"
    yield {"pairs": {"3": 8, "x": 3}}, r"no class 'x'.*some\.x-3\.source"
    yield {"pairs": {"3": 11}}, r"no class '11'"
    yield {"pairs": {"-": 3}}, "no folder can be called"
    yield {"pairs": {"a b": "c", "a-b": "c"}}, r"there is an experiment some\.a-b-c already"


@pytest.mark.parametrize(("written", "message"), list(refusals()))
def test_wrong_pairs_are_told_with_their_key(written: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolved(**written)


def test_pairs_of_a_whole_scale_and_of_other_methods_are_refused() -> None:
    values = copy.deepcopy(PARAMS)
    values["scales"]["demo"]["ddib/classes"]["pairs"] = BOTH
    with pytest.raises(UserError, match="pairs are of an experiment"):
        Resolved(values)
    values = copy.deepcopy(PARAMS)
    values["experiments"]["ddib/color"]["rgb"]["pairs"] = BOTH
    with pytest.raises(UserError, match="unknown key 'pairs'"):
        Resolved(values)


def test_editors_know_the_key() -> None:
    assert "pairs" in schema()["$defs"]["ddib-classes_experiment"]["properties"]
