"""The files below a folder: each real file once, no device opened, nothing unreadable passed over."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bridgepipe.errors import UserError

# what systems leave beside a person's files
LITTER = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"}
)
NOWHERE = (errno.ENOENT, errno.ELOOP)


@dataclass
class Tree:
    """What lies below a folder, by relative names; hidden files and what systems leave behind are not in it.

    Attributes:
        root: the folder.
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
