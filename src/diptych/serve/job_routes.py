"""The interface for pictures that take longer than a request may: /v1/jobs."""

import asyncio
import errno
import shutil
import time
from pathlib import Path
from typing import Any, get_args

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, Response

from diptych.serve.api import Direction, Format, Quality, Strip, WorkingSize
from diptych.serve.bodies import CLOSE
from diptych.serve.house import MODEL, House
from diptych.serve.jobs import PICTURE, FullError, Job, Jobs
from diptych.serve.models import describe
from diptych.serve.options import Limits
from diptych.serve.pictures import MEDIA_TYPES
from diptych.serve.problems import Problem, of_error
from diptych.translate import Format as Written
from diptych.wording import brief

SLOWEST = 2**16  # bytes a second in which a picture must arrive, once `--timeout` is over
LATER = 60  # seconds after which to look for a place again
PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def router(house: House) -> APIRouter:
    """The routes of jobs, where the server takes any."""
    routes = APIRouter(prefix="/v1")
    if house.jobs:
        _add_jobs(routes, house, house.jobs)
    return routes


def _add_jobs(routes: APIRouter, house: House, jobs: Jobs) -> None:
    @routes.post(
        "/models/{name}/jobs", summary="A picture that takes its time", openapi_extra=PICTURE_BODY, status_code=202,
        response_class=Response,
    )  # fmt: skip
    async def ask(
        name: str, request: Request, direction: Direction = None, working_size: WorkingSize = None,
        format: Format = None, quality: Quality = None, strip_metadata: Strip = None,
    ) -> Response:  # fmt: skip
        served = house.catalogue.named(name)
        model = await house.opened(served, direction)
        if describe(name, model)["serves"] != "translate" or model.translator.mask_spec:
            raise Problem(422, f"{name}: makes no pictures of pictures alone, and nothing else goes as a job")
        if format not in (None, *get_args(Written)):
            raise Problem(422, f"format {brief(format, 40)!r}: {', '.join(get_args(Written))} are written")
        options = {
            "direction": model.direction, "working_size": working_size, "format": format, "quality": quality,
            "strip_metadata": bool(strip_metadata),
        }  # fmt: skip
        folder = await _arrived(request, jobs, house.limits)
        try:
            job = jobs.add(folder, served.name, served.run, options)
        except ValueError as error:
            jobs.remove(folder)
            raise Problem(415, of_error(error).detail) from error
        return JSONResponse(_described(job), 202, {"Location": f"/v1/jobs/{job.id}", MODEL: served.name})

    @routes.get("/jobs/{id}", summary="How far a job is")
    async def look(id: str) -> dict[str, Any]:
        return _described(_found(jobs, id))

    @routes.get("/jobs/{id}/result", summary="The picture of a job that is done", response_class=Response)
    async def fetch(id: str) -> Response:
        job = _found(jobs, id)
        if job.state == "failed":
            raise Problem(422, _described(job)["problem"])
        if job.state != "done":
            raise Problem(409, f"the job is {job.state}: {job.progress:.0%} done", {"Retry-After": "5"})
        file = jobs.result(job)
        return FileResponse(file, media_type=MEDIA_TYPES.get(file.suffix), headers={MODEL: job.model})

    @routes.delete("/jobs/{id}", summary="Cancels and forgets a job", status_code=204, response_class=Response)
    async def cancel(id: str) -> Response:
        await asyncio.to_thread(jobs.remove, jobs.folder / _found(jobs, id).id)
        return Response(status_code=204)


def _found(jobs: Jobs, id: str) -> Job:
    job = jobs.find(id)
    if not job:
        raise Problem(404, "there is no such job; results are kept for a day")
    return job


def _described(job: Job) -> dict[str, Any]:
    done = {"result": f"/v1/jobs/{job.id}/result", "notes": list(job.notes)} if job.state == "done" else {}
    failed = {"problem": of_error(ValueError(job.problem)).detail} if job.state == "failed" else {}
    doing = {"doing": job.doing} if job.doing else {}
    return {"id": job.id, "model": job.model, "state": job.state, "progress": job.progress, **doing, **done, **failed}


async def _arrived(request: Request, jobs: Jobs, limits: Limits) -> Path:
    """The folder of a new job, into which its picture was written as it came; a `Problem` where that is not possible."""
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdigit() else 0
    if declared > limits.max_job_bytes:
        raise _too_long(limits)
    if declared > shutil.disk_usage(jobs.folder).free:
        raise Problem(507, "the server has no room for so large a picture", CLOSE)
    try:
        folder = jobs.place()
    except FullError:
        said = "as many jobs are kept as may be; fetch and delete those that are done, or try again later"
        raise Problem(503, said, {"Retry-After": str(LATER)}) from None
    try:
        await _write(request, folder / PICTURE, limits)
    except BaseException:
        jobs.remove(folder)
        raise
    return folder


async def _write(request: Request, file: Path, limits: Limits) -> None:
    began, count, chunks = time.monotonic(), 0, request.stream()
    with file.open("wb") as opened:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), limits.timeout)
            except StopAsyncIteration:
                break
            except ClientDisconnect:
                raise Problem(400, "the client is gone") from None
            except TimeoutError:
                raise _too_slow() from None
            count += len(chunk)
            if count > limits.max_job_bytes:
                raise _too_long(limits)
            if (time.monotonic() - began - limits.timeout) * SLOWEST > count:
                raise _too_slow()
            try:
                await asyncio.to_thread(opened.write, chunk)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise Problem(507, "the server's disk is full", CLOSE) from error
                raise
    if not count:
        raise Problem(422, "the body is empty; send the bytes of a picture")


def _too_long(limits: Limits) -> Problem:
    return Problem(413, f"the body has more than {limits.max_job_bytes:,} bytes; send a smaller picture", CLOSE)


def _too_slow() -> Problem:
    return Problem(408, f"the body arrived more slowly than {SLOWEST:,} bytes a second", CLOSE)
