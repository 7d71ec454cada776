"""Repositories of a Hugging Face hub: weights with their settings, from there and to there, and datasets.

The hub's library lists and commits; the bytes come through `transfer`, since the library's own download
begins anew in every process. What is taken is pinned to one commit, and every file is compared with the
size and digest that the hub lists. The endpoint is ``HF_ENDPOINT``; a token comes from ``HF_TOKEN`` or from
`hf auth login`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from bridgepipe.artifacts import digest_file
from bridgepipe.downloads import repository as files
from bridgepipe.downloads.sources import HUB_LICENCE, Source
from bridgepipe.downloads.transfer import Failed, from_web
from bridgepipe.errors import UserError
from bridgepipe.names import origins

ENDPOINT = "HF_ENDPOINT"
CONVERTED = "refs/convert/parquet"  # revision with the tables that a hub makes of a dataset of other files


def source_of(text: str) -> Source | None:
    """The source that ``hf:[datasets/]OWNER/NAME[@REVISION]`` is; None of any other text.

    Raises:
        UserError: the text begins with ``hf:`` but names no repository.
    """
    if not text.startswith(origins.HUB):
        return None
    match = origins.repository_of(text)
    if match is None:
        mend = "write hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:datasets/OWNER/NAME"
        raise UserError("no repository of a hub", text, mend)
    home = f"{endpoint()}/{match['datasets'] or ''}{match['owner']}/{match['name']}"
    what = "the parquet files" if match["datasets"] else "config.json and the weights"
    manual = f"put {what} of the repository there"
    hub = text.removeprefix(origins.HUB)
    return Source(origins.folder_of(match), HUB_LICENCE, home, manual, hub=hub)


def endpoint() -> str:
    return (os.environ.get(ENDPOINT) or "https://huggingface.co").rstrip("/")


def download(repository: str, target: Path, progress: bool) -> None:
    """Bring a network with its settings, or the tables of a dataset, to a folder.

    What has arrived is not asked for again.

    Args:
        repository: ``OWNER/NAME[@REVISION]``, after ``datasets/`` where it is a dataset.
        target: folder that is written.
        progress: show a progress bar.

    Raises:
        Failed: no such repository, nothing of the kind in it, or a file differs from what the hub lists.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    path, _, revision = repository.partition("@")
    name = path.removeprefix(origins.DATASETS)
    kind = "model" if name == path else "dataset"
    with _asking(name):
        info = _listed(name, kind, revision or None)
    of = {"repo_type": kind, "revision": str(info.sha), "endpoint": endpoint()}
    for file in (files.network if kind == "model" else files.tables)(info.siblings or []):
        place = target / file.rfilename
        if not place.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            url = hf_hub_url(name, file.rfilename, **of)
            from_web(url, place, progress, build_hf_headers(), empty=file.size == 0)
        if (problem := _differs(file, place)) is not None:
            place.unlink()
            raise Failed(f"{file.rfilename}: {problem}")


def _listed(name: str, kind: str, revision: str | None) -> Any:
    """Commit and files of a repository; of a dataset without tables those that the hub makes of it."""
    from huggingface_hub.errors import RevisionNotFoundError

    ask = partial(_api().repo_info, name, repo_type=kind, files_metadata=True)
    info = ask(revision=revision)
    if kind == "dataset" and revision is None and not any(map(files.is_table, info.siblings or [])):
        with suppress(RevisionNotFoundError):
            return ask(revision=CONVERTED)
    return info


def _differs(file: Any, place: Path) -> str | None:
    """Why a file is not the one that the hub lists; None: it is."""
    size = place.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size} bytes, the hub lists {file.size}"
    if file.lfs is not None and (found := digest_file(place)) != file.lfs.sha256:
        return f"its sha256 is {found}, the hub lists {file.lfs.sha256}"
    if file.lfs is None and file.blob_id is not None and (found := _blob(place)) != file.blob_id:
        return f"its git digest is {found}, the hub lists {file.blob_id}"
    return None


def _blob(place: Path) -> str:
    """The name that git gives to the content of a small file."""
    content = place.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sent_of(folder: Path) -> list[Path]:
    """Files of a folder that `upload` sends.

    Raises:
        UserError: none of them holds weights, or is a configuration that names some.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sent = [file for file in files if not any(p.startswith(".") for p in file.relative_to(folder).parts)]
    if not any(file.name.endswith((*origins.FILES, ".json")) for file in sent):
        raise UserError("no weights in it", folder, f"give a folder with a file {', '.join(origins.FILES)}")
    return sent


def upload(folder: Path, name: str, private: bool) -> str:
    """Commit the files of a folder to a repository, which is made when it is not there.

    Files that the hub has already are not sent again, so that a broken upload goes on.

    Args:
        folder: folder whose files are sent, but for those of folders in it that begin with a dot.
        name: ``OWNER/NAME``.
        private: whether a new repository is.

    Returns:
        Address of the commit.

    Raises:
        UserError: no access, or the hub is out of reach.
    """
    api = _api()
    try:
        with _asking(name):
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message="Weights from bridgepipe",
                ignore_patterns=".*",
            )
    except Failed as e:
        mend = "log in by `hf auth login`, or set HF_TOKEN and HF_ENDPOINT, then run the same command again"
        raise UserError(f"not pushed: {e}", f"{endpoint()}/{name}", mend) from e
    return str(commit.commit_url)


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint())


@contextmanager
def _asking(name: str) -> Iterator[None]:
    """What a hub answers, in one line."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as e:
        raise Failed("access to it has to be asked for on its page") from e
    except errors.RevisionNotFoundError as e:
        raise Failed("no such revision") from e
    except errors.RepositoryNotFoundError as e:
        raise Failed("no such repository, or it is private and no valid token is set") from e
    except errors.HfHubHTTPError as e:
        raise Failed(f"the hub answers {e.response.status_code}") from e
    except errors.OfflineModeIsEnabled as e:
        raise Failed("HF_HUB_OFFLINE is set") from e
    except (
        Exception
    ) as e:  # of the client and of the protocols below it, whose classes change with its version
        raise Failed(f"the hub is out of reach: {f'{type(e).__name__} {e}'.splitlines()[0]}") from e
