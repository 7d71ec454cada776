"""What rules ask of their wildcards."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import groupby
from typing import Any


def one_of(names: Iterable[str]) -> str:
    """Pattern of a wildcard that matches exactly these names.

    What several names begin with stands once: Snakemake reads the whole pattern for every file of every job.
    """
    return _alternatives(sorted({*names})) or "(?!)"


def _alternatives(names: list[str]) -> str:
    return "|".join(_beginning_alike([*alike]) for _, alike in groupby(names, lambda name: name[:1]))


def _beginning_alike(names: list[str]) -> str:
    start = os.path.commonprefix(names)  # noqa: RUF071  of characters
    rest = f"(?:{_alternatives([name[len(start) :] for name in names])})" if len(names) > 1 else ""
    return re.escape(start) + rest


def lookup(dpath: str, within: Any) -> Any:
    """What stands at a path of keys; a function of a job's wildcards where the path names some.

    Snakemake's own takes patterns, too, and compares every key of the tree for each job: a quarter of the
    time of ``snakemake -n all``.

    Args:
        dpath: keys, joined by ``/``.
        within: nested dicts.

    Raises:
        LookupError: there is nothing at the path.
    """
    return _follow(dpath, within) if "{" not in dpath else _of_wildcards(dpath, within)


def _of_wildcards(dpath: str, within: Any) -> Callable[[Any], Any]:
    return lambda wildcards: _follow(dpath.format(**wildcards), within)


def _follow(dpath: str, within: Any) -> Any:
    try:
        return reduce(lambda known, key: known[key], dpath.split("/"), within)
    except KeyError:
        raise LookupError(f"no experiment makes this: nothing is known of {dpath}") from None
