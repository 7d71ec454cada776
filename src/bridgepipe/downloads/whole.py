"""Whether weights that a person put somewhere are whole, as far as their first and last bytes tell.

Nothing of the tensors is read, so that a run can ask before its first job, whatever their size.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from bridgepipe.errors import UserError, reading
from bridgepipe.names import unet_files
from bridgepipe.names.origins import FILES

POINTER = b"version https://git-lfs"  # in place of a large file, in a clone without Git LFS
ZIP = b"PK\x03\x04"  # what torch writes, whose table of contents is at the end
MEND = "get it again, whole"


def check_weights(place: Path) -> None:
    """Refuse weights of which a part is missing.

    Args:
        place: a file, or a folder as `networks.layouts` opens it; what is not there is left to its reader.

    Raises:
        UserError: the first file that ends early, is a pointer of Git LFS, or is a shard that is missing.
    """
    if place.is_file():
        _check(place)
        return
    for folder in (place, place / "unet"):
        names = sorted(f.name for f in folder.iterdir() if f.is_file()) if folder.is_dir() else []
        if unet_files.sets_among(names):
            names = list(unet_files.read_in(folder).all)
        for name in names:
            _check(folder / name)


def _check(file: Path) -> None:
    if file.suffix not in FILES:
        return
    with reading(file, "damaged or foreign file", MEND), open(file, "rb") as f:
        start, size = f.read(len(POINTER)), file.stat().st_size
        if start == POINTER:
            raise UserError("a pointer of Git LFS, not the weights", file, "run `git lfs pull` in its folder")
        if start.startswith(ZIP) and not zipfile.is_zipfile(file):
            raise UserError(f"it ends early, after {size} bytes", file, MEND)
        if file.suffix == ".safetensors" and (due := _length(file)) != size:
            raise UserError(f"it has {size} bytes, and its header tells of {due}", file, MEND)


def _length(file: Path) -> int:
    """Bytes that a safetensors file has by its header: the header's own length in 8 bytes, JSON, tensors."""
    with open(file, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if 8 + length > file.stat().st_size:
            return 8 + length
        header = json.loads(f.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + max(ends, default=0)
