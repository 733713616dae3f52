"""Serve trained models: a page for people, an interface for programs."""

import ipaddress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from diptych.devices import Device, Precision
from diptych.progress import say
from diptych.runtimes.sessions import Runtime

NEEDED = {
    "fastapi": "fastapi", "uvicorn": "uvicorn", "multipart": "python-multipart", "prometheus_client": "prometheus-client"
}  # fmt: skip
"""The modules of the extra `serve`, and their packages."""


def serve(
    *runs: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    lazy: bool = False,
    workers: int = 1,
    queue: int = 64,
    max_batch: int = 8,
    max_bytes: int = 20_000_000,
    max_pixels: int = 16_000_000,
    timeout: float = 60,
    jobs: Path | str | None = None,
    max_job_bytes: int = 4_000_000_000,
    api_key_file: Path | str | None = None,
    allow_origin: str | None = None,
    no_page: bool = False,
    no_access_log: bool = False,
    device: Device = "auto",
    precision: Precision = "auto",
    runtime: Runtime | None = None,
    console: Console | None = None,
) -> None:
    """Serves trained models on an address, which it prints, until it is interrupted.

    A request that was taken is answered before the end. A run that trains is opened again when its model has changed.
    Raises a `ValueError` for no model, one that cannot be opened, two of one name, an address that cannot be had, and
    missing packages.

    Args:
        runs: The folder of a run, a model folder, `hub:OWNER/NAME` or an exported file, as RUN or NAME=RUN; or several.
        host: The address to listen on; 0.0.0.0 for other machines too.
        port: The port to listen on; 0 takes a free one.
        lazy: Open each model at its first use, not at the start.
        workers: Processes, each with its own copy of the models.
        queue: Requests that may wait or be worked on in each process; others are told to try again later.
        max_batch: Pictures of one size that go through the network together; 1 gives the very bytes of `translate`.
        max_bytes: The largest request.
        max_pixels: The largest picture.
        timeout: Seconds for a request to arrive, and again for its answer.
        jobs: A new folder: pictures of any size are taken as jobs too, which go through their model one after the other,
            and whose results are kept in this folder for a day.
        max_job_bytes: The largest picture of a job.
        api_key_file: A file of keys, one per line; every request must have one of them.
        allow_origin: Another site whose pages may use the server, such as https://example.org; or several, with commas.
            Also the address under which a proxy on this machine offers it.
        no_page: Serve the interface for programs alone.
        no_access_log: Write no line for each request to stderr.
        device: Where to run.
        precision: auto is fp32; bf16 is faster and off by some levels.
        runtime: What computes the networks; without it, torch. onnxruntime and openvino run on the CPU.
    """
    if missing := [package for module, package in NEEDED.items() if find_spec(module) is None]:
        raise ValueError(f"serve: needs {', '.join(missing)}; install them: pip install 'diptych[serve]'")
    from diptych.serve import keys, running
    from diptych.serve.options import Limits, Options, named, origins_from

    for name, value, least in (
        ("queue", queue, 1), ("max-batch", max_batch, 1), ("max-bytes", max_bytes, 1), ("max-pixels", max_pixels, 1),
        ("timeout", timeout, 1), ("workers", workers, 1), ("max-job-bytes", max_job_bytes, 1),
    ):  # fmt: skip
        if not value >= least:
            raise ValueError(f"--{name} {value}: {least} or more is expected")
    options = Options(
        models=named(runs),
        limits=Limits(queue, max_batch, max_bytes, max_pixels, timeout, max_job_bytes),
        lazy=lazy,
        device=device,
        precision=precision,
        runtime=runtime,
        keys=keys.read_keys(Path(api_key_file)) if api_key_file else frozenset(),
        origins=origins_from(allow_origin or ""),
        jobs=Path(jobs).absolute() if jobs else None,
        page=not no_page,
        access_log=not no_access_log,
    )
    console = console or Console(stderr=True)
    listening = running.open_socket(host, port)
    address = listening.getsockname()[0].partition("%")[0]
    if ipaddress.ip_address(address).is_loopback:
        options = replace(options, hosts=running.local_names(host, address, options.origins))
    elif not options.keys:
        say(console, f"--host {host}: whoever reaches this machine may ask; --api-key-file lets in those with a key")

    def started() -> None:
        names = ", ".join(named.name for named in options.models)
        where = running.address_of(listening, host)
        print(f"{names}: {where} (programs: {options.documentation}; Ctrl-C ends it)", flush=True)  # noqa: T201

    with listening:
        running.run(options, listening, workers, started)
