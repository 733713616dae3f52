"""Clients that were written for other servers: each gets what it expects, by its own package where there is one."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diptych
from diptych.images.spec import Array
from diptych.model import Model
from diptych.serve.options import Limits
from diptych.training.run import Run

from .conftest import Address, Client, encoded, photo, pixels


def test_rembg(client: Client, tiny_run: Path) -> None:
    opened, data = client(tiny=tiny_run), encoded(photo(), "JPEG")
    answer = opened.post("/api/remove", files={"file": ("x.jpg", data)}, data={"model": "u2net", "a": "true"})
    expected = diptych.load(tiny_run, device="cpu")(data)
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(pixels(answer.content), pixels(expected))
    refused = opened.get("/api/remove", params={"url": "http://169.254.169.254/"})
    assert refused.status_code == 405
    assert "not fetched" in refused.json()["detail"]


def test_iopaint(client: Client, completion_run: Path) -> None:
    opened, mask = client(holes=completion_run), Image.new("L", (40, 36))
    mask.paste(255, (12, 10, 24, 22))
    text = [base64.b64encode(encoded(one)).decode() for one in (photo(), mask)]
    given = {"image": f"data:image/png;base64,{text[0]}", "mask": text[1], "ldm_steps": 20, "prompt": "a house"}
    answer = opened.post("/api/v1/inpaint", json=given)
    expected = diptych.load(completion_run, device="cpu")(photo(), mask=mask)
    assert np.array_equal(pixels(answer.content), pixels(expected))
    assert opened.get("/api/v1/model").json()["name"] == "holes"
    assert [one["name"] for one in opened.get("/api/v1/server-config").json()["modelInfos"]] == ["holes"]


def test_bentoml(client: Client, tiny_run: Path, two_way_run: Path) -> None:
    opened, data = client(tiny=tiny_run, other=two_way_run), encoded(photo())
    answer = opened.post("/translate", files={"image": ("x.png", data)})
    assert answer.content == opened.post("/v1/models/tiny/translate", content=data).content
    other = opened.post("/translate", files={"image": ("x.png", data)}, params={"model": "other"})
    assert other.headers["x-diptych-model"] == "other"
    assert all(opened.get(path).status_code == 200 for path in ("/livez", "/readyz", "/healthz", "/metrics"))


def test_hugging_face(address: Address, tiny_run: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="pip install 'diptych[hub]'")
    server, data = address(tiny=tiny_run), encoded(photo())
    expected = diptych.load(tiny_run, device="cpu")(photo())
    for url in (server, f"{server}/v1/models/tiny/translate"):
        client = hub.InferenceClient(model=url)
        assert np.array_equal(pixels(client.image_to_image(data)), pixels(expected))
        assert np.array_equal(
            pixels(client.image_to_image(data, prompt="as it was", guidance_scale=7.5)), pixels(expected)
        )
    with pytest.raises(Exception, match="not a picture"):
        hub.InferenceClient(model=server).image_to_image(b"a text")


@pytest.mark.parametrize("binary", [True, False])
def test_triton(address: Address, tiny_run: Path, completion_run: Path, binary: bool) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="pip install 'tritonclient[http]'")
    client = triton.InferenceServerClient(address(tiny=tiny_run, holes=completion_run).removeprefix("http://"))
    model = diptych.load(tiny_run, device="cpu")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert [one["name"] for one in client.get_model_metadata("holes")["inputs"]] == ["picture", "mask"]

    def ask(name: str, **arrays: Array) -> Array:
        inputs = []
        for key, array in arrays.items():
            inputs.append(triton.InferInput(key, list(array.shape), "BYTES" if array.dtype == object else "UINT8"))
            inputs[-1].set_data_from_numpy(array, binary_data=binary or array.dtype == object)
        outputs = [triton.InferRequestedOutput("result", binary_data=binary)]
        found: Array = client.infer(name, inputs, outputs=outputs, request_id="7").as_numpy("result")
        return found

    levels = np.stack([np.asarray(photo()), np.asarray(photo())[::-1]])
    result = ask("tiny", picture=levels)
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - model(levels)).max() <= 1
    assert np.array_equal(ask("tiny", picture=levels[0]), model(levels[0]))
    mask = np.zeros((36, 40, 1), np.uint8)
    mask[10:22, 12:24] = 255
    expected = diptych.load(completion_run, device="cpu")(levels[0], mask=mask[..., 0])
    assert np.array_equal(ask("holes", picture=levels[0], mask=mask), expected)
    if binary:
        [file] = ask("tiny", picture=np.array([encoded(photo())], object))
        assert np.array_equal(pixels(file), model(levels[0]))
    with pytest.raises(triton.InferenceServerException, match="there is no model"):
        client.get_model_metadata("two")


def test_tensors_of_a_model_of_a_range_are_its_numbers(
    client: Client, train_tiny: Callable[..., Run], tmp_path: Path
) -> None:
    for number in range(2):
        for side, values in (("a", np.arange(256, dtype=np.uint8)), ("b", np.linspace(-1, 3, 256, dtype=np.float32))):
            (tmp_path / side / "train").mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / side / "train" / f"{number}.npy", values.reshape(16, 16))
    sides = {"data_a": tmp_path / "a", "data_b": tmp_path / "b", "channels_a": 1, "channels_b": 1}
    run = train_tiny(tmp_path / "run", **sides, range_b=(-1, 3), size=16, direction="AtoB").path
    opened, levels = client(tiny=run), np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    [described] = opened.get("/v2/models/tiny").json()["outputs"]
    tensor = {"name": "picture", "datatype": "UINT8", "shape": [16, 16, 1], "data": levels.flatten().tolist()}
    for binary in (False, True):
        answer = opened.post(
            "/v2/models/tiny/infer", json={"inputs": [tensor], "parameters": {"binary_data_output": binary}}
        )
        length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
        [result] = json.loads(answer.content[:length])["outputs"]
        assert result["datatype"] == described["datatype"] == "FP32"
        found = np.frombuffer(answer.content[length:], "<f4") if binary else np.array(result["data"], np.float32)
        assert np.array_equal(found.reshape(16, 16), diptych.load(run, device="cpu")(levels[..., 0]))
    refused = opened.post("/v1/models/tiny/translate?format=png", content=encoded(Image.fromarray(levels[..., 0])))
    assert refused.json()["detail"] == ".png cannot hold float32 numbers, which are to be written; use .tif"


def test_the_first_tensor_that_fails_ends_the_others(
    client: Client, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, whole = list[int](), Model.all_pixels

    def slow(self, sources, requests):  # type: ignore[no-untyped-def]
        seen.append(len(sources))
        time.sleep(0.05)
        return whole(self, sources, requests)

    monkeypatch.setattr(Model, "all_pixels", slow)
    opened = client(Limits(max_batch=1), tiny=tiny_run)
    files = [base64.b64encode(data).decode() for data in (b"none", *[encoded(photo())] * 20)]
    tensor = {"name": "picture", "datatype": "BYTES", "shape": [len(files)], "data": files}
    answer = opened.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
    assert answer.status_code == 415
    assert opened.post("/v1/models/tiny/translate", content=encoded(photo())).status_code == 200  # after what waited
    assert len(seen) < 5


def test_curl(address: Address, tiny_run: Path, tmp_path: Path) -> None:
    if not (curl := shutil.which("curl")):
        pytest.skip("no curl on this machine")
    server, file = address(tiny=tiny_run), tmp_path / "photo.jpg"
    file.write_bytes(encoded(photo(), "JPEG"))
    expected = diptych.translate(tiny_run, file, out=tmp_path / "theirs.jpg", device="cpu")
    url = f"{server}/v1/models/tiny/translate"
    for way in (["--data-binary", f"@{file}"], ["-F", f"image=@{file}"], ["-T", str(file), "-X", "POST"]):
        subprocess.run([curl, "-fsS", *way, url, "-o", tmp_path / "ours.jpg"], check=True)
        assert (tmp_path / "ours.jpg").read_bytes() == (tmp_path / "theirs.jpg").read_bytes()
    assert expected == []
    done = subprocess.run([curl, "-sS", "-d", "x=1", url], capture_output=True, check=True)
    assert "--data-binary" in json.loads(done.stdout)["detail"]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"shape": [2, 2, 3], "datatype": "UINT8", "data": [1, 2]}, "12 numbers"),
        ({"shape": [1, 2, 1], "datatype": "UINT8", "data": [1, 300]}, "2 numbers"),
        ({"shape": [2, -1], "datatype": "UINT8", "data": []}, "shape"),
        ({"shape": [2, 2], "datatype": "FP32", "data": [0.5] * 4}, "UINT8"),
        ({"shape": [1], "datatype": "BYTES", "data": ["http://x"]}, "not fetched"),
        ({"shape": [2**30, 2**30], "datatype": "UINT8", "parameters": {"binary_data_size": 9}}, "binary_data_size"),
        ({"shape": [2, 2, 7], "datatype": "UINT8", "data": [0] * 28}, "not a picture"),
    ],
)
def test_a_tensor_that_is_no_picture_is_one_plain_line(
    client: Client, tiny_run: Path, tensor: dict[str, object], words: str
) -> None:
    answer = client(tiny=tiny_run).post("/v2/models/tiny/infer", json={"inputs": [{"name": "picture", **tensor}]})
    assert answer.status_code == 422
    assert words in answer.json()["error"]
