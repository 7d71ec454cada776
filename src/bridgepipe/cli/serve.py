"""Verb for people: a local web page that restores photographs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone
from bridgepipe.errors import UserError, writing

if TYPE_CHECKING:
    from starlette.applications import Starlette

MOST_PIXELS = 178  # millions; Pillow opens no larger file
TILE = 1024  # pixels of a tile's side, as by `bridgepipe restore`

SHIPPED = "Removes the blocks and rings of JPEG compression."


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
    from bridgepipe.web.app import Page, is_local
    from bridgepipe.web.visitors import Limits

    with _bound(host, port) as bound, _stopped_gently():
        limits = Limits(bytes=int(megabytes * 1e6), pixels=int(megapixels * 1e6), waiting=queue)
        tasks = _tasks(run, experiment, results, model)
        with _place(folder) as place:
            own = experiment or (model and model.name)
            told = {"age": "an hour", "boundaries": [], "restores": f"By {own}." if own else SHIPPED}
            page = Page(tasks, place, limits, told)
            if not is_local(host):
                warning = "can use this page: it asks for no password and encrypts nothing"
                print(f"bridgepipe: anyone who reaches {host} {warning}", file=sys.stderr)
            print(f"http://{_in_address(host)}:{bound.getsockname()[1]}", flush=True)
            print("Ctrl-C ends it", file=sys.stderr, flush=True)
            _answer(page.app(host), bound)


def _needs_libraries() -> None:
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as e:
        raise UserError(
            f"{e.name} is missing", "bridgepipe serve", "pip install 'bridgepipe[serve]'"
        ) from None


def _tasks(run: Alone, experiment: str | None, results: Path, model: Path | None) -> dict[str, Any]:
    """What the page can do; the network is loaded here."""
    from bridgepipe.photographs import restoring
    from bridgepipe.web.tasks import JPEG_QUALITY, Recolour, Restore

    speed = run.start()
    chosen = restoring.choose(experiment, results, model)
    restorer, how = restoring.start(chosen, speed)
    trained_for = chosen.card.get("trained_for", {})
    work = restoring.Work(restorer, how, None, TILE, JPEG_QUALITY, speed)
    return {"restore": Restore(work, trained_for), "colours": Recolour()}


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens, before any work is spent.

    Raises:
        UserError: the address is none of this machine's, or taken.
    """
    where = f"{host}:{port}"
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
    except OSError as e:
        of_system = e.strerror if isinstance(e, socket.gaierror) else os.strerror(e.errno or 0)
        what = f"cannot listen: {of_system}"
        raise UserError(what, where, "give another --port, or an address of this machine to --host") from None
    with listening:
        yield listening


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """An empty folder that nobody else may read: below the one that was given, or one that is deleted."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="bridgepipe-serve-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix="bridgepipe-serve-", dir=folder))
    try:
        yield place
    finally:
        with suppress(OSError):  # results that are not too old stay
            place.rmdir()


@contextmanager
def _stopped_gently() -> Iterator[None]:
    """Ctrl-C, and the same by another process, end the block."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _answer(app: Starlette, bound: socket.socket) -> None:
    """Answer requests until a signal comes."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=2,
        limit_concurrency=100,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[bound])
