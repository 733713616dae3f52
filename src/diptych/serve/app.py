"""The application: the routes of a server behind its gate."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from diptych.serve import aliases, api, health, job_routes, kserve, pages
from diptych.serve.gate import Gate
from diptych.serve.house import House
from diptych.serve.options import Options
from diptych.serve.problems import Problem, of_error
from diptych.wording import brief, printable


def write_line(line: str) -> None:
    """A line of the log."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def build(options: Options) -> ASGIApp:
    """The application of one process, with its models open, unless they are to be opened at their first use.

    A `ValueError` for a model that cannot be opened.
    """
    house = House(options, lambda line: write_line(printable(f"diptych: {line}")))
    house.catalogue.open_all()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if house.jobs:
            house.jobs.start()
        yield
        house.work.close()
        if house.jobs:
            house.jobs.close()

    app = FastAPI(
        title="Diptych", version=version("diptych"), lifespan=life, docs_url=None, redoc_url=None,
        description="Pictures through trained models.",
    )  # fmt: skip
    for route in (api, job_routes, aliases, kserve, health):
        app.include_router(route.router(house))
    if options.page:
        app.include_router(pages.router(house, app))
    _answer_problems(app, options.documentation)
    return Gate(app, options, house.metrics, write_line)


def _answer_problems(app: FastAPI, documentation: str) -> None:
    """Whatever goes wrong is answered by problem details, which name the address of the `documentation`."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(ValueError)
    async def value(_: Request, error: ValueError) -> Response:
        return of_error(error).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is nothing at {brief(request.url.path, 80)}; {documentation} says what there is"
        return Problem(error.status_code, detail, error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return Problem(422, brief(f"{where} {first.get('input')!r}: {first['msg']}", 200)).response()
