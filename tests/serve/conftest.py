"""What the tests of the server share: an application in this process, and a server in one of its own."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from diptych.data.builtin import facades
from diptych.images.spec import Array
from diptych.serve.app import build
from diptych.serve.options import Limits, Named, Options
from diptych.serve.running import address_of, config_of, open_socket

USUAL = Limits()
Client = Callable[..., TestClient]


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of the models in these folders, by name; `limits` and the other options as `Options` has them."""
    opened = list[TestClient]()

    def call(limits: Limits = USUAL, **options: Any) -> TestClient:
        app = build(options_of(limits, **options))
        opened.append(TestClient(app).__enter__())
        return opened[-1]

    yield call
    for one in opened:
        one.__exit__(None, None, None)


Address = Callable[..., str]


@pytest.fixture
def address() -> Iterator[Address]:
    """The address of a server in a thread, for clients of other packages; it takes what `client` takes."""
    running = list[tuple[uvicorn.Server, threading.Thread]]()

    def call(limits: Limits = USUAL, **options: Any) -> str:
        listening = open_socket("127.0.0.1", 0)
        server = uvicorn.Server(config_of(options_of(limits, **options)))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return address_of(listening, "127.0.0.1")

    yield call
    for server, thread in running:
        server.should_exit = True
        thread.join()


def options_of(limits: Limits, **options: Any) -> Options:
    models = {name: run for name, run in options.items() if isinstance(run, Path) and name != "jobs"}
    others = {name: value for name, value in options.items() if name not in models}
    named = tuple(Named(name, str(run)) for name, run in models.items())
    return Options(named, limits, **{"device": "cpu", "access_log": False, **others})


def photo(width: int = 40, height: int = 36) -> Image.Image:
    return facades.draw_pair(5, size=64)[0].resize((width, height))


def pixels(given: bytes | Image.Image, mode: str | None = None) -> Array:
    """The levels of a picture, or of the file in these bytes."""
    image = Image.open(io.BytesIO(given)) if isinstance(given, bytes) else given
    return np.asarray(image.convert(mode) if mode else image)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    image.save(stream := io.BytesIO(), format, **options)
    return stream.getvalue()
