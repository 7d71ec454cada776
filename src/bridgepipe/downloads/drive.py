"""Files and folders of Google Drive, through gdown, which knows its confirmation pages."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bridgepipe.downloads import transfer
from bridgepipe.downloads.transfer import Failed, until, why


def file_from_drive(drive_id: str, target: Path, progress: bool = True) -> None:
    """A Google Drive file, through gdown, which knows Drive's confirmation pages.

    Raises:
        Failed: the file is gone or not shared, or Drive cannot be reached.
    """
    _with_gdown("download", drive_id, target, progress)


def folder_from_drive(drive_id: str, target: Path, progress: bool = True) -> None:
    """A Google Drive folder with everything in it.

    Raises:
        Failed: the folder is gone, empty or not shared, or Drive cannot be reached.
    """
    if not _with_gdown("download_folder", drive_id, target, progress):
        raise Failed("the folder is empty: its files were removed or are no longer shared")


def _with_gdown(function: str, drive_id: str, target: Path, progress: bool) -> Any:
    import gdown
    import requests

    from bridgepipe.runtime.progress import Progress

    on_terminal = progress and sys.stderr.isatty()  # in a log its bar would be one endless line
    try:
        with (
            Progress(None, 0, "its own bar", shown=False) if on_terminal else nullcontext(),
            until(lambda: transfer.DEADLINE),
        ):
            return getattr(gdown, function)(
                id=drive_id,
                output=str(target),
                quiet=not on_terminal,
                use_cookies=False,
                resume=True,
                timeout=transfer.TIMEOUT,
                retries=transfer.ATTEMPTS - 1,
            )
    except gdown.DownloadError as e:
        raise Failed(" ".join(str(e).split())) from e
    except requests.RequestException as e:
        raise Failed(why(e)) from e
