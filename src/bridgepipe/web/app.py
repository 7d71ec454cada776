"""The page over HTTP: its routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from bridgepipe.errors import UserError, writing
from bridgepipe.names import Json
from bridgepipe.photographs import comparison, pictures
from bridgepipe.photographs.files import Photo, looked_at
from bridgepipe.web.guard import Guard
from bridgepipe.web.queue import Job, Queue, Report
from bridgepipe.web.refusals import NOT_FOUND, TOO_LARGE, Refused, status_of
from bridgepipe.web.tasks import Task
from bridgepipe.web.visitors import Limits, Upload, Visitor, Visitors

ASKED = 10_000  # bytes of a request without a picture
NAME = 100  # characters of a picture's name
SWEPT = 30.0  # seconds between two looks for what is too old
STATIC = {"page.css": "text/css", "page.js": "text/javascript", "page.svg": "image/svg+xml"}


@dataclass(frozen=True)
class Result:
    """A result in the folder: its files, and the name that it is downloaded under."""

    name: str
    file: Path
    before: Path | None
    notes: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        return [file for file in (self.file, self.before) if file is not None]


class Page:
    """The page, for ASGI servers.

    Args:
        tasks: tasks by name.
        folder: folder in which pictures and results lie while they are kept.
        limits: limits of what visitors may ask for.
        values: further values of the template.
    """

    def __init__(
        self, tasks: Mapping[str, Task], folder: Path, limits: Limits, values: Mapping[str, Any]
    ) -> None:
        self._tasks, self._values = tasks, values
        self.visitors = Visitors(folder, limits)
        self._queue = Queue(limits.waiting, limits.each)
        self._looking = anyio.CapacityLimiter(1)  # pictures are decoded one by one, so that memory is bounded
        self._templates = Environment(
            loader=PackageLoader("bridgepipe.web", "page"), autoescape=True, undefined=StrictUndefined
        )

    def app(self, host: str) -> Starlette:
        """The application, as bound to a host."""
        routes = [
            Route("/", self._page),
            *(Route(f"/{name}", self._static) for name in STATIC),
            Route("/pictures", self._upload, methods=["POST"]),
            Route("/pictures/{picture}", self._view_picture),
            Route("/jobs", self._begin, methods=["POST"]),
            Route("/jobs/{job}", self._progress),
            Route("/jobs/{job}", self._stop, methods=["DELETE"]),
            Route("/jobs/{job}/file", self._download),
            Route("/jobs/{job}/{side:str}", self._view_result),
        ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(Guard, host=host)],
            exception_handlers={UserError: _refused, HTTPException: _no_such_page, ClientDisconnect: _gone},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(min(SWEPT, self.visitors.limits.age))
                self.visitors.sweep()

        sweeping = asyncio.create_task(sweep())
        try:
            with self._queue:
                yield
        finally:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
            self.visitors.close()

    # the page itself

    async def _page(self, request: Request) -> Response:
        limits = self.visitors.limits
        template = self._templates.get_template("page.html")
        text = template.render(tasks=self._tasks, limits=limits, too_large=limits.too_large, **self._values)
        response = Response(text, media_type="text/html")
        cookie = _cookie(request)
        if not self.visitors.knows(request.cookies.get(cookie)):
            response.set_cookie(cookie, self.visitors.new(), path="/", httponly=True, samesite="strict")
        return response

    async def _static(self, request: Request) -> Response:
        name = request.url.path.lstrip("/")
        text = self._templates.loader.get_source(self._templates, name)[0]  # type: ignore[union-attr]
        return Response(text, media_type=STATIC[name])

    # pictures

    async def _upload(self, request: Request) -> Response:
        visitor = self._visitor(request)
        name = shown_name(request.query_params.get("name", ""))
        with self.visitors.arriving() as file:
            await self._receive(request, file)
            photo = await self._in_thread(self._looked_at, file, name)
        key = self.visitors.keep_picture(visitor, photo, file)
        height, width = photo.shape[:2]
        return JSONResponse(
            {"id": key, "name": name, "width": width, "height": height, "remarks": list(photo.remarks)},
            status_code=201,
        )

    async def _receive(self, request: Request, file: Path) -> None:
        """Write the body of a request into a file, as far as it may be large."""
        size, limits = 0, self.visitors.limits
        with open(file, "xb") as out:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.bytes:
                    raise limits.too_large
                self.visitors.count(file, size)
                out.write(chunk)

    def _looked_at(self, file: Path, name: str) -> Photo:
        """What a file holds.

        Raises:
            UserError: no picture, or one with too many pixels.
        """
        content = file.read_bytes()
        self.visitors.limits.check_pixels(*pictures.size_of(content, name), name)
        (photo,) = looked_at([Photo(Path(name), Path(name), content)], None)
        # some files say one, hold another
        self.visitors.limits.check_pixels(photo.shape[1], photo.shape[0], len(photo.works), name)
        return replace(photo, content=b"")  # never None: then its name would be opened

    async def _view_picture(self, request: Request) -> Response:
        upload = self._visitor(request).picture(request.path_params["picture"])
        return await self._view(upload.file)

    async def _view(self, file: Path) -> Response:
        """A picture as every browser shows it."""
        kind, content = await self._in_thread(lambda: comparison.for_browsers(file.read_bytes()))
        return Response(content, media_type=f"image/{kind}")

    # work

    async def _begin(self, request: Request) -> Response:
        visitor, asked = self._visitor(request), await _asked(request)
        task = self._tasks.get(asked["task"]) if isinstance(asked.get("task"), str) else None
        if task is None:
            raise UserError("unknown task", "task", f"give one of: {', '.join(self._tasks)}")
        named = asked.get("pictures")
        if not isinstance(named, list) or len(named) != task.pictures:
            raise UserError("not as many pictures as this takes", "pictures", f"give {task.pictures}")
        job = self._job(
            visitor, asked["task"], [visitor.picture(name) for name in named], asked.get("options")
        )
        self._queue.add(job)
        return JSONResponse({"id": self.visitors.keep_job(visitor, job)}, status_code=202)

    def _job(self, visitor: Visitor, kind: str, uploads: list[Upload], options: Any) -> Job:
        task = self._tasks[kind]
        try:
            chosen = task.options.model_validate({} if options is None else options)
        except ValidationError as e:
            wrong = e.errors()[0]
            where = ".".join(map(str, wrong["loc"])) or "options"
            raise UserError(wrong["msg"].lower(), where, "choose another value") from None

        def run(report: Report) -> Result:
            with writing("page", "read"):
                photos = [replace(upload.photo, content=upload.file.read_bytes()) for upload in uploads]
            made = task.run(photos, chosen, report)
            report(0.0)  # nothing is kept for a visitor who is gone
            suffix = Path(made.name).suffix
            before = None if made.before is None else self.visitors.write(made.before, ".png")
            return Result(made.name, self.visitors.write(made.content, suffix), before, tuple(made.notes))

        return Job(run, visitor, kind, task.work([upload.photo for upload in uploads], chosen))

    async def _progress(self, request: Request) -> Response:
        job = self._visitor(request).job(request.path_params["job"])
        answer: Json = {"state": job.state}
        if job.state == "waiting":
            answer["ahead"] = self._queue.ahead(job)
        elif job.state == "working":
            answer |= {"share": job.share, "left": self._queue.seconds_left(job)}
        elif job.state == "done":
            answer |= {
                "name": job.result.name,
                "notes": job.result.notes,
                "own": job.result.before is not None,
            }
        elif job.state == "failed":
            answer["error"] = job.error
        return JSONResponse(answer)

    async def _stop(self, request: Request) -> Response:
        self._visitor(request).job(request.path_params["job"]).stop()
        return Response(status_code=204)

    async def _download(self, request: Request) -> Response:
        result = self._result(request)
        named = f"attachment; filename*=UTF-8''{quote(result.name, safe='')}"
        headers = {"content-disposition": named}
        return FileResponse(result.file, media_type="application/octet-stream", headers=headers)

    async def _view_result(self, request: Request) -> Response:
        result = self._result(request)
        file = {"before": result.before, "after": result.file}.get(request.path_params["side"])
        if file is None:
            raise HTTPException(NOT_FOUND)
        return await self._view(file)

    def _result(self, request: Request) -> Result:
        job = self._visitor(request).job(request.path_params["job"])
        if job.state != "done":
            raise Refused(NOT_FOUND, "there is no result yet", "page", "wait until it is done")
        return job.result

    def _visitor(self, request: Request) -> Visitor:
        return self.visitors.find(request.cookies.get(_cookie(request)))

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(call, *arguments, limiter=self._looking)


def shown_name(name: str) -> str:
    """A name that a visitor gave, for messages and downloads; no file is ever opened or written by it."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(c for c in last if c.isprintable()).strip().lstrip(".")
    stem, dot, suffix = plain.rpartition(".")
    return (stem[:NAME] + dot + suffix[:NAME]) or "picture"


def _cookie(request: Request) -> str:
    """Its name; browsers send a cookie to all ports of a host."""
    return f"bridgepipe-{request.scope['server'][1]}"


async def _asked(request: Request) -> Json:
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > ASKED:
            raise Refused(TOO_LARGE, "the request is too long", "page", "load the page again")
    with suppress(ValueError, RecursionError):
        if isinstance(asked := json.loads(content), dict):
            return asked
    raise UserError("not a JSON object", "request", "load the page again")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    return JSONResponse({"error": str(error)}, status_code=status_of(error))


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    line = UserError(error.detail.lower(), request.url.path, "load the page again")
    return JSONResponse({"error": str(line)}, status_code=error.status_code)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)
