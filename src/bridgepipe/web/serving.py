"""From options to a page that answers: the socket, the folder, the networks, and the end of all three."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError, writing
from bridgepipe.photographs import editing, restoring
from bridgepipe.web.app import Page
from bridgepipe.web.guard import is_local
from bridgepipe.web.tasks import JPEG_QUALITY, Edit, Recolour, Restore, Task
from bridgepipe.web.visitors import Limits

TILE = 1024  # pixels of a tile's side, as by `bridgepipe restore`
SHIPPED = "Removes the blocks and rings of JPEG compression."


def serve(
    host: str,
    port: int,
    folder: Path | None,
    limits: Limits,
    results: Path,
    own: str | None,
    chosen: restoring.Chosen,
    speed: Runtime,
) -> None:
    """Answer until a signal comes.

    Args:
        folder: folder below which pictures lie meanwhile; None: a temporary one.
        results: folder of experiments, whose boundaries photographs are edited along.
        own: name of a person's own experiment or weights; None: the network of this package restores.
        chosen: the network that restores.
    """
    with _bound(host, port) as bound, _stopped_gently():
        boundaries = {place.name: place for place in editing.trained(results)}
        tasks: dict[str, Task] = {"restore": _restoration(chosen, speed)}
        tasks |= {"colours": Recolour(), "edit": Edit(boundaries, speed)}
        values: dict[str, Any] = {
            "restores": f"By {own}." if own else SHIPPED,
            "boundaries": list(boundaries),
        }
        with _place(folder) as place:
            page = Page(tasks, place, limits, values)
            if not is_local(host):
                warning = "can use this page: it asks for no password and encrypts nothing"
                print(f"bridgepipe: anyone who reaches {host} {warning}", file=sys.stderr)
            print(f"http://{_in_address(host)}:{bound.getsockname()[1]}", flush=True)
            print("Ctrl-C ends it", file=sys.stderr, flush=True)
            _answer(page.app(host), bound)


def _restoration(chosen: restoring.Chosen, speed: Runtime) -> Restore:
    """The network is loaded here."""
    restorer, how = restoring.start(chosen, speed)
    work = restoring.Work(restorer, how, None, TILE, JPEG_QUALITY, speed)
    return Restore(work, chosen.card.get("trained_for", {}))


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
