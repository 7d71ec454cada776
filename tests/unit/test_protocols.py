"""Hashes of protocols cover all that a value was computed from, and tables say what may be compared."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from every_verb import VERBS
from test_belonging import SIZE, images, run

from bridgepipe import artifacts, datasets
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.data.subset import Subset
from bridgepipe.datasets import digits, points
from bridgepipe.evaluation import point_tables, protocol, summary
from bridgepipe.evaluation.classifier import SmallClassifier
from bridgepipe.evaluation.protocol import Estimate
from bridgepipe.evaluation.restoration import quality
from bridgepipe.networks.convnet import ConvNet


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    return untrained(tmp_path_factory.mktemp("extractor"), digits.CLASSES)


def untrained(folder: Path, classes: Sequence[str]) -> list[object]:
    """An extractor of random weights that knows classes, as options of the verbs."""
    torch.manual_seed(0)
    artifacts.write_json(folder / "c.json", {"kind": "classifier", "dataset": "any"})
    network = ConvNet(len(classes), 8)
    SmallClassifier(network, (SIZE, SIZE), classes=classes).save(folder / "c.safetensors", {})
    return ["--extractor", folder / "c.json", "--weights", folder / "c.safetensors"]


def restored(folder: Path, truth: ImageStore, items: list[int], noise: int = 0, **settings: Any) -> Path:
    """Restored images of some of the originals, with as much noise as is asked for."""
    rng, path = np.random.default_rng(1), folder / "restored.lmdb"
    settings = {"method": "i2sb", "dataset": "digits", "sample": {"nfe": 2}, **settings}
    made_by = {"settings": settings, "model": "abc", "data": truth.digest}
    with writer(path, made_by, classes=truth.classes) as out:
        for item in items:
            moved = truth[item].astype(int) + rng.integers(-noise, noise + 1, (SIZE, SIZE, 3))
            out.put(moved.clip(0, 255).astype(np.uint8))
        out.set_array("item", np.array(items))
    return path


class Folder:
    """Real images in two stores, and the FID of restored ones by the verb."""

    def __init__(self, path: Path, extractor: list[object]) -> None:
        self.path, self.extractor = path, extractor
        self.test, self.train = (
            images(path / f"digits/{split}.lmdb", digits.CLASSES, 60, seed=k)
            for k, split in enumerate(("test", "train"))
        )
        self.statistics(self.train)

    def statistics(self, store: ImageStore) -> None:
        words = ["--data", store.path, *self.extractor, "--output", self.path / "s.safetensors"]
        assert run("stage", "statistics", *words) == ""

    def fid(self, made: Path, kid: bool = True, **options: Path) -> dict[str, Any]:
        split = Path(artifacts.load_card(str(self.path / "s.safetensors"))["origin"]["name"]).name
        settings = {"extractor": "c", "reference": split, "kid": kid, "classifier": None}
        artifacts.write_json(self.path / "e.json", settings)
        words: list[object] = ["--config", self.path / "e.json", "--statistics", self.path / "s.safetensors"]
        words += [w for key, value in options.items() for w in (f"--{key}", value)]
        out = self.path / "fid.json"
        words += [*self.extractor, "--output", out]
        assert run("stage", "evaluate", "fid", "--images", made, *words) == ""
        return artifacts.read_json(out)


@pytest.fixture
def folder(tmp_path: Path, extractor: list[object]) -> Folder:
    return Folder(tmp_path, extractor)


def test_a_perfect_restoration_to_a_reference_that_holds_the_originals(folder: Folder) -> None:
    """Its KID is 0 within its error and not far below, and the protocol counts the originals."""
    folder.statistics(folder.test)
    made = restored(folder.path, folder.test, list(range(60)))
    found = folder.fid(made, originals=folder.test.path, real=folder.train.path)
    assert found["values"]["kid"] == pytest.approx(0, abs=1e-9)
    assert found["values"]["kid_low"] < 0 < found["values"]["kid_high"]
    assert found["protocol"]["reference"]["originals"] == 60
    assert found["protocol"]["floor"] == {"n": 60, "in_reference": 0}
    assert found["values"]["fid"] == pytest.approx(0, abs=1e-6)  # what a floor of 0 looks like
    assert found["values"]["fid_real"] > 100 * found["values"]["fid"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Patches of photographs, by split."""
    patches = {"size": SIZE, "stride": 200, "scales": [1]}
    datasets.prepare(source="sample-photos", out_dir=tmp_path / "photos", patches=patches)
    return tmp_path / "photos"


def test_fid_of_patches_has_its_interval_over_their_photographs(folder: Folder, photos: Path) -> None:
    test, train, val = (ImageStore(photos / f"{split}.lmdb") for split in ("test", "train", "val"))
    folder.extractor = untrained(folder.path, train.classes or ())
    folder.statistics(train)
    made = restored(folder.path, test, list(range(len(test))), noise=20)
    over = folder.fid(made, originals=test.path, corrupted=made, real=test.path)
    assert over["protocol"]["intervals_over"] == "3 pictures of the patches"
    apart = folder.fid(made, real=test.path)  # nothing tells that these are patches; the real ones are
    for name in ("fid", "kid"):
        value, low, high = (over["values"][f"{name}{end}"] for end in ("", "_low", "_high"))
        assert low <= value <= high
        assert value == apart["values"][name]
        assert high - value > apart["values"][f"{name}_high"] - value > 0
        assert over["values"][f"{name}_corrupted_high"] == high
        assert over["values"][f"{name}_real_high"] == apart["values"][f"{name}_real_high"]
    single = folder.fid(restored(folder.path, val, list(range(len(val)))), originals=val.path)
    assert {"fid", "kid", "fid_real"} <= single["values"].keys()
    assert not [name for name in single["values"] if name.endswith(("_low", "_high"))]


def test_measures_of_patches_have_their_intervals_over_their_photographs(
    photos: Path,
) -> None:
    truth = ImageStore(photos / "test.lmdb")
    made, out = restored(photos, truth, list(range(len(truth))), noise=20), photos / "measured.json"
    weights = ["--extractor", "classifier", "--weights", untrained(photos, truth.classes or ())[-1]]
    run("measure", made, truth.path, *weights, "--output", out)
    found = artifacts.read_json(out)["metrics"]
    assert {metric["protocol"]["intervals_over"] for metric in found.values()} == {
        "3 pictures of the patches"
    }
    names = [name.split("-")[0] for name in truth.names or []]
    expected = Estimate.of(quality(ImageStore(made), truth).psnr, names).values("psnr")
    similar = found["similarity"]["values"]
    assert {key: similar[key] for key in expected} == pytest.approx(expected, rel=1e-6)


def test_intervals_over_patches_are_over_their_photographs(tmp_path: Path, photos: Path) -> None:
    truth = ImageStore(photos / "test.lmdb")
    made = restored(tmp_path, truth, [*range(1, len(truth))], noise=20)
    out = tmp_path / "restoration.json"
    stores = ["--restored", made, "--corrupted", made, "--originals", truth.path]
    assert run("stage", "evaluate", "restoration", *stores, "--output", out) == ""
    found = artifacts.read_json(out)
    assert found["protocol"]["intervals_over"] == "3 pictures of the patches"
    psnr = quality(ImageStore(made), Subset(truth, range(1, len(truth)))).psnr
    names = [name.split("-")[0] for name in (truth.names or [])[1:]]
    assert set(names) == {"china", "flower", "motorcycle"}
    expected = Estimate.of(psnr, names).values("psnr")
    assert {key: found["values"][key] for key in expected} == pytest.approx(expected, rel=1e-6)


def test_a_perfect_restoration_is_at_the_floor(folder: Folder) -> None:
    """To other real images; 30 restored ones stand beside the 30 originals that they were made from."""
    items = list(range(0, 60, 2))
    perfect = folder.fid(restored(folder.path, folder.test, items), originals=folder.test.path)
    values = perfect["values"]
    assert values["fid"] == values["fid_real"] > 0
    assert values["kid"] == values["kid_real"]
    assert values["n_real"] == perfect["protocol"]["n"] == 30
    assert perfect["protocol"]["reference"]["originals"] == 0
    noisy = folder.fid(restored(folder.path, folder.test, items, noise=120), originals=folder.test.path)
    assert noisy["values"]["fid_low"] > noisy["values"]["fid_real_high"]
    assert noisy["protocol_hash"] == perfect["protocol_hash"]


def test_fewer_real_images_than_evaluated_ones_have_a_value_of_as_many(folder: Folder) -> None:
    few = images(folder.path / "few/test.lmdb", digits.CLASSES, 20, seed=3)
    found = folder.fid(restored(folder.path, folder.test, list(range(60))), real=few.path)
    assert found["values"]["n_real"] == found["protocol"]["floor"]["n"] == 20
    assert found["values"]["fid_equal"] > found["values"]["fid"]  # a FID of fewer images is larger


def test_every_input_and_setting_of_a_fid_is_in_its_hash(folder: Folder, tmp_path: Path) -> None:
    items = list(range(0, 60, 2))
    made = restored(folder.path, folder.test, items)
    options = {"originals": folder.test.path, "real": folder.train.path}
    hashes = [folder.fid(made, **options)["protocol_hash"]]
    again = restored(tmp_path / "again", folder.test, items, noise=9, sample={"nfe": 9})
    assert folder.fid(again, **options)["protocol_hash"] == hashes[0]
    hashes.append(folder.fid(made, kid=False, **options)["protocol_hash"])
    hashes.append(folder.fid(made, originals=folder.test.path)["protocol_hash"])
    other = images(folder.path / "other/val.lmdb", digits.CLASSES, 60, seed=5)
    hashes.append(folder.fid(made, originals=folder.test.path, real=other.path)["protocol_hash"])
    of_others = restored(tmp_path / "of-others", other, items)  # another split is restored
    hashes.append(folder.fid(of_others, originals=other.path, real=folder.train.path)["protocol_hash"])
    folder.statistics(other)
    hashes.append(folder.fid(made, **options)["protocol_hash"])
    assert len(set(hashes)) == len(hashes)


def test_every_input_and_setting_of_points_is_in_its_hash(tmp_path: Path) -> None:
    found = torch.randn(60, 2)
    card: dict[str, Any] = {"kind": "points", "count": 60, "dim": 2, "made_by": {"sample": {"nfe": 3}}}
    ends = ("points", "latent", "source", "back")
    moved = {key: found.clone() for key in ends} | {"items": torch.arange(60)}
    artifacts.save_tensors(tmp_path / "moved", moved, card)
    artifacts.save_tensors(tmp_path / "from-others", moved | {"source": found + 1}, card)
    for seed in (0, 1):
        points.prepare(tmp_path / str(seed), domain="moons", count=60, seed=seed)
        of = {**card["made_by"], "data": points.Points(tmp_path / f"{seed}/test.safetensors").digest}
        samples = {"points": found, "latents": found.clone()}
        artifacts.save_tensors(tmp_path / f"samples-{seed}", samples, {**card, "made_by": of})

    def hash_of(verb: str, made: str, truth: int, exact: int) -> str:
        out, name = tmp_path / "m.json", "--samples" if verb == "evaluate-samples" else "--translated"
        made = f"{made}-{truth}" if made == "samples" else made
        words = [name, tmp_path / made, "--truth", tmp_path / f"{truth}/test.safetensors"]
        artifacts.write_json(tmp_path / "e.json", {"exact": exact, "seed": 0})
        options = ["--exact", exact] if name == "--samples" else ["--config", tmp_path / "e.json"]
        assert run("stage", verb, *words, *options, "--metrics", out, "--figure", tmp_path / "f.png") == ""
        return artifacts.read_json(out)["protocol_hash"]

    for verb, made in (("evaluate-samples", "samples"), ("evaluate-translation", "moved")):
        assert len({hash_of(verb, made, *how) for how in [(0, 30), (0, 20), (1, 30)]}) == 3
    moves = {hash_of("evaluate-translation", made, 0, 30) for made in ("moved", "from-others")}
    assert len(moves) == 2


# tables


def metric_file(folder: Path, name: str, metric: dict[str, Any]) -> Path:
    path = folder / f"results/i2sb/{name}/fid.json"
    artifacts.write_json(path, metric)
    return path


def test_a_table_keeps_kinds_apart_and_groups_what_may_be_compared(folder: Folder) -> None:
    made = restored(folder.path, folder.test, list(range(0, 60, 2)))
    apart = folder.fid(made, originals=folder.test.path)
    folder.statistics(folder.test)
    holding = folder.fid(made, originals=folder.test.path)
    faster = copy.deepcopy(apart)
    faster["made_with"]["settings"]["sample"]["nfe"] = 1
    files = [
        metric_file(folder.path, name, metric)
        for name, metric in (("one", apart), ("two", faster), ("three", holding))
    ]
    table = summary.collect(files)
    assert table["group"].tolist() == ["A", "A", "B"]
    assert table["FID"].notna().tolist() == [True, True, False]
    assert table["FID, originals in reference"].notna().tolist() == [False, False, True]
    assert table["FID real"].notna().tolist() == [True, True, False]
    assert table["reference"].tolist()[1:] == [
        "train (60 images), none of the originals in it",
        "test (60 images), all the originals in it",
    ]
    assert table.loc[0, "FID 95 %"].count(" to ") == 1
    notes = summary.notes_of(table)
    assert any("rows of one group" in note for note in notes)
    assert any("floor" in note for note in notes)


def leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where the entries of a protocol stand."""
    found = []
    for key, value in tree.items():
        found += leaves(value, (*above, key)) if isinstance(value, dict) else [(*above, key)]
    return found


def differing(metric: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    """The metric file with another entry in its protocol."""
    other = copy.deepcopy(metric)
    inner = other["protocol"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = 99 if place == ("n",) else "another"
    return other | {"protocol_hash": artifacts.digest_of(other["protocol"])}


POINT_VALUES = {"sliced_w2": 1.0, "sliced_w2_floor": 0.5, "n": 30}
SOLVER = {"solver": "ddim", "nfe": 5, "grid": "ddib", "state_pair": True}
PAIR = {"source": "a", "target": "b", "seed": 0, "count": 30}


def joined(verb: str, folder: Path, metrics: list[dict[str, Any]]) -> pd.DataFrame:
    """The table of a verb, of one file for each metric."""
    words: list[object] = []
    for k, metric in enumerate(metrics):
        path = folder / f"results/i2sb/{k}/fid.json"
        artifacts.write_json(path, metric)
        if verb == "study-table":
            path, hashed = path.with_suffix(".csv"), artifacts.digest_of(metric["protocol"])
            row = {"sampler": f"s{k}", "nfe": 5, "n": 30, "FID": 1.0 + k, "FID real": 0.5 + k}
            tables_row = pd.DataFrame([row | {"protocol": hashed[:8]}])
            tables_row.to_csv(path, index=False)
        words.append(path)
    words += ["--csv", folder / "t.csv", "--markdown", folder / "t.md"]
    words += {"study-table": ["--figure", folder / "t.png"], "summary": ["--html", folder / "t.html"]}.get(
        verb, []
    )
    assert run("stage", verb, *words) == ""
    return pd.read_csv(folder / "t.csv")


JOINING: dict[str, dict[str, Any]] = {
    "table": protocol.metric(
        {"fid": 1.0},
        protocol.protocol(
            "fid",
            n=30,
            settings={"kid": True},
            inputs={"real": "r"},
            extractor={"digest": "x"},
            reference={"name": "train", "n": 60, "originals": 0},
            subset=None,
        ),
        {"settings": {"dataset": "digits", "sample": {"nfe": 2}}},
    ),
    "point-table": protocol.metric(
        POINT_VALUES,
        protocol.protocol("distances", n=30, settings={"exact": 30, "seed": 0}, inputs={}, plan_points=30),
    ),
    "cycle-table": protocol.metric(
        {f"{solver}: {key}": 1.0 for solver in ("one", "two") for key in ("calls", "mean", "max")},
        protocol.protocol(
            "cycle", n=30, settings={**PAIR, "cycle": {"one": SOLVER, "two": {**SOLVER}}}, inputs={}
        ),
    ),
    "study-table": protocol.metric({}, protocol.protocol("fid", n=30, settings={"k": 1}, inputs={"r": "r"})),
}
# several files, and no numbers beside others
JOINING["summary"] = JOINING["table"]
NOT_NUMBERS = {"stage gather", "stage numbers", "restore", "verify", "plan", "record", "report", "fetch"}


def test_every_verb_that_joins_results_is_known() -> None:
    taking = {v for v, c in VERBS.items() if any(getattr(p, "nargs", 1) == -1 for p in c.params)}
    assert taking == {f"stage {verb}" for verb in JOINING} | NOT_NUMBERS


@pytest.mark.parametrize("verb", JOINING)
def test_values_under_protocols_that_differ_in_one_entry_stand_apart(verb: str, tmp_path: Path) -> None:
    """All are put into one table: each entry of the protocol, once another."""
    metric = JOINING[verb]
    places = [p for p in leaves(metric["protocol"]) if ".".join(p) not in point_tables.POINTS]
    table = joined(verb, tmp_path, [metric, metric, *(differing(metric, place) for place in places)])
    if verb == "study-table":
        columns = [name for name in table if name.startswith("FID (")]
        assert len(columns) == 1 + len(places)
        assert table[columns].notna().sum().tolist() == [2] + [1] * len(places)
        return
    if verb == "summary":
        assert sorted(table[table["measure"] == "FID"].groupby("protocol").size()) == [1] * len(places) + [2]
        return
    rows = table[table["experiment"] != "worst"]
    assert rows["group"].nunique() == 1 + len(places)
    assert rows["group"].tolist()[:2] == ["A", "A"]


def test_the_worst_cycle_is_that_of_pairs_that_were_measured_alike(tmp_path: Path) -> None:
    metric = JOINING["cycle-table"]
    worse = copy.deepcopy(metric) | {"values": metric["values"] | {"one: mean": 3.0}}
    other_pair = copy.deepcopy(worse)
    other_pair["protocol"]["settings"] |= {"source": "c", "target": "d"}
    more_solvers = copy.deepcopy(metric)
    more_solvers["protocol"]["settings"]["cycle"]["all"] = SOLVER | {"nfe": None}
    more_solvers["values"] |= {"all: calls": 4000, "all: mean": 2.0, "all: max": 2.5}
    shorter = differing(metric, ("settings", "cycle", "one", "nfe"))
    shorter["values"]["one: mean"] = 9.0
    table = joined("cycle-table", tmp_path, [metric, other_pair, more_solvers, shorter])
    assert table["group"].tolist() == ["A", "A", "A", "B", "A", "B"]
    assert table["experiment"].tolist()[4:] == ["worst", "worst"]
    assert table["one, mean"].tolist()[4:] == [3.0, 9.0]
    assert table["all, mean"].tolist()[4] == 2.0


def test_one_letter_means_that_every_two_rows_may_be_compared() -> None:
    """The first has no accuracy, so that it could be compared with the others, which differ in theirs."""
    fid, accuracy = ({"protocol": {"metric": name}} for name in ("fid", "accuracy"))
    other = {"protocol": {"metric": "accuracy", "extractor": "another"}}
    rows = [{"fid": fid}, {"fid": fid, "accuracy": accuracy}, {"fid": fid, "accuracy": other}, {}]
    assert protocol.groups(rows) == ["A", "A", "B", "C"]
    assert protocol.groups([{"k": {"protocol": {"k": n}}} for n in range(27)])[25:] == ["Z", "27"]
