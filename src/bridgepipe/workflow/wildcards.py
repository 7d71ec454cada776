"""What rules ask of their wildcards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any


def one_of(names: Iterable[str]) -> str:
    """Pattern of a wildcard that matches exactly these names."""
    return "|".join(sorted(map(re.escape, names))) or "(?!)"


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
