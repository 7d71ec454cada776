"""The strict reader of params.yaml: one meaning for every text, a place for every error, mutated files."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridgepipe import config, workflow
from bridgepipe.config import yaml_reader
from bridgepipe.errors import UserError

ROOT = Path(__file__).parents[2]
OWN = (ROOT / "params.yaml").read_text(encoding="utf8")
INCLUDED = [file.read_text(encoding="utf8") for file in sorted(ROOT.glob("experiments/*.yaml"))]
# everything in one file, as it may stand
TEXT = re.sub(r"^include: .*\n", "", OWN, flags=re.MULTILINE) + "experiments:\n"
TEXT += "".join(text.partition("\nexperiments:\n")[2] for text in INCLUDED)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


def refusal(file: Path, content: str | bytes, read: Callable[[Path], Any] = yaml_reader.read) -> str:
    """The line that answers a file of this content."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as e:
        read(file)
    assert "\n" not in str(e.value)
    return str(e.value)


def line_of(text: str, part: str) -> int:
    """Number of the first line with a part."""
    return text[: text.index(part)].count("\n") + 1


VALUES = {
    "1": 1,
    "+5": 5,
    "-3": -3,
    "1e-4": 1e-4,
    "5e-05": 5e-5,
    "3e5": 3e5,
    "2E+3": 2e3,
    ".5": 0.5,
    "5.": 5.0,
    "1.0e-4": 1e-4,
    "true": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "": None,
    "none": "none",
    '"0250"': "0250",
    "'12:30'": "12:30",
    '"yes"': "yes",
    "3-8": "3-8",
    "260-261": "260-261",
    "1.2.3": "1.2.3",
    "y": "y",
    "e5": "e5",
    "tRue": "tRue",
    "007-a": "007-a",
    "|\n  two\n  lines\n": "two\nlines\n",
    "[1, 2e0, 'x']": [1, 2.0, "x"],
}


@pytest.mark.parametrize("text", VALUES)
def test_values_are_read_as_a_person_means_them(file: Path, text: str) -> None:
    file.write_text(f"a: {text}")
    value = yaml_reader.read(file).values["a"]
    assert value == VALUES[text]
    assert type(value) is type(VALUES[text])


AMBIGUOUS = {
    "0250": "write 250",
    "-017": "write -17",
    "00.5": "write 0.5",
    "0o17": "write 15",
    "0x1F": "write 31",
    "0b11": "write 3",
    "1_000": "write 1000",
    "1_0.5": "write 10.5",
    "12:30": "write one number",
    "1:30:00": "write one number",
    "190:20:30.15": "write one number",
    "yes": "write true or false",
    "No": "write true or false",
    "on": "write true or false",
    "OFF": "write true or false",
    "None": "write null",
    "2024-01-01": "in quotes",
    "2024-1-1T10:00:00Z": "in quotes",
    ".inf": "finite",
    "-.INF": "finite",
    ".NaN": "finite",
    "1e999": "smaller",
    "9" * 30: "smaller",
    "0" * 9000 + "1": "write 1",
    "1\u00a0": "U\\+00A0",
    "\u200b1": "U\\+200B",
}


@pytest.mark.parametrize("text", AMBIGUOUS, ids=lambda text: ascii(text[:20]))
@pytest.mark.parametrize("context", ["a:\n  b: {}\n", "a:\n  [1, {}]\n"])
def test_a_text_with_two_meanings_is_refused_with_what_to_write(file: Path, text: str, context: str) -> None:
    line = refusal(file, context.replace("{}", text))
    assert re.search(r"\(params\.yaml:2:\d+\): ", line), line
    assert re.search(AMBIGUOUS[text], line), line
    assert len(line) < 200


# content -> what the line says, and where
NO_DATA: dict[str, tuple[str | bytes, str, str]] = {
    "duplicate key": ("a:\n  b: 1\n  c: 2\n  b: 1\n", "key 'b' is already on line 2", "4:3"),
    "duplicate in a flow": ("a: {b: 1, b: 2}", "already on line 1", "1:11"),
    "duplicate through quotes": ("b: 1\n'b': 2", "already on line 1", "2:1"),
    "duplicate section": ("a: {}\nb: {}\na: {}", "already on line 1", "3:1"),
    "not UTF-8": (b"a: 1\nb: caf\xe9\n", "not UTF-8: byte 0xe9", "2:7"),
    "UTF-16": ("a: 1".encode("utf-16"), "UTF-16", "1:1"),
    "NUL": ("a: 1\nb: \0", "control character U\\+0000", "2:4"),
    "DEL": ("a: \x7f", "control character U\\+007F", "1:4"),
    "line break of YAML 1.1": ("a: 1\u2028b: 2", "control character U\\+2028", "1:5"),
    "escaped NUL": ('a: "x\\0y"', "control character U\\+0000 in a text", "1:4"),
    "escape beyond Unicode": ('a: 1\nb: "\\U00110000"', "not YAML", "2:"),
    "half a surrogate": ('a: "\\ud800"', "not YAML|control character", "1:"),
    "tab as indentation": ("a:\n\tb: 1\n", "a tab", "2:1"),
    "tab after a list": ("a:\n  b: 1\n\tc: 2\n", "a tab", "3:1"),
    "python tag": ("a: 1\nb: !!python/name:len x\n", "tag .*python/name", "2:4"),
    "tag on a section": ("a: !!omap\n  b: 1\n", "tag ", "1:4"),
    "tag of a number": ('a: !!int "3"', "tag ", "1:4"),
    "tag of one's own": ("a: !mine 3", "tag !mine", "1:4"),
    "tag on a key": ("!!str a: 3", "tag ", "1:1"),
    "date": ("a: 2024-01-01", "a date", "1:4"),
    "date as key": ("a:\n  2024-01-01: 1", "a date", "2:3"),
    "number as key": ("a: {-7: 1}", 'key -7 is not text: .*"-7"|key -7 is not text', "1:5"),
    "broken number as key": ("a: {7.0: 1}", "key 7.0 is not text", "1:5"),
    "true as key": ("true: 1", "key true is not text", "1:1"),
    "on as key": ("on: 1", "on is text or true or false", "1:1"),
    "nothing as key": ("a:\n  : 1", "did not find expected key", "2:3"),
    "list as key": ("[a, b]: 1", "a key that is not text", "1:1"),
    "alias as key": ("a: &x b\n*x : 1", "a key that is not text", "2:1"),
    "merge": ("a: &x {b: 1}\nc: {<<: *x, d: 2}", "YAML merges", "2:5"),
    "cycle": ("a: &x {b: *x}", "\\*x contains itself", "1:11"),
    "cycle of lists": ("a: &x [1, [*x]]", "\\*x contains itself", "1:12"),
    "undefined alias": ("a: *x", "x", "1:4"),
    "second document": ("a: 1\n---\nb: 2", "a second YAML document", "2:1"),
    "no mapping": ("- 1\n- 2", "not a mapping", "1:1"),
    "text only": ("hello", "not a mapping", "1:1"),
    "unclosed bracket": ("a: [1, 2\nb: [3]\n", "text over several lines", "1:8"),
    "unclosed quote": ("a: 'x\nb: 3\n", "not YAML: .*from line 1", ""),
    "no colon": ("a: 1\nb\nc: 2", "not YAML", ""),
    "no space": ("a: {b:1}", "no space after the colon of 'b:1'", "1:5"),
    "lost indentation": ("a: demo\n  runtime\n", "text over several lines", "1:4"),
    "deep": ("a: " + "[" * 5000, "levels deep|not YAML", "1:"),
    "deep sections": ("a: " + "{b: " * 25 + "1" + "}" * 25, "more than 20 levels deep", "1:"),
    "bomb": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefgh")),
        "more than 100000 values",
        "",
    ),
}


@pytest.mark.parametrize("case", NO_DATA)
def test_what_is_no_plain_data_is_refused_with_its_place(file: Path, case: str) -> None:
    content, what, place = NO_DATA[case]
    line = refusal(file, content)
    place = place or r"\d+:"
    assert re.search(rf"{what}.* \(params\.yaml:{place}", line), line


def test_both_parsers_of_pyyaml_refuse_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "LOADER", yaml.SafeLoader)
    for content, *_ in NO_DATA.values():
        assert "(params.yaml" in refusal(file, content)
    file.write_text(TEXT)
    assert yaml_reader.read(file).values == yaml.safe_load(TEXT)


def test_what_is_no_file_is_refused(file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with open(tmp_path / "large", "wb") as f:
        f.truncate(2**30)
    for name, what in {
        ".": "a folder",
        "pipe": "not a regular file",
        "loop": "cannot read",
        "large": "1 MiB",
        "none": "no such file",
        "a\0b": "cannot read",
    }.items():
        with pytest.raises(UserError, match=what):
            yaml_reader.read(name)
    for nothing in ("", "# a comment\n", "---\n", "\n\n"):
        assert re.search(r"empty file \(params.yaml\)|not a mapping .*params.yaml:\d", refusal(file, nothing))


def test_a_file_without_permission_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    file.write_text("a: 1")
    monkeypatch.setattr(Path, "open", denied)  # root may read everything
    with pytest.raises(UserError, match=r"cannot read: Permission denied \(params.yaml\)"):
        yaml_reader.read(file)


def test_a_byte_order_mark_and_other_line_ends_change_nothing(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert yaml_reader.read(file).values == yaml.safe_load(TEXT)


def test_the_repository_uses_no_merges_and_no_anchors() -> None:
    tokens = (yaml.AnchorToken, yaml.AliasToken)
    for text in (OWN, *INCLUDED):
        assert not [token for token in yaml.scan(text) if isinstance(token, tokens)]
    assert config.read_yaml(ROOT / "params.yaml") == yaml.safe_load(TEXT)


# replaced -> by what; then what the line says, the text of the line where the error is, and its key
MISTAKES = {
    "key in a default": (
        "      train: {steps: 250",
        "      train: {stepz: 250",
        "unknown key 'stepz'",
        "scales.demo.i2sb.train.stepz",
    ),
    "key in an experiment": (
        "      beta_max: 0.3\n",
        "      beta_maxx: 0.3\n",
        "unknown key 'beta_maxx'",
        "experiments.i2sb.jpeg-5.beta_maxx",
    ),
    "type in a default": ("nfe: 999", "nfe: many", "is 'many'", "scales.paper.i2sb.sample.nfe"),
    "type in an experiment": ("C_z: 1.0e-4", "C_z: [1]", r"is \[1\]", "experiments.boundary.loop.search.C_z"),
    "number in a list": (
        "channel_mult: [1, 1, 2, 2]\n",
        "channel_mult: [1, 1, x, 2]\n",
        "is 'x'",
        "scales.demo.i2sb.network.channel_mult.2",
    ),
    "name of a dataset": (
        "dataset: digits-16-low",
        "dataset: digits-16-lo",
        "unknown name 'digits-16-lo'",
        "experiments.model.digits-low.dataset",
    ),
    "inherited name": (
        "extractor: inception, reference: train",
        "extractor: incepton, reference: train",
        "unknown name 'incepton'",
        "scales.paper.spd.evaluate.extractor",
    ),
    "source of a dataset": (
        "moons: {source: points",
        "moons: {source: pints",
        "unknown source 'pints'",
        "datasets.moons.source",
    ),
    "key of a dataset": (
        "moons: {source: points, domain",
        "moons: {source: points, domian",
        "missing key 'domain'|unknown key 'domian'",
        "datasets.moons.doma?i?an?",
    ),
    "no source": (
        "moons: {source: points, domain: moons}",
        "moons: {domain: moons}",
        "missing key 'source'",
        "datasets.moons.source",
    ),
    "kind of a network": (
        "network: {kind: ddpm",
        "network: {kind: dpm",
        "unknown kind 'dpm'",
        "experiments.model.celebahq.network.kind",
    ),
    "key of a kind": ("ch: 128,", "chs: 128,", "unknown key 'chs'", "experiments.model.celebahq.network.chs"),
    "scale of an experiment": (
        "digits: {scales: [demo]}",
        "digits: {scales: [dmo]}",
        "unknown name 'dmo'",
        "experiments.guide.digits.scales",
    ),
    "dataset that is a list": (
        "sample-photos: {source: sample-photos, patches: {size: 64, scales: [1, 0.5]}}",
        "sample-photos: [1]",
        r"is \[1\]",
        "datasets.sample-photos",
    ),
    "scale": ("scale: demo ", "scale: dem ", "unknown name 'dem'", "scale"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_where_it_is_written(file: Path, case: str) -> None:
    before, after, what, key = MISTAKES[case]
    assert before in TEXT
    content = TEXT.replace(before, after, 1)
    line = refusal(file, content, config.load)
    number = line_of(TEXT, before) + after[: len(after) - len(after.lstrip("\n"))].count("\n")
    assert re.search(rf"{what}.*\(params\.yaml:{number}:\d+: {key}\): ", line), line


def test_an_error_in_an_alias_is_told_where_it_is_written(file: Path) -> None:
    file.write_text("a: &x\n  b: {c: 1}\nd: *x\n")
    places = yaml_reader.read(file).places
    assert places.at("d", "b", "c") == "params.yaml:2:7: d.b.c"
    assert places.at("d") == "params.yaml:3:1: d"
    assert places.at("d", "nothing") == "params.yaml:3:1: d.nothing"


def test_an_unknown_name_is_answered_with_the_nearest_three(file: Path) -> None:
    line = refusal(file, TEXT.replace("dataset: digits-16\n", "dataset: digits-17\n", 1), config.load)
    assert re.search(
        r"did you mean 'digits-16'\? nearest of \d\d: digits-16, digits[\w-]*, digits[\w-]*$", line
    )
    file.write_text(TEXT)
    with pytest.raises(UserError) as e:
        config.load(file).experiment("i2sb/jpg-5")
    assert len(re.findall(r"\w+/[\w-]+", str(e.value).partition("nearest of")[2])) == 3


def test_template_expressions_are_text(file: Path) -> None:
    """Snakemake's own reading runs them, before anything is checked."""
    content = f"__use_yte__: true\n__definitions__:\n  - open('ran', 'w')\n{TEXT}"
    file.write_text(content)
    with pytest.raises(SystemExit):
        workflow.open_params({}, ["params.yaml"])
    assert not Path("ran").exists()
    snakefile = (ROOT / "Snakefile").read_text()
    assert "configfile:" not in snakefile.replace("`configfile:`", "")


def test_other_files_and_the_command_line_are_laid_over(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(TEXT)
    Path("other.yaml").write_text("scales:\n  demo:\n    i2sb: {sample: {nfe: 7}}\n")
    files = ["params.yaml", "other.yaml"]
    pipeline = workflow.open_params({"runtime": {"batch_size": "3", "precision": "fp32"}}, files)
    assert pipeline.experiment("i2sb/jpeg-5").sample.nfe == 7
    assert pipeline.runtime.batch_size == 3
    for values, line in {
        "scales": ({"scales": {"demo": {"i2sb": {"sample": {"nfe": "x"}}}}}, r"\(--config: scales.demo.i2sb"),
        "scale": ({"scale": "papr"}, r"unknown name 'papr' \(--config: scale\): did you mean 'paper'"),
        "two meanings": ({"runtime": {"threads": "012"}}, r"\(--config: runtime.threads\): write 12"),
    }.values():
        with pytest.raises(SystemExit):
            workflow.open_params(values, files)
        assert re.search(line, capsys.readouterr().err)
    Path("other.yaml").write_text("scales:\n  demo:\n    i2sb: {sample: {nfe: x}}\n")
    with pytest.raises(SystemExit):
        workflow.open_params({}, files)
    assert "(other.yaml:3:21: scales.demo.i2sb.sample.nfe)" in capsys.readouterr().err


def test_the_home_folder_and_variables_stand_in_paths(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", "/disk/pictures")
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("NOWHERE", raising=False)
    for written, meant in {
        "~/mine": "/home/ann/mine",
        "$PICTURES/mine": "/disk/pictures/mine",
        "${PICTURES}/mine": "/disk/pictures/mine",
        "100$/mine": "100$/mine",
    }.items():
        file.write_text(
            TEXT.replace("datasets:\n", f"datasets:\n  own: {{source: folder, path: '{written}'}}\n", 1)
        )
        assert config.load(file).stage_files()["data/prepared/own/config.json"]["path"] == meant
    content = TEXT.replace("datasets:\n", "datasets:\n  own: {source: folder, path: $NOWHERE/mine}\n", 1)
    line = refusal(file, content, config.load)
    assert re.search(r"datasets\.own\.path\): the variable NOWHERE is not set", line), line


# mutated files: BRIDGEPIPE_MUTATIONS=1500 pytest tests/unit/test_yaml_reader.py -k mutated

WEIRD = (
    "0250",
    "12:30",
    "1_000",
    ".inf",
    "-.nan",
    "1e999",
    "9" * 400,
    "yes",
    "off",
    "~",
    "null",
    "",
    "[]",
    "{}",
    "[1, [2, [3]]]",
    "{a: {b: 1}}",
    "2024-01-01",
    "!!python/name:os.system x",
    "!!binary aGk=",
    "*x",
    "&x 1",
    "&x [*x]",
    "'",
    '"',
    "|",
    ">",
    "@",
    "`",
    "%",
    "? a",
    "- 1",
    "-1",
    "0",
    "-0.0",
    "1e-400",
    "true",
    "text",
    "\t",
    '"\\0"',
    '"\\ud800"',
    '"\\U00110000"',
    "é",
    "\u00a0",
    "\ufeff",
    "<<",
    "=",
    "10000000000000000000",
    "1.5",
    "'5'",
    "{<<: {a: 1}}",
    "a: b: c",
    "#",
    "-",
    "...",
    "---",
    "x" * 3000,
    "[" * 400,
    "{" * 60,
    '"a\\nb"',
    "../../x",
    "$HOME/x",
    "~nobody/x",
)


def mutated(random: random.Random) -> bytes:
    """params.yaml with one to three faults of the kinds that editors, people and disks make."""
    data = TEXT.encode()
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = random.choice(MUTATIONS)(data, random)
    return data


def _lines(
    change: Callable[[list[bytes], int, random.Random], None],
) -> Callable[[bytes, random.Random], bytes]:
    def mutate(data: bytes, random: random.Random) -> bytes:
        lines = data.split(b"\n")
        change(lines, random.randrange(len(lines)), random)
        return b"\n".join(lines)

    return mutate


def _byte(data: bytes, random: random.Random) -> bytes:
    at = random.randrange(max(1, len(data)))
    new = bytes([random.choice((random.randrange(256), *b" \t\n:,-[]{}'\"#&*!|>%@`0"))])
    return random.choice(
        (data[:at] + new + data[at + 1 :], data[:at] + new + data[at:], data[:at] + data[at + 1 :])
    )


def _word(data: bytes, random: random.Random) -> bytes:
    """A typo: two letters of a word swapped, one left out or doubled."""
    words = list(re.finditer(rb"[A-Za-z_]{3,}", data))
    if not words:
        return data
    word = random.choice(words)
    i, text = random.randrange(len(word[0]) - 1), word[0]
    new = random.choice(
        (
            text[:i] + text[i + 1 :],
            text[:i] + text[i : i + 1] + text[i:],
            text[:i] + text[i + 1 : i + 2] + text[i : i + 1] + text[i + 2 :],
        )
    )
    return data[: word.start()] + new + data[word.end() :]


def _value(data: bytes, random: random.Random) -> bytes:
    """Another value, of the file or a strange one."""
    values = list(re.finditer(rb"(?<=: )[^{}\[\]\n#,]+", data))
    if not values:
        return data
    value, other = random.choice(values), random.choice(values)
    new = random.choice(
        (other[0], *[weird.encode("utf8", "surrogatepass") for weird in random.sample(WEIRD, 4)])
    )
    return data[: value.start()] + new + data[value.end() :]


def _key(data: bytes, random: random.Random) -> bytes:
    keys = list(re.finditer(rb"[\w/.-]+(?=:[ \n])", data))
    if not keys:
        return data
    key, other = random.choice(keys), random.choice(keys)
    new = random.choice(
        (other[0], random.choice(WEIRD).encode("utf8", "surrogatepass"), b'"' + key[0] + b'"')
    )
    return data[: key.start()] + new + data[key.end() :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _byte,
    _byte,
    _word,
    _word,
    _value,
    _value,
    _key,
    _lines(lambda lines, i, _: lines.pop(i)),
    _lines(lambda lines, i, _: lines.insert(i, lines[i])),
    _lines(lambda lines, i, random: lines.insert(random.randrange(len(lines)), lines[i])),
    _lines(lambda lines, i, _: lines.insert(i, b"  " + lines.pop(i))),
    _lines(lambda lines, i, _: lines.insert(i, lines.pop(i)[1:])),
    _lines(lambda lines, i, _: lines.insert(i, b"\t" + lines.pop(i).lstrip())),
    _lines(lambda lines, i, _: lines.insert(i, lines.pop(i).replace(b":", b"", 1))),
    _lines(
        lambda lines, i, random: lines.insert(i, lines.pop(i) + random.choice(WEIRD).encode("utf8", "ignore"))
    ),
    lambda data, random: data[: random.randrange(max(1, len(data)))],
    lambda data, random: (
        random.choice((b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"%YAML 1.2\n---\n", b"--- ")) + data
    ),
    lambda data, random: data.decode("utf8", "ignore").encode(
        random.choice(("utf-16", "utf-32", "utf-8-sig"))
    ),
)


def test_mutated_files_are_accepted_or_told_in_one_line_with_their_place(file: Path) -> None:
    count = int(os.environ.get("BRIDGEPIPE_MUTATIONS", "150"))
    ends: Counter[str] = Counter()
    for seed in range(count):
        content = mutated(random.Random(seed))
        file.write_bytes(content)
        start = time.process_time()
        try:
            config.load(file).stage_files()
            ends["accepted"] += 1
        except UserError as e:
            line = str(e)
            assert "\n" not in line, (seed, line)
            assert len(line) < 600, (seed, line)
            placed = re.search(r"\(params\.yaml:\d+:\d+(: [^)]+)?\): ", line)
            top = re.search(r"empty file|missing key '\w+' \(params.yaml: ", line)
            assert placed or top, (seed, line)
            ends["key path" if placed and placed[1] else "place"] += 1
        assert time.process_time() - start < 5, seed
    print(dict(ends))
    assert ends["accepted"] < 0.6 * count
    assert ends["key path"] > 0.1 * count
    assert ends["place"] > 0.1 * count
