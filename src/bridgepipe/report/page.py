"""The page: experiments and tables through one template, with style and script inside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import __version__, artifacts
from bridgepipe.config.outcomes import Outcomes
from bridgepipe.config.resolved import Resolved
from bridgepipe.errors import UserError
from bridgepipe.evaluation import one_table, published_table
from bridgepipe.evaluation.one_table import Block
from bridgepipe.evaluation.published_table import Place
from bridgepipe.evaluation.repeats import pooled
from bridgepipe.names import seeds
from bridgepipe.report import costs, experiments, findings, pictures
from bridgepipe.report.experiments import Shown
from bridgepipe.report.findings import Finding
from bridgepipe.runtime.progress import Progress

if TYPE_CHECKING:
    from jinja2 import Environment

SIZE = "{size of the page}"  # stands in the page until its size is known
WORDS = {
    "i2sb": "Restoration by Schrödinger bridges (I2SB)",
    "model": "Trained diffusion models",
    "guide": "Classifiers that guide",
    "spd": "Samples",
    "boundary": "Edits across boundaries (BoundaryDiffusion)",
    "ddib/sample": "Points: samples of domains",
    "ddib/cloud": "Points: models of colours",
    "ddib/points": "Translated points (DDIB)",
    "ddib/color": "Colour transfer (DDIB)",
    "ddib/classes": "Translated images (DDIB)",
}


def write(output: Path, resolved: Resolved, names: list[str]) -> None:
    """Write the report of the results that are there.

    Args:
        output: HTML file to write; the same results give the same bytes.
        resolved: Parameters; results lie in ``results/``.
        names: Names of the experiments.

    Raises:
        UserError: a damaged file, nothing to show, or no jinja2.
    """
    environment = _environment()
    found = _shown(resolved, names)
    if not found:
        raise UserError("nothing was made yet", "results", f"run snakemake, or bridgepipe plan {names[0]}")
    made = {one.name for one in found}
    page = environment.get_template("report.html").render(**_context(resolved, found, names, made))
    artifacts.write_text(output, _with_size(page))


def write_table(output: Path, blocks: Sequence[Block], published: Sequence[Place]) -> None:
    """Write the one table of all results, and published numbers, as a page of its own."""
    context = _of_table(blocks, published)
    page = _environment().get_template("report.html").render(**context, title="All results")
    artifacts.write_text(output, _with_size(page))


def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        mend = "pip install 'bridgepipe[workflow]'"
        raise UserError("jinja2 is missing", "bridgepipe report", mend) from None
    made = Environment(
        loader=PackageLoader("bridgepipe.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"slug": _slug, "duration": _duration}
    made.globals |= {
        "published_table": published_table,
        "asset": _asset,
        "version": __version__,
        "columns_of": _columns,
        "size": SIZE,
    }
    return made


def _shown(resolved: Resolved, names: Sequence[str]) -> list[Shown]:
    outcomes, found = Outcomes(resolved), []
    with Progress(len(names), 0, "report", "experiment") as progress:
        for name in names:
            found.append(experiments.shown(resolved, name, outcomes.results(name)))
            progress.after(1)
    return [one for one in found if one is not None]


def _context(resolved: Resolved, found: list[Shown], names: list[str], made: set[str]) -> dict[str, Any]:
    """What the template shows."""
    blocks = one_table.blocks([reading for one in found for reading in one.readings])
    leading = findings.best([one for one in _findings(found) if one], blocks)
    compared = [one for one in found if one.pairs]
    led = [one for one in compared if one.name in {finding.experiment for finding in leading}]
    shared = costs.read(Path("results"))
    files = [
        Path(file)
        for file in Outcomes(resolved).metrics(*(one.name for one in found))
        if Path(file).is_file()
    ]
    return {
        **_of_table(blocks, published_table.read(files)),
        "title": "Results",
        "scale": resolved.params.scale,
        "made": len(found),
        "findings": leading,
        "hero": next(iter(led or compared), None),
        "first": next((one for one in found if one.figures), None),
        "methods": [
            (method, WORDS[method], pictures.figures(Path("results", method), method), list(of))
            for method, of in groupby(found, _method)
        ],
        "missing": [name for name in names if name not in made],
        "shared": shared,
        "total": costs.total([cost for one in found for cost in one.costs] + shared),
        "watts": (costs.WATTS_PER_CORE, costs.WATTS_PER_GB),
        "on_gpu": any(one.on_gpu for one in found),
    }


def _findings(found: Sequence[Shown]) -> list[Finding | None]:
    """What each experiment says, together with its repeats under other seeds."""
    together: dict[str, list[Shown]] = {}
    for one in found:
        together.setdefault(seeds.repeated(one.name), []).append(one)
    return [
        findings.finding(of[0].name, pooled([r for one in of for r in one.readings])) or of[0].finding
        for of in together.values()
    ]


def _of_table(blocks: Sequence[Block], published: Sequence[Place]) -> dict[str, Any]:
    """The tables, and no experiments."""
    none: dict[str, Any] = {"findings": [], "hero": None, "first": None, "methods": [], "missing": []}
    more: dict[str, Any] = {
        "shared": [],
        "total": None,
        "watts": None,
        "on_gpu": False,
        "scale": "",
        "made": 0,
    }
    return {**none, **more, "blocks": blocks, "notes": one_table.notes_of(blocks), "published": published}


def _method(one: Shown) -> str:
    return one.name.rsplit("/", 1)[0]


def _with_size(page: str) -> str:
    megabytes = len(page.encode()) / 1e6
    return page.replace(SIZE, f"{megabytes:.1f} MB" if megabytes >= 0.1 else "under 0.1 MB")


def _columns(blocks: Sequence[Block]) -> list[str]:
    """Columns of the one table that some row of the blocks fills."""
    return one_table.columns_of([row for block in blocks for row in block.rows()])


def _asset(name: str) -> Any:
    """Style or script of the page, which stand in it as they are."""
    from markupsafe import Markup

    return Markup((Path(__file__).parent / "assets" / name).read_text(encoding="utf8"))


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
