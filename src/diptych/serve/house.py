"""What all routes of a server share: its models, its work, and how a request goes through them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from diptych.model import Model
from diptych.serve import pictures
from diptych.serve.bodies import Bodies, Body, take_apart
from diptych.serve.jobs import Computing, Jobs
from diptych.serve.metrics import Metrics
from diptych.serve.models import Catalogue, ServedModel, Tell, direction_of
from diptych.serve.options import Options
from diptych.serve.pictures import Answer, Wish
from diptych.serve.problems import Problem, of_error
from diptych.serve.work import BusyError, Work

T = TypeVar("T")
NOTES = "X-Diptych-Note"
MOST_NOTES = 8
STEP, MODEL = "X-Diptych-Step", "X-Diptych-Model"
FORMATS = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "tiff": "image/tiff"}
TRUE = ("1", "true", "yes", "on")


class House:
    """The server behind its routes."""

    def __init__(self, options: Options, tell: Tell) -> None:
        self.options, self.limits = options, options.limits
        self.catalogue = Catalogue(options, tell)
        self.metrics = Metrics()
        self.work = Work(self.limits.queue, self.limits.max_batch, self.metrics.computed)
        self.metrics.watch(lambda: self.work.taken)
        self.bodies = Bodies(self.limits)
        computing = Computing(options.device, options.precision, options.runtime)
        self.jobs = Jobs(options.jobs, computing) if options.jobs else None

    # ---- a request with a body

    async def answered(
        self, request: Request, answer: Callable[[Body], Awaitable[Response]], raw: bool = False
    ) -> Response:
        """Reads the body of a request and answers it: in its place, within the time, while its client is there."""
        self.bodies.require_length(request)
        try:
            with self.work.place() as place:
                async with self.bodies.read(request, place) as data:
                    content_type = request.headers.get("content-type", "")
                    body = Body(files=[("", "", data)]) if raw else await take_apart(data, content_type)
                    return await self._while_connected(request, answer(body))
        except BusyError as error:
            raise Problem(503, str(error), {"Retry-After": str(error.seconds)}) from error

    async def _while_connected(self, request: Request, answer: Awaitable[T]) -> T:
        """The answer; it is given up when the client is gone, or when it takes too long."""
        working = asyncio.ensure_future(answer)
        leaving = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({working, leaving}, timeout=self.limits.timeout, return_when="FIRST_COMPLETED")
            if working.done():
                return working.result()
            if leaving.done():
                raise Problem(400, "the client is gone")
            seconds = str(self.work.retry_after)
            late = f"no answer within {self.limits.timeout:g} s, so many are waiting; try again in {seconds} s"
            raise Problem(503, late, {"Retry-After": seconds})
        except ValueError as error:
            raise of_error(error) from error
        finally:
            working.cancel()
            leaving.cancel()

    # ---- models

    async def opened(self, served: ServedModel, direction: str | None = None) -> Model:
        """A model as it is now; a `Problem` where it cannot be opened."""
        way = direction_of(direction)
        model = served.unchanged(way)
        try:
            if model is None:
                model = await asyncio.to_thread(served.current, way)
        except ValueError as error:
            status = 422 if served.is_open else 503
            raise Problem(status, of_error(error).detail) from error
        self.metrics.step(served.name, model.step)
        return model

    # ---- pictures

    async def translated(self, served: ServedModel, wish: Wish, direction: str | None = None) -> Response:
        """The picture that a wish asks for."""
        model = await self.opened(served, direction)
        answer: Answer = await self.work.through(
            partial(pictures.read, model, wish, self.limits.max_pixels),
            partial(pictures.job, model),
            partial(pictures.write, model, wish),
        )
        self.metrics.picture(served.name)
        return Response(answer.data, media_type=answer.media_type, headers=headers_of(served, model, answer.notes))


def headers_of(served: ServedModel, model: Model, notes: list[str]) -> dict[str, str]:
    """Which model answered, and what there is to say of the answer."""
    line = "; ".join(notes[:MOST_NOTES]).encode("ascii", "replace").decode()
    return {MODEL: served.name, STEP: str(model.step), **({NOTES: line[:1000]} if line else {})}


async def _gone(request: Request) -> None:
    """Returns when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


# ---- what a request asks for


def wish_of(request: Request, body: Body, accept: tuple[str, ...] | None = None) -> Wish:
    """The wish of a request: its picture, and its parameters in the address or beside the picture."""
    given = {**body.fields, **request.query_params}
    return Wish(
        picture=body.picture(),
        mask=body.mask(),
        blend=str(given.get("blend", "none")),  # type: ignore[arg-type]  # the translator says which there are
        working_size=number(given, "working_size"),
        quality=number(given, "quality"),
        strip_metadata=str(given.get("strip_metadata", "")).lower() in TRUE,
        accept=accepted(request, given) if accept is None else accept,
    )


def number(given: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    """A whole number among the parameters; a `Problem` for what is none."""
    value = given.get(name)
    if value is None or value == "":
        return default
    try:
        if isinstance(value, bool) or len(str(value)) > 20:
            raise ValueError
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise Problem(422, f"{name} {str(value)[:40]!r}: a whole number is expected") from None


def accepted(request: Request, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The media types that a client takes, the preferred one first, by `format` or the header `Accept` (RFC 9110)."""
    if name := str(given.get("format") or "").lower():
        if name not in FORMATS:
            raise Problem(422, f"format {name[:40]!r}: {', '.join(FORMATS)} are written")
        return (FORMATS[name],)
    weighed = []
    for entry in request.headers.get("accept", "").split(","):
        media, _, parameters = entry.strip().lower().partition(";")
        weight = parameters.replace(" ", "").removeprefix("q=") if parameters else "1"
        try:
            weighed.append((-float(weight), media.strip()))
        except ValueError:
            weighed.append((-1.0, media.strip()))
    return tuple(media for weight, media in sorted(weighed, key=lambda one: one[0]) if media and weight)
