#!/usr/bin/env bash
# py-lmdb 3.0.0: a limit on file sizes (EFBIG) is reported as a plain input/output error.
#
# Expected: an error that names the limit, as any other writer gets: [Errno 27] File too large.
# Seen:     lmdb.Error with "Input/output error", the same text as for a disk that fails.
#
# Output on Linux, Python 3.11:
#   a plain file: [Errno 27] File too large
#   py-lmdb 3.0.0: Error mdb_txn_commit: Input/output error
#
# Exits non-zero when the behaviour changes. Needs python3 with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lmdb==3.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import resource
import signal
import sys

import lmdb

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the limit is then an error of write, not a signal
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    open("plain", "wb", buffering=0).write(bytes(100_000))
    open("plain", "ab", buffering=0).write(bytes(1))
except OSError as e:
    print("a plain file:", e)
env = lmdb.open("store.lmdb", subdir=False, lock=False, map_size=1 << 24)
try:
    with env.begin(write=True) as transaction:
        for key in range(100):
            transaction.put(b"%d" % key, bytes(4000))
except lmdb.Error as e:
    print(f"py-lmdb {lmdb.__version__}:", type(e).__name__, e)
    sys.exit(0 if "Input/output error" in str(e) else "the message has changed")
sys.exit("nothing was reported")
PYTHON
