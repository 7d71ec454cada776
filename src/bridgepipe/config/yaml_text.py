"""The bytes of a params file as text, refused where they are none."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from bridgepipe.errors import UserError

MAX_BYTES = 2**20


def text_of(path: Path, name: str) -> str:
    raw = _bytes(path, name)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError("text in UTF-16", f"{name}:1:1", "save the file as UTF-8")
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as e:
        before = raw[: e.start].decode("utf8", "replace")
        where = _place(name, before, len(before))
        raise UserError(f"not UTF-8: byte 0x{raw[e.start]:02x}", where, "save the file as UTF-8") from None
    if bad := NOT_TEXT.search(text):
        raise UserError(
            f"control character U+{ord(bad[0]):04X}", _place(name, text, bad.start()), "remove it"
        )
    return text


# what YAML allows in a file, without the line breaks that only YAML 1.1 knows
NOT_TEXT = re.compile(r"[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")


def _bytes(path: Path, name: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would keep us waiting
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise UserError(kind, name, "give the params.yaml itself")
        with path.open("rb") as f:
            raw = f.read(MAX_BYTES + 1)
    except FileNotFoundError as e:
        raise UserError("no such file", name, "run from the project folder or give --params") from e
    except (OSError, ValueError) as e:
        raise UserError(f"cannot read: {getattr(e, 'strerror', None) or e}", name, "make it readable") from e
    if len(raw) > MAX_BYTES:
        raise UserError("larger than 1 MiB", name, "start from the params.yaml of the repository")
    return raw


def _place(name: str, text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"{name}:{line}:{position - text.rfind(chr(10), 0, position)}"
