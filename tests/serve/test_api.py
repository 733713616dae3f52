"""The interface for programs: what comes back is what `translate` writes, and each mistake is one plain line."""

import asyncio
import io
import os
import shutil
import zipfile
from collections.abc import Hashable
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import diptych
from diptych.images.files import decode_bytes
from diptych.serve import pictures
from diptych.serve.models import ServedModel
from diptych.serve.options import Limits, Named, Options
from diptych.serve.pictures import Wish

from .conftest import Client, encoded, photo, pixels

TRANSLATE = "/v1/models/tiny/translate"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pictures that are awkward to give back as they came."""
    folder = tmp_path_factory.mktemp("pictures")
    image = photo()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    image.save(folder / "turned.jpg", quality=90, exif=exif, dpi=(300, 300))
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    alpha.save(folder / "alpha.png")
    image.save(folder / "plain.webp", lossless=True)
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.tif", compression="tiff_lzw")
    image.save(folder / "moves.gif")
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["turned.jpg", "alpha.png", "plain.webp", "deep.tif", "moves.gif"])
def test_the_answer_is_the_file_that_translate_writes(
    client: Client, tiny_run: Path, files: dict[str, Path], tmp_path: Path, name: str
) -> None:
    diptych.translate(tiny_run, files[name], out=tmp_path / "out", device="cpu")
    [written] = (tmp_path / "out").iterdir()
    answer = client(tiny=tiny_run).post(TRANSLATE, content=files[name].read_bytes())
    assert answer.status_code == 200
    assert answer.content == written.read_bytes()
    media = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff"}
    assert answer.headers["content-type"] == media[written.suffix]


def test_a_form_and_json_give_the_same_as_the_bytes(client: Client, tiny_run: Path) -> None:
    import base64

    opened, data = client(tiny=tiny_run), encoded(photo())
    plain = opened.post(TRANSLATE, content=data).content
    assert opened.post(TRANSLATE, files={"image": ("x.png", data)}).content == plain
    assert opened.post(TRANSLATE, json={"image": base64.b64encode(data).decode()}).content == plain
    text = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert opened.post(TRANSLATE, json={"inputs": text, "parameters": {"quality": 90}}).content == plain


def test_the_format_is_what_the_client_takes(client: Client, tiny_run: Path) -> None:
    opened, data = client(tiny=tiny_run), encoded(photo())

    def media(accept: str, **parameters: str) -> str:
        answer = opened.post(TRANSLATE, content=data, headers={"Accept": accept}, params=parameters)
        assert answer.status_code == 200
        assert Image.open(io.BytesIO(answer.content)).get_format_mimetype() == answer.headers["content-type"]
        return answer.headers["content-type"]

    assert media("*/*") == media("image/*") == media("text/html, */*;q=0.1") == "image/png"
    assert media("image/webp") == media("image/jpeg;q=0.5, image/webp") == "image/webp"
    assert media("image/avif, image/jpeg;q=0.9") == media("*/*", format="jpg") == "image/jpeg"
    refused = opened.post(TRANSLATE, content=data, headers={"Accept": "text/html"})
    assert refused.status_code == 406
    assert "image/png" in refused.json()["detail"]


def test_a_hole_is_filled_as_translate_fills_it(client: Client, completion_run: Path, tmp_path: Path) -> None:
    picture, mask = photo(), Image.new("L", (40, 36))
    mask.paste(255, (12, 10, 24, 22))
    picture.save(tmp_path / "picture.png")
    mask.save(tmp_path / "mask.png")
    diptych.translate(
        completion_run, tmp_path / "picture.png", out=tmp_path / "out.png", mask=tmp_path / "mask.png", device="cpu"
    )
    opened = client(tiny=completion_run)
    given = {"image": ("p.png", encoded(picture)), "mask": ("m.png", encoded(mask))}
    assert opened.post(TRANSLATE, files=given).content == (tmp_path / "out.png").read_bytes()
    missing = opened.post(TRANSLATE, content=encoded(picture))
    assert missing.status_code == 422
    assert "mask" in missing.json()["detail"]
    assert opened.post(TRANSLATE, files=given, params={"blend": "glue"}).status_code == 422


def test_samples_are_those_of_the_seed(client: Client, sampling_run: Path) -> None:
    opened, model = client(tiny=sampling_run), diptych.load(sampling_run, device="cpu")
    label = model.classes[1]
    answer = opened.post("/v1/models/tiny/sample", json={"label": label, "seed": 3})
    assert np.array_equal(pixels(answer.content), np.asarray(model.sample(label, seed=3)[0]))
    several = opened.post("/v1/models/tiny/sample", params={"label": label, "seed": 3, "count": 3})
    with zipfile.ZipFile(io.BytesIO(several.content)) as archive:
        assert archive.namelist() == ["00000.png", "00001.png", "00002.png"]
        assert archive.read("00000.png") == answer.content
    for wrong in ({}, {"label": "nothing"}, {"label": label, "count": 0}, {"label": label, "seed": "x"}):
        assert opened.post("/v1/models/tiny/sample", json=wrong).status_code == 422
    assert opened.post(TRANSLATE, content=encoded(photo())).status_code == 422


def test_a_batch_names_what_it_could_not_do(client: Client, tiny_run: Path) -> None:
    opened, data = client(tiny=tiny_run), encoded(photo())
    names = ["a.png", "../../a.png", "", "bad.png"]
    given = [("image", (name or "x", data if name != "bad.png" else b"no picture")) for name in names]
    answer = opened.post("/v1/models/tiny/batch", files=given)
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["a.png", "a-2.png", "x.png", "problems.txt"]
        assert archive.read("a-2.png") == opened.post(TRANSLATE, content=data).content
        assert archive.read("problems.txt").startswith(b"bad: ")
    assert answer.headers["x-diptych-skipped"] == "1"


def test_models_say_what_goes_in(
    client: Client, tiny_run: Path, completion_run: Path, sampling_run: Path, two_way_run: Path
) -> None:
    opened = client(one=tiny_run, holes=completion_run, noise=sampling_run, ways=two_way_run)
    models = {model["name"]: model for model in opened.get("/v1/models").json()["models"]}
    assert [model["serves"] for model in models.values()] == ["translate", "translate", "sample", "translate"]
    assert [one["kind"] for one in models["holes"]["inputs"]] == ["picture", "mask"]
    assert models["noise"]["classes"] == list(diptych.load(sampling_run, device="cpu").classes)
    assert models["ways"]["directions"] == ["BtoA", "AtoB"]
    assert models["one"] == opened.get("/v1/models/one").json()
    there, back = (
        opened.post("/v1/models/ways/translate", content=encoded(photo()), params=parameters).content
        for parameters in ({}, {"direction": "AtoB"})
    )
    assert there != back
    unknown = opened.get("/v1/models/two")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert "one, holes, noise, ways" in unknown.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "empty"),
        (b"a text", 415, "not a picture"),
        (encoded(photo())[:-200], 422, "cut off"),
        (encoded(photo(200, 200)), 413, "200x200 pixels"),
        (bytes(50_001), 413, "50,000 bytes"),
        (b"GIF89a", 422, "damaged"),
    ],
)
def test_what_is_no_picture_is_one_plain_line(
    client: Client, tiny_run: Path, content: bytes, status: int, words: str
) -> None:
    opened = client(Limits(max_pixels=30_000, max_bytes=50_000), tiny=tiny_run)
    answer = opened.post(TRANSLATE, content=content)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in problem["detail"]
    assert "\n" not in problem["detail"]
    assert "/" not in problem["detail"].replace("image/", "")  # no path of the server


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"json": {"image": "http://169.254.169.254/"}}, "not fetched"),
        ({"json": {"image": 7}}, "base64"),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, "JSON"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=y"}}, "form"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, "form"),
        ({"files": {"nothing": ("x.png", b"1")}}, "no picture"),
        ({"content": encoded(photo()), "params": {"working_size": "many"}}, "working_size"),
        ({"content": encoded(photo()), "params": {"working_size": "0"}}, "working_size"),
        ({"content": encoded(photo()), "params": {"direction": "up"}}, "AtoB"),
        ({"content": encoded(photo()), "params": {"quality": "200"}}, "quality"),
        ({"content": encoded(photo()), "params": {"format": "exe"}}, "png"),
    ],
)
def test_a_request_that_is_none_says_what_is_expected(
    client: Client, tiny_run: Path, options: dict[str, object], words: str
) -> None:
    answer = client(tiny=tiny_run).post(TRANSLATE, **options)  # type: ignore[arg-type]
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_run_that_trains_is_opened_again(
    client: Client, tiny_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, data = tmp_path / "run", encoded(photo())
    shutil.copytree(tiny_run, run)
    opened = client(tiny=run)
    before = opened.post(TRANSLATE, content=data)
    file = run / "model/model.safetensors"
    weights = {name: value * 2 for name, value in load_file(file).items()}
    file.unlink()
    assert opened.post(TRANSLATE, content=data).content == before.content  # between two saves
    file.write_bytes(b"half")
    assert opened.post(TRANSLATE, content=data).content == before.content
    file.unlink()
    save_file(weights, file, metadata={"step": "13"})
    after = opened.post(TRANSLATE, content=data)
    assert (before.headers["x-diptych-step"], after.headers["x-diptych-step"]) == ("12", "13")
    assert after.content == diptych.load(run, device="cpu")(data)
    told = capfd.readouterr().err.splitlines()
    assert [line for line in told if "stays at step 12" in line] == told[:1]
    assert told[1] == "diptych: tiny: is now at step 13"


def test_a_model_that_is_opened_again_is_held_once(two_way_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(two_way_run, tmp_path / "run")
    served = ServedModel(Named("run", str(run)), Options((), device="cpu"), lambda line: None)
    for _ in range(2):
        assert served.current() is served.current("BtoA") is not served.current("AtoB")
        assert served.current().scratch == Path(gettempdir())  # the folder of a server may be one for reading
        os.utime(run / "model/model.safetensors", (0, served.step))


def test_lazy_models_open_at_their_first_use(client: Client, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    opened = client(tiny=tiny_run, empty=tmp_path / "empty", lazy=True)
    assert [model["ready"] for model in opened.get("/v1/models").json()["models"]] == [False, False]
    assert opened.get("/v2/health/ready").status_code == 200
    assert opened.post(TRANSLATE, content=encoded(photo())).status_code == 200
    assert [model["ready"] for model in opened.get("/v1/models").json()["models"]] == [True, False]
    assert opened.post("/v1/models/empty/translate", content=encoded(photo())).status_code == 503


def test_another_runtime_gives_the_picture_of_torch(client: Client, tiny_run: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'diptych[onnx]'")
    sent = encoded(photo())
    answers = [
        client(one=tiny_run, runtime=runtime).post("/v1/models/one/translate", content=sent)
        for runtime in (None, "onnxruntime")
    ]
    torchs, others = (pixels(answer.content).astype(int) for answer in answers)
    assert np.abs(torchs - others).max() <= 1


def test_pictures_of_several_sizes_at_once_get_each_their_own(client: Client, tiny_run: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    opened, model = client(Limits(max_batch=4), tiny=tiny_run), diptych.load(tiny_run, device="cpu")
    given = [encoded(photo(32 + 8 * (n % 3), 32).rotate(20 * n)) for n in range(24)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda data: opened.post(TRANSLATE, content=data).content, given))
    for data, answer in zip(given, answers, strict=True):
        ours, theirs = (decode_bytes(one, "x").values.astype(int) for one in (answer, model(data)))
        assert np.abs(ours - theirs).max() <= 1
    sizes = opened.get("/metrics").text
    assert "diptych_batch_size_count" in sizes


def test_only_pictures_of_one_kind_share_a_batch(tiny_run: Path) -> None:
    model, deep = diptych.load(tiny_run, device="cpu"), np.asarray(photo().convert("L")).astype(np.uint16) * 257

    async def kinds() -> list[Hashable]:
        given = [photo(), photo().rotate(9), photo(48, 36), photo().convert("RGBA"), photo().convert("L")]
        reads = [pictures.read(model, Wish(encoded(one)), 10_000) for one in [*given, Image.fromarray(deep)]]
        reads.append(pictures.read(model, Wish(encoded(photo()), working_size=16), 10_000))
        return [pictures.job(model, read).kind for read in reads]

    first, alike, *others = asyncio.run(kinds())
    assert first == alike
    assert len({first, *others}) == 6
