#!/usr/bin/env bash
# py-lmdb 3.0.0: the same entries in the same transactions give another file when it was reopened between them.
#
# Expected: files of the same bytes, which tools that compare content (DVC, checksums of datasets) rely on; or a word
#           in the documentation that an environment that stays open leaves bytes of earlier pages in free space.
# Seen:     all entries are equal, and so is the length of the file, but tens of thousands of bytes differ. Written
#           twice in the same way, the file is the same. So a writer that goes on after a stop has to close and open
#           the environment at every transaction of the first run, too, if its file is to be that of an undisturbed one.
#
# Output on Linux, Python 3.11:
#   py-lmdb 3.0.0
#   entries equal: True, lengths equal: True
#   bytes that differ, kept open against reopened: 58923
#   bytes that differ, kept open twice: 0
#
# Exits non-zero when the behaviour changes. Needs python3 with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lmdb==3.0.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import hashlib
import sys
from pathlib import Path

import lmdb

FOLDER = Path(sys.argv[1])
TRANSACTIONS, EACH = 4, 2000


def opened(path):
    return lmdb.open(str(path), subdir=False, lock=False, sync=False, map_size=1 << 28)


def written(name, reopen):
    """The entries and the bytes of a file."""
    env = opened(FOLDER / name)
    for start in range(0, TRANSACTIONS * EACH, EACH):
        with env.begin(write=True) as txn:
            for number in range(start, start + EACH):
                key = b"%08d" % number
                txn.put(key, hashlib.sha256(key).digest() * 100, append=True)
        if reopen:
            env.close()
            env = opened(FOLDER / name)
    with env.begin() as txn:
        entries = list(txn.cursor())
    env.close()
    return entries, (FOLDER / name).read_bytes()


def differing(one, other):
    return sum(a != b for a, b in zip(one, other))


(kept, kept_bytes), (reopened, reopened_bytes) = written("kept", False), written("reopened", True)
_, again = written("again", False)
between = differing(kept_bytes, reopened_bytes)
print("py-lmdb", lmdb.__version__)
print(f"entries equal: {kept == reopened}, lengths equal: {len(kept_bytes) == len(reopened_bytes)}")
print("bytes that differ, kept open against reopened:", between)
print("bytes that differ, kept open twice:", differing(kept_bytes, again))
sys.exit(not (kept == reopened and between > 0 and kept_bytes == again))
PYTHON
