"""ImageStore: what is put is what is read, whole files only, equal bytes for equal content."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from bridgepipe.data import entries, joining, lmdbfile, store, storecard, storewriter
from bridgepipe.data.entries import key_of
from bridgepipe.data.pixels import from_uint8
from bridgepipe.data.store import ImageStore
from bridgepipe.errors import UserError
from bridgepipe.runtime import progress as progress_of_work

MADE_BY = {"source": "test", "seed": 3}


def images(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def write(path: Path, items: np.ndarray, first: int = 0, **keywords) -> Path:
    with store.writer(path, MADE_BY, first=first, progress=False, **keywords) as w:
        for index, image in enumerate(items):
            w.put(image, f"item-{first + index}")
        w.set_labels(np.arange(first, first + len(items)) % 3)
        w.set_array("ink", items.mean((1, 2, 3)) if len(items) else np.zeros(0))
        w.set_array("mask", items[..., :1] > 128)
    return path


def edit(path: Path, change) -> None:
    """Change a store behind the back of its checksums of pages."""
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        change(txn)
    with open(path, "r+b") as f:
        f.truncate(lmdbfile.whole_bytes(path))
    lmdbfile.seal(path)


def line_of(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("codec", ["raw", "png", "source"])
@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 9, 3), (8, 8, 1), (1, 1, 4)])
def test_round_trip(tmp_path, codec, shape):
    items = images(7, *shape)
    s = ImageStore(write(tmp_path / "a.lmdb", items, codec=codec, classes=["x", "y", "z"]))
    assert len(s) == 7
    assert all(np.array_equal(s[i], items[i]) for i in range(7))
    assert np.array_equal(s[-1], items[6])
    assert s.labels is not None
    assert s.labels.dtype == np.int64
    assert s.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert list(s.attributes) == ["ink"]
    assert np.array_equal(s.array("mask"), items[..., :1] > 128)
    assert s.names == [f"item-{i}" for i in range(7)]
    assert s.classes == ["x", "y", "z"]
    assert s.card["made_by"] == MADE_BY
    assert s.card["shape"] == list(shape)
    s.verify()


@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 8, 8)])
def test_float_arrays_of_any_shape(tmp_path, shape):
    items = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
    with store.writer(tmp_path / "z.lmdb", {}) as w:
        for item in items:
            w.put(np.asarray(item))
    s = ImageStore(tmp_path / "z.lmdb")
    assert s[2].dtype == np.float32
    assert torch.equal(s.batch(range(4)), torch.from_numpy(items))
    assert s.labels is None
    assert s.names is None
    assert s.attributes == {}


def file_of(pixels: np.ndarray, kind: str, **how) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def pixels_of(file: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(file)).convert("RGB"))


def test_source_codec_keeps_files_that_hold_the_pixels(tmp_path):
    """A JPEG file as it came; what was changed after decoding, or is turned when it is read, as PNG."""
    own = images(1, 6, 4, 3)[0]
    files = [file_of(own, kind, quality=80) for kind in ("JPEG", "PNG", "WEBP")]
    grey = file_of(own[..., 0], "JPEG")
    kept = [*files, grey]
    with store.writer(tmp_path / "s.lmdb", {}, codec="source") as w:
        for file in kept:
            w.put(pixels_of(file), "kept", file)
        w.put(pixels_of(files[0])[::-1], "turned", files[0])
        w.put(own, "no file")
        w.put(own, "another format", file_of(own, "BMP"))
        w.put(own, "damaged", files[1][:-30])
    s = ImageStore(tmp_path / "s.lmdb")
    assert s.image_size == (6, 4)
    assert [s.encoded(i) for i in range(4)] == kept
    assert all(s.encoded(i).startswith(b"\x89PNG") for i in range(4, 8))
    assert all(np.array_equal(s[i], pixels_of(file)) for i, file in enumerate(kept))
    assert np.array_equal(s[4], pixels_of(files[0])[::-1])
    assert all(np.array_equal(s[i], own) for i in range(5, 8))
    assert s.batch(range(8)).shape == (8, 3, 6, 4)
    s.verify()


def test_batch_is_nchw_in_minus_one_to_one(tmp_path):
    items = images(5, 4, 6, 3)
    batch = ImageStore(write(tmp_path / "a.lmdb", items)).batch(torch.tensor([4, 0]))
    assert batch.shape == (2, 3, 4, 6)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    expected = torch.from_numpy(items[[4, 0]]).permute(0, 3, 1, 2) / 127.5 - 1
    assert torch.equal(batch, expected)


def test_every_item_of_a_batch_is_checked_once(tmp_path, monkeypatch):
    path = write(tmp_path / "a.lmdb", images(6, 4, 4, 3))
    bytes_of_one = 4 * 4 * 3 + entries.CHECKSUM_BYTES

    def wipe(txn: lmdb.Transaction) -> None:
        shared = txn.get(key_of(0))
        before, after = shared[: 3 * bytes_of_one], shared[4 * bytes_of_one :]
        txn.put(key_of(0), before + bytes(bytes_of_one) + after)

    edit(path, wipe)
    s = ImageStore(path)
    checked = []
    check = store.without_checksum
    monkeypatch.setattr(store, "without_checksum", lambda *entry: checked.append(entry[0]) or check(*entry))
    assert s.batch([4, 0, -1]).shape == (3, 3, 4, 4)
    assert checked == [key_of(4), key_of(0), key_of(5)]
    assert s.batch([]).shape == (0, 3, 4, 4)
    with pytest.raises(UserError, match="entry 000000000003: differs from its checksum"):
        s.batch(range(6))


@pytest.mark.parametrize("codec", ["raw", "png"])
@pytest.mark.parametrize("piece", [1, 100, 300])
def test_a_batch_is_the_same_in_whatever_pieces_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, codec: store.Codec
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 6, 4, 3), np.uint8)
    with store.writer(tmp_path / "a.lmdb", {}, codec, progress=False) as w:
        for image in pixels:
            w.put(image)
    monkeypatch.setattr(store, "PIECE_BYTES", piece)
    batch = ImageStore(tmp_path / "a.lmdb").batch([6, 0, 3, 3, 1])
    assert torch.equal(batch, from_uint8(pixels[[6, 0, 3, 3, 1]]))
    assert batch.is_contiguous()


def test_indices_out_of_range(tmp_path):
    s = ImageStore(write(tmp_path / "a.lmdb", images(3, 2, 2, 3)))
    assert len(list(s)) == 3
    for index in (3, -4):
        with pytest.raises(IndexError, match="store of 3"):
            s[index]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda w: w.put(np.zeros((2, 2, 1), np.uint8), "another shape"),
        lambda w: w.put(np.zeros((2, 2, 3), np.float32), "another dtype"),
        lambda w: w.put(np.zeros((2, 2, 3), np.uint8)),  # without a name
        lambda w: w.set_labels([1, 2]),
    ],
)
def test_mistakes_of_the_program_are_not_user_errors(tmp_path, mistake):
    def run() -> None:
        with store.writer(tmp_path / "a.lmdb", {}) as w:
            w.put(np.zeros((2, 2, 3), np.uint8), "named")
            mistake(w)

    with pytest.raises(ValueError, match=r"store|items"):
        run()
    assert list(tmp_path.iterdir()) == []


def test_equal_content_gives_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(storewriter, "COMMIT_BYTES", 50_000)
    monkeypatch.setattr(storewriter, "FIRST_MAP_BYTES", 1 << 16)
    items = images(40, 48, 48, 3)
    first = write(tmp_path / "a.lmdb", items)
    used = [np.random.default_rng(i).bytes(7000) for i in range(500)]
    del used  # freed memory that is not zero
    second = write(tmp_path / "sub" / "b.lmdb", items)
    assert first.read_bytes() == second.read_bytes()
    assert ImageStore(first).digest != ImageStore(write(tmp_path / "c.lmdb", items[::-1])).digest


def test_equal_bytes_from_another_process(tmp_path):
    here = write(tmp_path / "a.lmdb", images(30, 32, 32, 3))
    spawn = multiprocessing.get_context("spawn")
    child = spawn.Process(target=write, args=(tmp_path / "b.lmdb", images(30, 32, 32, 3)))
    child.start()
    child.join()
    assert here.read_bytes() == (tmp_path / "b.lmdb").read_bytes()


def test_the_map_grows_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(storewriter, "FIRST_MAP_BYTES", 1 << 15)
    items = images(50, 64, 64, 3)
    s = ImageStore(write(tmp_path / "a.lmdb", items))
    assert all(np.array_equal(s[i], items[i]) for i in range(50))


def test_no_other_file_is_left(tmp_path):
    s = ImageStore(write(tmp_path / "a.lmdb", images(3, 8, 8, 3)))
    assert s[0].shape == (8, 8, 3)
    assert [f.name for f in tmp_path.iterdir()] == ["a.lmdb"]
    assert os.stat(tmp_path / "a.lmdb").st_mode & 0o111 == 0


def test_an_error_leaves_nothing_and_keeps_the_older_file(tmp_path):
    older = write(tmp_path / "a.lmdb", images(3, 8, 8, 3)).read_bytes()

    def run() -> None:
        with store.writer(tmp_path / "a.lmdb", {}) as w:
            w.put(np.zeros((8, 8, 3), np.uint8))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()
    assert [f.name for f in tmp_path.iterdir()] == ["a.lmdb"]
    assert (tmp_path / "a.lmdb").read_bytes() == older


KILLED = """
import numpy as np, sys, time
from bridgepipe.data import store, storewriter
from bridgepipe.data import joining
storewriter.COMMIT_BYTES = 1
with store.writer(sys.argv[1], {}) as w:
    for i in range(100):
        w.put(np.zeros((64, 64, 3), np.uint8))
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_nothing_under_the_final_name(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "a.lmdb")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not (tmp_path / "a.lmdb").exists()
    (left,) = tmp_path.iterdir()
    with pytest.raises(UserError, match="no card"):
        ImageStore(left)
    write(tmp_path / "a.lmdb", images(3, 8, 8, 3))
    ImageStore(tmp_path / "a.lmdb").verify()


def test_truncated_at_any_length_is_one_line(tmp_path):
    whole = write(tmp_path / "a.lmdb", images(20, 40, 40, 3)).read_bytes()
    lengths = [0, 1, 15, 16, 63, 100, 4095, 4096, 5000, 8191, 8192, 9000, len(whole) // 2]
    for length in [*lengths, len(whole) - 4096, len(whole) - 1]:
        cut = tmp_path / f"cut-{length}.lmdb"
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError) as error:
            ImageStore(cut)
        assert str(cut) in line_of(error)
    sealed = len(whole) - len(whole[whole.rindex(lmdbfile.SEAL) :])
    for length in (sealed, sealed + 5, sealed + 20, sealed + 35):
        (tmp_path / "a.lmdb").write_bytes(whole[:length])
        with pytest.raises(UserError, match="its end is missing"):
            ImageStore(tmp_path / "a.lmdb")
    longer = tmp_path / "longer.lmdb"
    longer.write_bytes(whole + bytes(100))
    ImageStore(longer).verify()


def test_truncated_after_pickling_is_noticed_by_the_next_process(tmp_path):
    path = write(tmp_path / "a.lmdb", images(20, 40, 40, 3))
    pickled = pickle.dumps(ImageStore(path))
    os.truncate(path, 20_000)
    with pytest.raises(UserError, match="truncated"):
        pickle.loads(pickled)[3]


@pytest.mark.parametrize("content", [b"", b"not a store" * 1000, bytes(20_000), os.urandom(20_000)])
def test_foreign_files(tmp_path, content):
    (tmp_path / "a.lmdb").write_bytes(content)
    with pytest.raises(UserError) as error:
        ImageStore(tmp_path / "a.lmdb")
    assert "not an image store" in line_of(error)
    assert "delete" not in str(error.value)


def test_foreign_lmdb_folder_and_missing_file(tmp_path):
    with (
        lmdb.open(str(tmp_path / "other.lmdb"), subdir=False, lock=False) as env,
        env.begin(write=True) as txn,
    ):
        txn.put(b"key", b"value")
    for path, expected in [
        (tmp_path / "other.lmdb", "no card"),
        (tmp_path / "none.lmdb", "no such file"),
        (tmp_path, "not a file"),
    ]:
        with pytest.raises(UserError, match=expected):
            ImageStore(path)


@pytest.fixture
def alone(monkeypatch) -> None:
    """Items do not share values, as in stores of format 2."""
    monkeypatch.setattr(entries, "SHARED_BYTES", 1)


def test_lost_and_changed_content(tmp_path, alone):
    path = write(tmp_path / "a.lmdb", images(20, 40, 40, 3))
    edit(path, lambda txn: txn.delete(key_of(3)))
    with pytest.raises(UserError, match="entries"):
        ImageStore(path)
    edit(path, lambda txn: txn.put(key_of(3), b"short"))
    s = ImageStore(path)
    with pytest.raises(UserError, match="entry 000000000003: has 5 bytes of 4808"):
        s[3]
    with pytest.raises(UserError, match="entry 000000000003"):
        s.verify()


def test_a_flipped_bit_is_never_used(tmp_path):
    items = images(60, 32, 32, 3)
    whole = write(tmp_path / "a.lmdb", items).read_bytes()
    flips = np.random.default_rng(0).integers(0, len(whole) * 8, 100)
    noticed = 0
    for n, flip in enumerate(flips.tolist()):
        data = bytearray(whole)
        data[flip // 8] ^= 1 << flip % 8
        path = tmp_path / f"{n}.lmdb"
        path.write_bytes(data)
        noticed += _damage_is_an_error(path, items)
        path.unlink()
    assert noticed >= 60  # the others lie in the quarter of the pages that holds nothing


def _damage_is_an_error(path: Path, items: np.ndarray) -> bool:
    """Whether reading everything raised; what was read without an error must be what was put."""
    try:
        s = ImageStore(path)
    except UserError:
        return True
    raised = False
    for index, item in enumerate(items):
        try:
            assert np.array_equal(s[index], item)
        except UserError:
            raised = True
    try:
        assert s.labels is not None
        assert s.labels.tolist() == [i % 3 for i in range(len(items))]
        assert np.array_equal(s.array("mask"), items[..., :1] > 128)
        assert s.names == [f"item-{i}" for i in range(len(items))]
    except UserError:
        raised = True
    return raised


@pytest.mark.parametrize(
    ("side", "codec", "shared"),
    [(32, "raw", 1), (32, "raw", 17), (8, "raw", 17), (32, "png", 1), (32, "source", 1)],
)
def test_flipped_bits_of_the_index_are_refused_before_the_library_sees_them(
    tmp_path, monkeypatch, side, codec, shared
):
    """The lengths of values and the numbers of pages, where LMDB itself would end the process."""
    monkeypatch.setattr(entries, "SHARED_BYTES", shared * side * side * 3)
    with store.writer(tmp_path / "a.lmdb", {}, codec) as w:
        for image in images(60, side, side, 3):
            w.put(image)
    whole = (tmp_path / "a.lmdb").read_bytes()
    key = whole.index(key_of(17))
    for flip in range(8 * (key - 8), 8 * (key + 20)):  # length, flags, length of the key, key, page
        data = bytearray(whole)
        data[flip // 8] ^= 1 << flip % 8
        (tmp_path / "b.lmdb").unlink(missing_ok=True)
        (tmp_path / "b.lmdb").write_bytes(data)
        with pytest.raises(UserError, match="its index differs from its checksum"):
            ImageStore(tmp_path / "b.lmdb")


def test_items_that_changed_places_are_damage(tmp_path, alone):
    path = write(tmp_path / "a.lmdb", images(4, 40, 40, 3))

    def swap(txn: lmdb.Transaction) -> None:
        first, second = txn.get(key_of(1)), txn.get(key_of(2))
        txn.put(key_of(1), second)
        txn.put(key_of(2), first)

    edit(path, swap)
    s = ImageStore(path)
    for index in (1, 2):
        with pytest.raises(UserError, match=f"entry 00000000000{index}: differs from its checksum"):
            s[index]
        with pytest.raises(UserError, match="differs from its checksum"):
            s.batch([0, index])


def test_indices_of_nine_digits_keep_their_order_and_the_last_key_is_a_limit(tmp_path):
    items = images(4, 8, 8, 3)
    s = ImageStore(write(tmp_path / "a.lmdb", items, first=99_999_998))
    assert all(np.array_equal(s[i], items[i]) for i in range(4))
    assert s.names == [f"item-{i}" for i in range(99_999_998, 100_000_002)]
    s.verify()
    with pytest.raises(ValueError, match="indices below 1000000000000"):
        write(tmp_path / "b.lmdb", items, first=10**12 - 2)
    assert [f.name for f in tmp_path.iterdir()] == ["a.lmdb"]


def old_store(path: Path, items: np.ndarray, **changes) -> Path:
    """A store of format 1: keys of 8 digits, no checksums."""
    kind = {"shape": [8, 8, 3], "dtype": "|u1", "codec": "raw", "classes": None}
    card = {
        "format": 1,
        "count": len(items),
        "first": 0,
        "attributes": [],
        "arrays": {},
        "made_by": {},
        **kind,
    }
    entries = {b"%08d" % i: item.tobytes() for i, item in enumerate(items)}
    entries |= {
        b"__card__": json.dumps(card, sort_keys=True, separators=(",", ":")).encode(),
        b"__names__": b"[]",
    }
    digest = hashlib.sha256()
    for key, value in sorted(entries.items()):
        digest.update(b"%s %d " % (key, len(value)) + value)
    entries[b"__card__"] = json.dumps({**card, "digest": digest.hexdigest(), **changes}).encode()
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        for key, value in entries.items():
            txn.put(key, value)
    return path


@pytest.mark.parametrize("count", [0, 1, 84, 85, 86, 300])
def test_items_that_share_values_and_items_that_lie_alone_are_one_content(tmp_path, monkeypatch, count):
    items = images(count, 32, 32, 3)
    shared = ImageStore(write(tmp_path / "shared.lmdb", items, first=7))
    with monkeypatch.context() as patched:
        patched.setattr(entries, "SHARED_BYTES", 1)
        alone = ImageStore(write(tmp_path / "alone.lmdb", items, first=7))
    assert (shared.card["items_per_value"], alone.card["items_per_value"]) == (85 if count else 1, 1)
    assert alone.card["format"] == 2
    assert shared.digest == alone.digest
    for s in (shared, alone):
        s.verify()
        assert all(np.array_equal(s[i], items[i]) for i in range(count))
        assert [s.encoded(i) for i in range(-count, 0)] == [item.tobytes() for item in items]
    some = range(count)[::-3]
    assert not some or torch.equal(shared.batch(some), alone.batch(some))


@pytest.mark.parametrize(("side", "together"), [(16, 341), (32, 85), (64, 21), (128, 5), (256, 1)])
def test_the_pages_of_a_store_hold_little_beside_its_images(tmp_path, side, together):
    items = images(25_600 // side, side, side, 3)
    with store.writer(tmp_path / "a.lmdb", {}, progress=False) as w:
        for item in items:
            w.put(item)
    found = storecard.info(tmp_path / "a.lmdb")
    assert found.get("items_per_value") == together
    assert found["bytes"] < 1.05 * items.nbytes


def test_stores_of_format_1_are_read_and_gathered(tmp_path):
    items = images(5, 8, 8, 3)
    s = ImageStore(old_store(tmp_path / "a.lmdb", items))
    assert all(np.array_equal(s[i], items[i]) for i in range(5))
    s.verify()
    joining.gather([tmp_path / "a.lmdb"], tmp_path / "b.lmdb", progress=False)
    assert storecard.info(tmp_path / "b.lmdb")["format"] == 3
    assert np.array_equal(ImageStore(tmp_path / "b.lmdb")[4], items[4])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": 4}, "store of format 4, this version reads 3"),
        ({"format": "1"}, "its card tells no format"),
        ({"count": "5"}, "its card tells no count"),
        ({"arrays": ["labels"]}, "its card tells no arrays"),
        ({"digest": None}, "its card tells no digest"),
        ({"format": 2}, "its card differs from its checksum"),
        ({"dtype": "nonsense"}, "its card tells no shape and dtype"),
        ({"shape": ["x"]}, "its card tells no shape and dtype"),
        ({"count": 6}, "7 entries for 6 items"),
    ],
)
def test_cards_that_cannot_be_right(tmp_path, changes, expected):
    with pytest.raises(UserError) as error:
        ImageStore(old_store(tmp_path / "a.lmdb", images(5, 8, 8, 3), **changes))
    assert expected in line_of(error)


@pytest.mark.parametrize("card", [b"", b"no JSON", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b"{}"])
def test_a_foreign_lmdb_is_never_to_be_deleted(tmp_path, card):
    path = tmp_path / "other.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"__card__", card)
    with pytest.raises(UserError) as error:
        ImageStore(path)
    assert "not an image store: its card" in line_of(error)
    assert "delete" not in str(error.value)


def test_a_store_that_cannot_be_mapped_is_not_called_damaged(tmp_path, monkeypatch):
    path = write(tmp_path / "a.lmdb", images(3, 8, 8, 3))

    def full(*_: object, **__: object) -> None:
        raise lmdb.MemoryError(f"{path}: Cannot allocate memory")

    monkeypatch.setattr(lmdb, "open", full)
    with pytest.raises(UserError) as error:
        ImageStore(path)
    assert "cannot be opened" in line_of(error)
    assert "delete" not in str(error.value)


def test_wiped_pages_are_an_error_and_not_a_crash(tmp_path):
    path = write(tmp_path / "a.lmdb", images(300, 8, 8, 3))
    whole = bytearray(path.read_bytes())
    whole[8192:] = bytes(len(whole) - 8192)
    (tmp_path / "b.lmdb").write_bytes(whole)
    with pytest.raises(UserError):
        ImageStore(tmp_path / "b.lmdb").verify()


def test_two_stores_of_one_file_and_a_replaced_file(tmp_path):
    path = write(tmp_path / "a.lmdb", images(3, 8, 8, 3))
    one, two = ImageStore(path), ImageStore(path)
    write(path, images(4, 8, 8, 3, seed=1))
    three = ImageStore(path)
    assert np.array_equal(one[0], two[0])
    assert (len(one), len(three)) == (3, 4)
    assert np.array_equal(three[0], images(4, 8, 8, 3, seed=1)[0])


def _sum(s: ImageStore) -> int:
    return int(sum(s[i].sum() for i in range(len(s))))


# Python 3.12 and later warn of any fork beside threads.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(tmp_path, method):
    s = ImageStore(write(tmp_path / "a.lmdb", images(20, 8, 8, 3)))
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_sum, [s, s, s]) == [_sum(s)] * 3


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_data_loader_workers_that_inherit_the_store(tmp_path):
    items = images(20, 8, 8, 3)
    s = ImageStore(write(tmp_path / "a.lmdb", items))
    loader = torch.utils.data.DataLoader(s, batch_size=6, num_workers=2)
    assert np.array_equal(torch.cat(list(loader)).numpy(), items)


def test_threads_share_a_store(tmp_path):
    s = pickle.loads(pickle.dumps(ImageStore(write(tmp_path / "a.lmdb", images(20, 8, 8, 3)))))
    sums: list[int] = []
    threads = [threading.Thread(target=lambda: sums.append(_sum(s))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [_sum(s)] * 8


@pytest.mark.parametrize("bounds", [[0, 10], [0, 3, 10], [0, 1, 2, 9, 10], [0, 0, 10, 10]])
def test_gather_gives_the_same_bytes_however_divided(tmp_path, bounds):
    items = images(10, 8, 8, 3)
    whole = write(tmp_path / "whole.lmdb", items)
    parts = [
        write(tmp_path / f"{n}.lmdb", items[a:b], first=a)
        for n, (a, b) in enumerate(itertools.pairwise(bounds))
    ]
    joining.gather(parts[::-1], tmp_path / "out.lmdb", count=10, progress=False)
    assert (tmp_path / "out.lmdb").read_bytes() == whole.read_bytes()


def test_a_partition_is_read_by_its_own_index(tmp_path):
    items = images(10, 8, 8, 3)
    part = ImageStore(write(tmp_path / "p.lmdb", items[4:7], first=4))
    assert part.first == 4
    assert len(part) == 3
    assert np.array_equal(part[0], items[4])
    assert part.names == ["item-4", "item-5", "item-6"]


@pytest.mark.parametrize(
    ("ranges", "count", "expected"),
    [
        ([(0, 3), (5, 9)], None, "items 3 to 4 are missing"),
        ([(2, 5)], None, "items 0 to 1 are missing"),
        ([(0, 5), (3, 9)], None, "items from 3 come twice"),
        ([(0, 3), (0, 3)], None, "items from 0 come twice"),
        ([(0, 3)], 5, "3 items of 5"),
    ],
)
def test_gather_refuses_gaps_and_duplicates(tmp_path, ranges, count, expected):
    items = images(10, 8, 8, 3)
    parts = [write(tmp_path / f"{n}.lmdb", items[a:b], first=a) for n, (a, b) in enumerate(ranges)]
    with pytest.raises(UserError) as error:
        joining.gather(parts, tmp_path / "out.lmdb", count)
    assert expected in line_of(error)
    assert not (tmp_path / "out.lmdb").exists()


def test_gather_refuses_partitions_of_another_kind(tmp_path):
    parts = [
        write(tmp_path / "0.lmdb", images(3, 8, 8, 3)),
        write(tmp_path / "1.lmdb", images(3, 4, 4, 3), first=3),
    ]
    with pytest.raises(UserError, match=r"shape of 1\.lmdb differs"):
        joining.gather(parts, tmp_path / "out.lmdb")


def test_info(tmp_path):
    path = write(tmp_path / "a.lmdb", images(3, 8, 8, 3))
    found = storecard.info(path)
    assert found["count"] == 3
    assert found["attributes"] == ["ink"]
    assert found["bytes"] == path.stat().st_size
    with pytest.raises(UserError, match="it has: ink, labels, mask"):
        ImageStore(path).array("nothing")


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(UserError) as error:
            write(tmp_path / "a.lmdb", images(30, 64, 64, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write" in line_of(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("progress", "said"), [(None, True), (True, True), (False, False)])
def test_progress_is_shown_of_a_known_number_of_items(tmp_path, capsys, monkeypatch, progress, said):
    monkeypatch.setattr(progress_of_work, "FIRST", 0.0)
    with store.writer(tmp_path / "a.lmdb", {}, progress=progress) as w:
        w.put(np.zeros(3))
    assert capsys.readouterr().err == ""
    with store.writer(tmp_path / "b.lmdb", {}, total=2, progress=progress) as w:
        w.put(np.zeros(3))
        w.put(np.zeros(3))
    assert capsys.readouterr().err.startswith("b.lmdb: 1 of 2 images (50 %)") == said
