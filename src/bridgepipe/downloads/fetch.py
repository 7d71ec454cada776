"""The one downloader: mirrors, resume, verification, and what to do when a file has vanished.

What can be fetched is data: ``sources.yaml``. A file with a published digest is
checked against it; a file without one is trusted when it is first seen, its
sha256 is written beside it, and a later change is refused. Nothing reaches its
final name before it is complete and verified, and what is in place is used
without asking any server.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridgepipe.artifacts import digest_file, exclusive, read_json, sync, write_json
from bridgepipe.downloads import hub, records, repository
from bridgepipe.downloads.drive import file_from_drive, folder_from_drive
from bridgepipe.downloads.sources import Source, find, load_sources
from bridgepipe.downloads.transfer import Failed, Interrupted, from_disk, from_web, is_web, settle
from bridgepipe.errors import UserError, writing
from bridgepipe.names.origins import DATASETS, HUB

MIRRORS = "BRIDGEPIPE_MIRRORS"  # environment: base URLs or folders, tried before those of sources.yaml
DRIVE = "drive:"
AGAIN = ", then run the same command again: it goes on from there"


def fetch(
    name: str,
    root: str | Path,
    *,
    output: str | Path | None = None,
    sources: Mapping[str, Source] | None = None,
    mirrors: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """Put one source in place, downloading it only when it is not there yet.

    Args:
        name: entry of the sources, such as ``i2sb/jpeg-5``.
        root: the data folder; the source's own path is below it.
        output: another place for the file or folder.
        sources: entries by name; those of ``sources.yaml`` when None.
        mirrors: base URLs or local folders that hold files under the sources' own paths, tried first;
            when None, the words of the environment variable ``BRIDGEPIPE_MIRRORS``.
        progress: show a progress bar.

    Returns:
        The file, or the folder, verified.

    Raises:
        UserError: unknown name, every place failed, wrong content, changed content, or no space.
    """
    source = hub.source_of(name) or find(name, load_sources() if sources is None else sources)
    path = Path(output) if output else Path(root) / source.path
    with exclusive(path.with_name(f".{path.name}.lock"), wait=True, keep=False):
        return _fetched(name, source, path, mirrors, progress)


def _fetched(name: str, source: Source, path: Path, mirrors: Sequence[str] | None, progress: bool) -> Path:
    if not _in_place(source, path):
        places = _places(source, os.environ.get(MIRRORS, "").split() if mirrors is None else mirrors)
        print(f"{name}: licence {source.licence}; see {source.home}", file=sys.stderr)
        with writing(path, again=AGAIN):
            return _from_first(name, source, path, places, progress)
    found = _digests(path, path.name)
    record = records.place_of(path)
    if problem := _problem(source, path, found, records.read(path)):
        raise UserError(
            f"not the {name} that was expected: {problem}",
            path,
            f"move it away and fetch again; to trust a new version, delete {record.name} as well",
        )
    if not record.exists():
        records.write(name, source, path, "found in place", found)
    return path


def missing(name: str, root: str | Path, output: str | Path | None = None) -> list[Path]:
    """Places of what `fetch`, or `fetch_all`, would download; what is in place is left out.

    Raises:
        UserError: unknown name.
    """
    sources = load_sources()
    of = {one: hub.source_of(one) or find(one, sources) for one in _members(name, sources, output)}
    places = {one: Path(output or Path(root) / source.path) for one, source in of.items()}
    return [place for one, place in places.items() if not _in_place(of[one], place)]


def _members(name: str, sources: Mapping[str, Source], output: str | Path | None) -> list[str]:
    """The sources whose names begin with ``name/``; the name itself where it is that of one."""
    group = [one for one in sources if one.startswith(name.rstrip("/") + "/")]
    if name in sources or not group:
        return [name]
    if output is not None:
        what = f"{name} is a group of {len(group)} sources"
        raise UserError(what, "--output", "leave it out, or name one of them")
    return group


def check(name: str, path: str | Path) -> None:
    """Refuse a file or folder that is not the source whose place it holds, put there by whomever.

    Without a published digest or the record of an earlier download, a file is accepted as it is.

    Raises:
        UserError: unknown name, or other content.
    """
    source, path = hub.source_of(name) or find(name, load_sources()), Path(path)
    found = {path.name: cached_digest(path)} if path.is_file() else _digests(path, path.name)
    if problem := _problem(source, path, found, records.read(path)):
        mend = "put the published file there, or move this one away and run `bridgepipe fetch`"
        raise UserError(f"not the {name} that was expected: {problem}", path, mend)


def cached_digest(path: Path) -> str:
    """sha256 of a file; computed once for its size and time, and kept beside it where that can be written."""
    about = path.stat()
    seen = {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns}
    beside = path.with_name(f".{path.name}.sha256.json")
    with suppress(UserError, AttributeError):
        recorded = read_json(beside)
        if seen.items() <= recorded.items() and isinstance(recorded.get("sha256"), str):
            return recorded["sha256"]
    found = digest_file(path)
    with suppress(UserError):
        write_json(beside, {**seen, "sha256": found})
    return found


def fetch_all(name: str, root: str | Path, output: str | Path | None = None, **options: Any) -> list[Path]:
    """Fetch one source, or every source whose name begins with ``name/``, going on after a failure.

    Args:
        name: name of a source, or the first part of several names, such as ``i2sb``.
        root: the data folder.
        output: other place for a single source.
        options: the others of `fetch`.

    Raises:
        UserError: there is no such source, or some failed (the first one says why).
    """
    sources = options.pop("sources", None) or load_sources()
    names = _members(name, sources, output)
    if len(names) == 1:
        return [fetch(names[0], root, output=output, sources=sources, **options)]
    paths, failures = [], {}
    for one in names:
        try:
            paths.append(fetch(one, root, sources=sources, **options))
        except UserError as e:
            failures[one] = e
    if failures:
        first = next(iter(failures.values()))
        raise UserError(f"{len(failures)} of {len(names)} failed", ", ".join(failures), str(first)) from first
    return paths


def _in_place(source: Source, path: Path) -> bool:
    if not (source.folder or source.hub):
        return path.is_file()
    return path.is_dir() and any(path.iterdir()) and not _lacking(source, path, records.read(path))


def _lacking(source: Source, folder: Path, recorded: Iterable[str]) -> list[str]:
    """What a folder lacks to be complete: files of the source, of its record, or what a network needs."""
    lacks = [f for f in (*source.files, *recorded) if not (folder / f).is_file()]
    if source.hub:
        lacks += repository.lacking(folder, source.hub.startswith(DATASETS))
    return list(dict.fromkeys(lacks))


def _places(source: Source, mirrors: Sequence[str]) -> list[str]:
    """Where to look, in order. A web mirror cannot serve a folder whose content is unknown."""
    own = [*source.urls, *(DRIVE + i for i in (source.drive, source.folder) if i)]
    own += [HUB + source.hub] if source.hub else []
    folder = source.folder or source.hub
    usable = [m for m in mirrors if not (folder and not source.files and is_web(m))]
    return [f"{m.rstrip('/')}/{source.path}" for m in usable] + own


def _from_first(name: str, source: Source, path: Path, places: Sequence[str], progress: bool) -> Path:
    """Download from the first place that delivers the right content."""
    failures: list[str] = []
    again = ""
    for place in places:
        arriving = path.with_name(f".{path.name}.{hashlib.sha256(place.encode()).hexdigest()[:8]}")
        try:
            _deliver(source, place, arriving, progress)
            settle(arriving)
        except Failed as e:
            failures.append(f"{place}: {e}")
            if isinstance(e, Interrupted):
                again = "run the same command again to go on from there, or "
            continue
        found = _digests(arriving, path.name)
        recorded = records.read(path)
        if problem := _problem(source, arriving, found, recorded):
            _move(arriving, bad := path.with_name(path.name + ".bad"))
            failures.append(f"{place}: {problem} (set aside as {bad.name})")
            continue
        _move(arriving, path)
        if not found.keys() <= recorded.keys():
            records.write(name, source, path, place, found)
        return path
    if path.is_dir() and (lacks := _lacking(source, path, records.read(path))):
        failures.insert(0, f"its folder lacks {' and '.join(lacks)}")
    raise UserError(
        f"cannot fetch {name}: {'; '.join(failures) or 'no place is known'}",
        path,
        f"{again}put {_what(source)} here: {path} ({source.manual or 'see ' + source.home})",
    )


def _what(source: Source) -> str:
    files = " and ".join(source.files) or "the files"
    return f"a folder with {files}" if source.folder or source.hub else "the file"


def _deliver(source: Source, place: str, target: Path, progress: bool) -> None:
    """Bring the file or the folder from one place to ``target``: complete, not yet verified."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        return  # it had arrived, and the process ended before it was verified
    if place.startswith(DRIVE):
        (folder_from_drive if source.folder else file_from_drive)(place.removeprefix(DRIVE), target, progress)
    elif place.startswith(HUB):
        hub.download(place.removeprefix(HUB), target, progress)
    elif not is_web(place):
        from_disk(Path(place), target)
    elif source.folder:
        target.mkdir(exist_ok=True)
        for file in source.files:
            if not (target / file).exists():
                from_web(f"{place}/{file}", target / file, progress)
    else:
        from_web(place, target, progress)


def _problem(source: Source, path: Path, found: Mapping[str, str], recorded: Mapping[str, str]) -> str | None:
    """Why the content of ``path``, with the sha256 in ``found``, is not the right one; None when it is."""
    if path.is_file() and not path.stat().st_size:
        return "it is empty"
    if path.is_dir() and (lacks := _lacking(source, path, recorded)):
        return f"{' and '.join(lacks)} missing"
    if source.size is not None and path.stat().st_size != source.size:
        return f"it has {path.stat().st_size} bytes, published are {source.size}"
    if source.md5 and (md5 := _md5(path)) != source.md5:
        return f"its md5 is {md5}, published is {source.md5}"
    if source.sha256 and (sha256 := next(iter(found.values()))) != source.sha256:
        return f"its sha256 is {sha256}, published is {source.sha256}"
    changed = [f for f, digest in recorded.items() if found.get(f) != digest]
    return f"{' and '.join(changed)} changed since it was first fetched" if changed else None


def _md5(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _digests(path: Path, name: str) -> dict[str, str]:
    """sha256 by name: of the file (as ``name``), or of every file in the folder."""
    if path.is_file():
        return {name: digest_file(path)}
    files = sorted(f for f in path.rglob("*") if f.is_file())
    return {f.relative_to(path).as_posix(): digest_file(f) for f in files}


def _move(arrived: Path, path: Path) -> None:
    """Give a file or folder its final name; a folder that is there already is completed."""
    if path.is_dir() and arrived.is_dir():
        shutil.copytree(arrived, path, dirs_exist_ok=True, copy_function=os.replace)
        shutil.rmtree(arrived)
    else:
        os.replace(arrived, path)
    sync(path.parent)
