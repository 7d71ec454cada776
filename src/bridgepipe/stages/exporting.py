"""Images and statistics for other programs: a folder of PNG files, or an NPZ file of ADM's layout."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from bridgepipe import artifacts
from bridgepipe.data import lineage
from bridgepipe.data.listing import walk
from bridgepipe.data.store import ImageStore
from bridgepipe.data.subset import items_of
from bridgepipe.datasets import images
from bridgepipe.datasets.items import some
from bridgepipe.errors import UserError, writing
from bridgepipe.photographs import places as where
from bridgepipe.runtime.interruption import FINISHED_KEPT, at_once
from bridgepipe.runtime.progress import Progress

OTHER_FORMATS = frozenset({".npy", ".zip", ".tar", ".gz", ".lmdb", ".safetensors", ".pt", ".csv", ".json"})
SYNCED = 64  # files that are written before their names are brought to the disk


def export(source: Path, output: Path, names: str, data: Path, dry_run: bool = False) -> None:
    """Write the images of a store as PNG files into a folder, or as an NPZ file; statistics as NPZ.

    Args:
        source: a store of images, or reference statistics.
        output: ``NAME.npz``, or a folder, which may hold an unfinished export of the same store.
        names: naming of PNG files: ``number``, or ``source`` for the name of the image each was made from.
        data: folder of prepared datasets, in which the images lie that the store was made from.
        dry_run: whether the files are only named that would be written.

    Raises:
        UserError: no such source, an output of another format, a folder that holds other files.
    """
    if data.is_file():
        raise UserError("a file is here", data, "give --data the folder of prepared datasets")
    if output.suffix.lower() == ".npz" and output.is_dir():
        raise UserError("a folder is here", output, "give another place to --output")
    if source.suffix == ".safetensors":
        _write_statistics(source, output, dry_run)
    elif output.suffix.lower() == ".npz":
        store = ImageStore(source).of_images()
        if dry_run:
            print(output)
        else:
            _write_npz(store, output)
    else:
        _check_folder_name(output)
        store = ImageStore(source).of_images()
        _write_pngs(store, output, file_names(store, names, data), dry_run)


def _write_statistics(source: Path, output: Path, dry_run: bool) -> None:
    from bridgepipe.evaluation.fid import Statistics

    found = Statistics.load(source)
    if output.suffix.lower() != ".npz":
        raise UserError("statistics are written as NPZ", output, "give --output a name that ends in .npz")
    if dry_run:
        print(output)
        return
    with artifacts.atomic(output) as temporary, open(temporary, "wb") as file:
        np.savez(file, mu=found.mu.numpy(), sigma=found.sigma.numpy())


def _write_npz(store: ImageStore, output: Path) -> None:
    """ADM's layout: ``arr_0``, uint8 ``[N, H, W, C]``, and ``arr_1``, the labels; the bytes of `numpy.savez`.

    Images go through one at a time: 50,000 of 256 x 256 are 10 GB.
    """
    shape = (len(store), *store.image_size, store.card["shape"][2])
    with artifacts.atomic(output) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open("arr_0.npy", "w", force_zip64=True) as file:
            about = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, about)
            for number in range(len(store)):
                file.write(store[number].tobytes())
        if store.labels is not None:
            with archive.open("arr_1.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, store.labels, allow_pickle=False)


def _check_folder_name(output: Path) -> None:
    if output.suffix.lower() in OTHER_FORMATS | images.SUFFIXES and not output.is_dir():
        mend = "give --output a folder, for PNG files, or a name that ends in .npz"
        raise UserError(f"images are not written as {output.suffix}", output, mend)


def file_names(store: ImageStore, names: str, data: Path) -> list[str]:
    """Relative name of the PNG file of every image of a store, ``/`` between folders.

    A sample is named by its class, a translation by its target, an edit by its distance.

    Raises:
        UserError: the images that the store was made from are not there, or have no names.
    """
    name_of = _numbers(store) if names == "number" else _source_names(store, data)
    suffix_of = _suffixes(store)
    found = [f"{name_of(i)}{suffix_of(i)}.png" for i in range(len(store))]
    if (twice := len(found) - len({name.casefold() for name in found})) > 0:
        what = f"{twice} images would have the name of another"
        raise UserError(what, store.path, "leave out --names source: images are then named by number")
    return found


def _numbers(store: ImageStore) -> Callable[[int], str]:
    """The number of the image; of edits that of the image that was edited, which each distance shares."""
    repeated = _distances_each(store)
    return lambda i: f"{(store.first + i) // repeated:05d}"


def _source_names(store: ImageStore, data: Path) -> Callable[[int], str]:
    made_by, own = store.card["made_by"], store.names or []
    if own and "data" not in made_by:
        return lambda i: _stem(own[i])
    if own and "target_class" in made_by:
        return lambda i: _stem(own[i].partition("/")[2])  # source-to-target/image
    if "origin" not in made_by or "item" not in store.card["arrays"]:
        mend = "leave out --names source: images are then named by number"
        raise UserError("its images were made from none that have a name", store.path, mend)
    source = ImageStore(data / f"{made_by['origin']['name']}.lmdb")
    lineage.made_from(store, source, "source images")
    items, theirs = items_of(store), source.names
    if theirs is None:
        raise UserError("its images have no names", source.path, "leave out --names source")
    return lambda i: _stem(theirs[items[i]])


def _stem(name: str) -> str:
    """A name of an image as a relative path without its suffix, inside the folder whatever it holds."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..")]
    *above, last = [_plain(part).lstrip(".") or "_" for part in parts] or ["_"]
    plain = PurePosixPath(last)
    return "/".join([*above, plain.stem if plain.suffix.lower() in images.SUFFIXES else last])


def _suffixes(store: ImageStore) -> Callable[[int], str]:
    """What the name of an image ends in: its distance, its target or its class."""
    made_by = store.card["made_by"]
    if "distance" in store.card["arrays"]:
        distances = store.array("distance")
        return lambda i: f"_{distances[i]:+.4g}"
    if made_by.get("images") == "translations":
        target = _plain(str(made_by.get("target_class") or made_by.get("target_label")))
        return lambda i: f"_{target}"
    if made_by.get("images") == "samples" and (labels := store.labels) is not None:
        classes = store.classes or []
        plain = cache(lambda label: _plain(classes[label] if label < len(classes) else str(label)))
        return lambda i: f"_{plain(int(labels[i]))}"
    return lambda i: ""


def _distances_each(store: ImageStore) -> int:
    """How many images in turn are edits of one."""
    return len(np.unique(store.array("distance"))) if "distance" in store.card["arrays"] else 1


def _plain(word: str) -> str:
    """A word that every file system takes."""
    return re.sub(r"[^\w.+-]+", "-", word).strip("-") or "_"


def _write_pngs(store: ImageStore, folder: Path, names: Sequence[str], dry_run: bool) -> None:
    marks = {name: f"exported {store.digest[:16]} {number}" for number, name in enumerate(names)}
    done = _already_there(folder, marks)
    if dry_run:
        print("\n".join(str(folder / name) for name in names if name not in done))
        return
    fresh: list[Path] = []
    with at_once(FINISHED_KEPT), Progress(len(names), len(done), "export") as progress:
        for number, name in enumerate(names):
            if name in done:
                continue
            pixels = store[number]
            images.write_png(folder / name, pixels[..., 0] if pixels.shape[2] == 1 else pixels, marks[name])
            progress.after(1)
            fresh.append(folder / name)
            if len(fresh) == SYNCED:
                where.finish(fresh)
                fresh.clear()
        where.finish(fresh)
    print(folder)


def _already_there(folder: Path, marks: dict[str, str]) -> set[str]:
    """Names of the files that an unfinished export has written.

    Raises:
        UserError: the folder holds anything else.
    """
    with writing(folder):
        if not folder.exists():
            return set()
        if not folder.is_dir():
            raise UserError("a file is here", folder, "give another place to --output")
        tree = walk(folder)
    found = {*tree.files, *tree.dangling, *tree.special, *tree.repeated}
    foreign = sorted(name for name in found if images.made_of(folder / name) != marks.get(name, ...))
    if foreign:
        what = f"the folder holds {some(foreign, 'other file')}, no part of this export"
        raise UserError(what, folder, "give a new or an empty folder to --output")
    return found
