"""Verb for people: a local web page that restores photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone
from bridgepipe.errors import UserError

MOST_PIXELS = 178  # millions; Pillow opens no larger file


@groups.people.verb()
def serve(
    host: Annotated[
        str, typer.Option(help="address; any but this machine's own lets others in")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8000,
    folder: Annotated[
        Path | None, typer.Option(help="where pictures lie meanwhile; default: temporary, deleted at the end")
    ] = None,
    results: Annotated[Path, typer.Option(help="folder of experiments")] = Path("results"),
    experiment: Annotated[str | None, typer.Option(help="one that you trained, METHOD/NAME")] = None,
    model: Annotated[Path | None, typer.Option(help="weights, with their card beside them")] = None,
    megabytes: Annotated[float, typer.Option(min=0.001, help="of a picture, at most")] = 50,
    megapixels: Annotated[float, typer.Option(min=0.001, max=MOST_PIXELS, help="of a picture, at most")] = 40,
    queue: Annotated[int, typer.Option(min=1, help="pictures that wait, at most")] = 8,
    run: Alone = Alone(),
) -> None:
    """Serve a web page on this machine: drop a photograph, see before and after, download the result.

    Nothing leaves the machine. Ctrl-C ends it.
    """
    _needs_libraries()
    from bridgepipe.photographs import restoring

    chosen = restoring.choose(experiment, results, model)
    speed = run.start(quick=True)
    from bridgepipe.web import serving
    from bridgepipe.web.visitors import Limits

    own = experiment or (None if model is None else model.name)
    limits = Limits(bytes=int(megabytes * 1e6), pixels=int(megapixels * 1e6), waiting=queue)
    serving.serve(host, port, folder, limits, results, own, chosen, speed)


def _needs_libraries() -> None:
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as e:
        mend = "pip install 'bridgepipe[serve]'"
        raise UserError(f"{e.name} is missing", "bridgepipe serve", mend) from None
