"""The files below a folder: each real file once, no device opened, nothing unreadable passed over.

A `Listing` tells whether the content of files and folders has changed since the last one, by names,
sizes and times alone; only where a time has changed is a file read.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json

# what systems leave beside a person's files
LITTER = frozenset(
    {
        "__macosx",
        "lock.mdb",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "@eadir",
        "$recycle.bin",
        "lost+found",
    }
)
NOWHERE = (errno.ENOENT, errno.ELOOP)


@dataclass
class Tree:
    """What lies below a folder, by relative names; hidden files and what systems leave behind are not in it.

    Attributes:
        root: folder that is listed.
        files: every real file once; where links lead to it too, under its own name.
        folders: every folder, each real one once.
        dangling: links that lead nowhere.
        special: named pipes, sockets and devices.
        repeated: links and hard links to what comes elsewhere in the tree, or holds the tree.
    """

    root: Path
    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)


def walk(root: str | Path) -> Tree:
    """Everything below a folder.

    Links are followed after all real folders have been seen, so a real name wins over a link's;
    a link to a folder that holds the link is never followed.

    Raises:
        UserError: a folder that cannot be read, with its name.
    """
    tree = Tree(Path(root))
    try:
        seen = {_identity(os.stat(root))}
    except OSError as e:
        raise _unreadable(tree.root, e) from e
    links = _visit(tree, "", seen)
    known = _without_copies(tree, tree.files, set())
    while links:
        link = links.pop()
        try:
            target = os.stat(tree.root / link)
        except OSError as e:
            if e.errno not in NOWHERE:
                raise _unreadable(tree.root / link, e) from e
            tree.dangling.append(link)
            continue
        if stat.S_ISDIR(target.st_mode):
            if _identity(target) in seen or _holds(tree.root / link, tree.root):
                tree.repeated.append(link)
                continue
            seen.add(_identity(target))
            before = set(tree.files)
            tree.folders.append(link)
            links += _visit(tree, f"{link}/", seen)
            _without_copies(tree, set(tree.files) - before, known)
        elif stat.S_ISREG(target.st_mode):
            tree.files[link] = target
            _without_copies(tree, [link], known)
        else:
            tree.special.append(link)
        links.sort(reverse=True)
    tree.files = dict(sorted(tree.files.items()))
    for names in (tree.folders, tree.dangling, tree.special, tree.repeated):
        names.sort()
    return tree


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the person's."""
    return name.startswith(".") or name.lower() in LITTER


def _visit(tree: Tree, below: str, seen: set[tuple[int, int]]) -> list[str]:
    """Take the real files and folders in; return the links, last first."""
    links, folders = [], [below]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(tree.root / folder) as entries:
                for entry in entries:
                    name = folder + entry.name
                    if hidden(entry.name):
                        continue
                    if entry.is_symlink():
                        links.append(name)
                    elif entry.is_file(follow_symlinks=False):
                        tree.files[name] = entry.stat(follow_symlinks=False)
                    elif not entry.is_dir(follow_symlinks=False):
                        tree.special.append(name)
                    elif (identity := _identity(os.stat(entry.path))) in seen:
                        tree.repeated.append(name)
                    else:
                        seen.add(identity)
                        tree.folders.append(name)
                        folders.append(f"{name}/")
        except OSError as e:
            raise _unreadable(tree.root / folder, e) from e
    return sorted(links, reverse=True)


def _without_copies(tree: Tree, names: Iterable[str], known: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Move the names of files that are known under another name to ``repeated``."""
    for name in sorted(names):
        identity = _identity(tree.files[name])
        if identity in known:
            del tree.files[name]
            tree.repeated.append(name)
        known.add(identity)
    return known


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _holds(link: Path, root: Path) -> bool:
    """Whether a link leads to a folder that holds the link or the root."""
    target = Path(os.path.realpath(link))
    return any(Path(os.path.realpath(place)).is_relative_to(target) for place in (link.parent, root))


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot be read: {error.strerror or error}", path, "make it readable, or take it away")


# Sources up to this size are read whole when they are first listed. Of a larger one a file has no
# digest until its time or size changes, so that listing ImageNet costs no reading of 140 GB.
READ_AT_ONCE = 2 << 30
# names of the files of a listing, beside the configuration of the dataset
SUMMARY, KNOWN = "source.json", "files.json"
# (bytes, time of content, time of status, digest or None) by name
Known = dict[str, list[Any]]


@dataclass(frozen=True)
class Listing:
    """What some files and folders hold.

    Attributes:
        summary: JSON that changes exactly when names, sizes or (where they are known) contents do.
        known: JSON from which the next `listed` goes on; it holds times, too.
    """

    summary: Json
    known: Known


def is_there(path: str | Path) -> bool:
    """Whether a file is there, or a folder with anything in it: the folder of an unmounted disk is empty."""
    try:
        names = os.listdir(path)
    except OSError as e:
        return e.errno not in NOWHERE and os.path.exists(path)  # its reader reports what cannot be read
    return any(not name.startswith(".") and name.lower() not in LITTER for name in names)


def listed(paths: Sequence[str], known: Known) -> Listing:
    """List files and folders.

    Args:
        paths: files and folders, in a fixed order; their contents are named relative to them.
        known: `Listing.known` of the last listing; {} at first.

    Raises:
        UserError: what cannot be read, or is neither a file nor a folder.
    """
    found: Known = {}
    for number, path in enumerate(paths):
        for name, status in _files(Path(path)).items():
            times = [status.st_size, status.st_mtime_ns, status.st_ctime_ns] if status else [0, 0, 0]
            found[f"{number}/{name}"] = times
    total = sum(entry[0] for entry in found.values())
    unread = [key for key, entry in found.items() if known.get(key, [])[:3] != entry]
    to_read = [key for key in unread if key in known or total <= READ_AT_ONCE]
    _announce(sum(found[key][0] for key in to_read), paths)
    digests = {key: _digest(_place(paths, key)) for key in to_read}
    for key, entry in found.items():
        entry.append(digests.get(key) if key in unread else known[key][3])
    content = artifacts.digest_of({key: [entry[0], entry[3]] for key, entry in found.items()})
    summary = {"paths": list(paths), "files": len(found), "bytes": total, "content": content}
    return Listing(summary, found)


def known_of(file: Path) -> Known:
    """What is known from the listing whose summary is ``file``; {} when it cannot be read."""
    try:
        known = artifacts.read_json(file.with_name(KNOWN))
        return known if all(len(entry) == 4 for entry in known.values()) else {}
    except (UserError, AttributeError, TypeError):
        return {}


def check(file: Path) -> None:
    """Compare files with the listing of them whose summary is ``file``.

    Raises:
        UserError: files have changed since; the first ones are named.
    """
    summary, known = artifacts.read_object(file), known_of(file)
    now = listed(summary["paths"], known)
    if now.summary == summary:
        return
    names = sorted(
        key.partition("/")[2]
        for key in {*now.known, *known}
        if now.known.get(key, [])[::3] != known.get(key, [])[::3]
    )
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    what = f"{len(names)} files changed after they were listed: {shown}"
    raise UserError(what, " ".join(summary["paths"]), "run the same command again")


def _files(path: Path) -> dict[str, os.stat_result | None]:
    """Every file by its relative name, "" for a single one; without a status, links that lead nowhere."""
    try:
        status = os.stat(path)
    except OSError as e:
        raise _unreadable(path, e) from e
    if stat.S_ISREG(status.st_mode):
        return {"": status}
    if not stat.S_ISDIR(status.st_mode):
        raise UserError("neither a file nor a folder", path, "correct the path")
    tree = walk(path)
    return {**tree.files, **dict.fromkeys(tree.dangling)}


def _place(paths: Sequence[str], key: str) -> Path:
    number, _, name = key.partition("/")
    return Path(paths[int(number)]) / name


def _digest(path: Path) -> str | None:
    """Digest of a file's content; None of a link that leads nowhere."""
    import xxhash

    digest = xxhash.xxh3_128()
    try:
        with open(path, "rb") as f:
            while data := f.read(1 << 20):
                digest.update(data)
    except OSError as e:
        if e.errno in NOWHERE:
            return None
        raise _unreadable(path, e) from e
    return digest.hexdigest()


def _announce(count: int, paths: Sequence[str]) -> None:
    if count > READ_AT_ONCE:
        message = f"bridgepipe: reading {count / 1e9:.1f} GB of files with new times ({' '.join(paths)})"
        print(message, file=sys.stderr, flush=True)
