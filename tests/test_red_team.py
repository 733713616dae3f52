"""Folders from strangers: no command follows a link out of one, believes its records, or removes what it did not write."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych import cli
from diptych.evaluate import translation
from diptych.prepare import download as download_file
from diptych.prepare.catalogue import find
from diptych.prepare.unpack import workplace
from diptych.report import report
from diptych.training.checkpoint import list_checkpoints
from diptych.training.run import Run

Said = str
Verbs = dict[str, Callable[[], tuple[int, Said]]]
Command = Callable[..., tuple[int, Said]]
submit_file = import_module("diptych.submit")  # `diptych.submit` is the function

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and fifos")


# ---- what is attacked, and what must stay as it is


@pytest.fixture(scope="session")
def measured_run(tiny_run: Path, tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with results, scores and a page; tests must not write into it."""
    run = tmp_path_factory.mktemp("measured") / "run"
    shutil.copytree(tiny_run, run)
    assert cli.run(["evaluate", str(run), "--data", str(tiny_pairs), "--metrics", "l1"]) == 0
    report(run)
    return run


@pytest.fixture
def run(measured_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil; it has come from a stranger."""
    shutil.copytree(measured_run, tmp_path / "run")
    return tmp_path / "run"


def tree(folder: Path) -> dict[str, str]:
    """Every path below a folder, with the hash of what is there."""

    def content(path: Path) -> str:
        if path.is_symlink():
            return str(path.readlink())
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    return {path.relative_to(folder).as_posix(): content(path) for path in sorted(folder.rglob("*"))}


@pytest.fixture
def precious(measured_run: Path, tmp_path: Path) -> Iterator[Path]:
    """Files of the reader's, outside: nothing of them may be changed, deleted or carried away, nothing be added.

    They are named as those of a run are, so that a link can lead to what a command expects.
    """
    folder = tmp_path / "precious"
    shutil.copytree(measured_run, folder)
    for number, path in enumerate(sorted(folder.rglob("*.[pj][np]g"))):
        with Image.open(path) as picture:
            size = picture.size
        Image.new("RGB", size, (number % 256, 77, 200)).save(path)
    for below in ("", "results", "results/val", "samples", "checkpoints", "model", "tensorboard", "train"):
        (folder / below).mkdir(exist_ok=True)
        (folder / below / "diary.txt").write_text(f"dear diary {below}", encoding="utf-8")
    (folder / ".lock").write_text("precious", encoding="utf-8")
    before = tree(folder)
    secrets = {content for content in before.values() if content} - set(tree(measured_run).values())
    yield folder
    assert tree(folder) == before
    others = (path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink())
    copies = [path for path in others if not path.is_relative_to(folder) and path.stat().st_nlink == 1]
    assert [path for path in copies if hashlib.sha256(path.read_bytes()).hexdigest() in secrets] == []


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command: it ends with the status 0, 1 or 2, in one line where it refuses, and without a traceback."""

    def call(*arguments: object) -> tuple[int, Said]:
        capsys.readouterr()
        status = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert status in (0, 1, 2)
        if status == 2:
            line = err.splitlines()[-1]
            assert line.startswith("diptych: ")
            assert err.count("diptych: ") == 1
            assert len(line.replace(str(tmp_path), "")) < 300
        return status, out + err

    return call


@pytest.fixture
def verbs(command: Command, run: Path, tiny_run: Path, tiny_pairs: Path, tmp_path: Path) -> Verbs:
    """Everything that can be done with a run."""
    picture = next((tiny_pairs / "val").iterdir())
    train = [
        "train",
        "pix2pix",
        "--recipe",
        tiny_run / "settings.toml",
        "--data",
        tiny_pairs,
        "--out",
        run,
        "--steps",
        16,
    ]

    def compare() -> tuple[int, Said]:
        """With a copy of itself, so that whatever is in the one is in the other."""
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        subprocess.run(["cp", "-a", run, tmp_path / "copy"], check=True)
        return command("report", run, tmp_path / "copy", "--out", tmp_path / "comparison")

    return {
        "report": lambda: command("report", run),
        "comparison": compare,
        "translate": lambda: command("translate", run, picture, "--out", tmp_path / "out.png", "--overwrite"),
        "evaluate": lambda: command("evaluate", run, "--data", tiny_pairs, "--metrics", "l1"),
        "train": lambda: command(*train, "--log-every", 1, "--checkpoint-every", 1),
        "train --fresh": lambda: command(*train, "--fresh"),
    }


# ---- a run with a link in it


PICTURE = "facade-0006.png"
LINKS = [
    ".lock",
    "checkpoints",
    "checkpoints/.partial-step-00000013",
    "checkpoints/step-00000004",
    "checkpoints/step-00000012",
    "index.html",
    "log.jsonl",
    "metrics.jsonl",
    "model",
    "model/config.json",
    "model/model.safetensors",
    "model-best",
    "results",
    "results/.partial-val",
    "results/val",
    "results/val/output",
    f"results/val/output/{PICTURE}",
    "results/val/results.jsonl",
    f"results/val/thumbnails/{PICTURE[:-4]}.jpg",
    "samples",
    "samples/step-00000006.png",
    "samples/titles.json",
    "settings.toml",
    "tensorboard",
]


def put_link(run: Path, name: str, target: Path) -> None:
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", LINKS)
def test_no_link_is_followed_out_of_a_run(name: str, run: Path, precious: Path, verbs: Verbs) -> None:
    target = precious / name
    put_link(run, name, target if target.exists() else precious)
    for verb in verbs.values():
        verb()


def test_a_run_of_second_names_leaves_the_first_ones_alone(run: Path, precious: Path, verbs: Verbs) -> None:
    """Such as a copy made by `cp -al`, which takes no space."""
    shutil.rmtree(run)
    shutil.copytree(precious, run, copy_function=os.link)
    (run / ".lock").unlink()
    for verb in ("report", "translate", "evaluate", "train", "train --fresh"):
        assert verbs[verb]()[0] == 0


def test_the_page_shows_nothing_that_a_link_leads_to(run: Path, precious: Path, command: Command) -> None:
    put_link(run, "samples/step-00000006.png", precious / "samples/step-00000006.png")
    put_link(run, "results/val/output", precious / "results/val/output")
    status, said = command("report", run)
    assert status == 0
    assert "samples: 1 of its pictures are left out" in said
    assert "val: 2 of its pictures are left out" in said
    page = (run / "index.html").read_text(encoding="utf-8")
    assert "step-00000012.png" in page
    assert "step-00000006.png" not in page
    assert PICTURE[:-4] not in page


def test_checkpoints_on_another_disk_are_kept_there_and_nothing_else_is_touched(
    run: Path, tmp_path: Path, verbs: Verbs
) -> None:
    disk = tmp_path / "disk"
    shutil.move(run / "checkpoints", disk)
    (run / "checkpoints").symlink_to(disk)
    (disk / "step-00000004/mine.txt").write_text("mine")
    (disk / "step-00000001").mkdir()
    (disk / "step-00000001/mine.txt").write_text("mine")
    assert verbs["train"]()[0] == 0
    assert [step for step, _ in list_checkpoints(disk)] == [14, 15, 16]
    assert [path.parent.name for path in sorted(disk.rglob("mine.txt"))] == ["step-00000001", "step-00000004"]
    assert not (disk / "step-00000004/training.safetensors").exists()


# ---- a run with forged records


DEEP = "[" * 100_000
LOGGED = {"step": 4, "seconds": 1.0, "lr": 1e-3, "losses": {"G": 1.0}}
ODD_LINES = [
    *(
        "",
        "null",
        "[]",
        '"text"',
        "1",
        "{",
        "{}",
        DEEP,
        *(json.dumps(LOGGED)[:-1] + f',"deep":{"[" * n}{"]" * n}}}' for n in range(200, 1000, 20)),
        '{"a":' * 100_000,
        '{"step": 1' + "0" * 5000 + "}",
        "NaN",
    ),
    *("\\ud800", '{"name": "\\ud800"}', '{"name": []}', "\x00", "\x1b[31m"),
]
SCORES = {
    "time": "t",
    "command": "c",
    "data": "d",
    "split": "val",
    "who": "model",
    "step": 4,
    "count": 2,
    "metrics": {},
}
RESULT = {"name": "forged", "panels": ["input"], "metrics": {"l1": 1.0}}
ODD_VALUES: list[object] = [
    None,
    "text",
    -1,
    10**400,
    1.5,
    True,
    [],
    {},
    [[]],
    {"a": "b"},
    {"a": None},
    float("nan"),
    [{}],
]


def forged(sound: Mapping[str, object], *more: Mapping[str, object]) -> str:
    """Lines of which each has one thing wrong, or lacks one."""
    lines = [json.dumps({**sound, key: value}) for key in sound for value in ODD_VALUES]
    lines += [json.dumps({other: sound[other] for other in sound if other != key}) for key in sound]
    return "\n".join([*ODD_LINES, *lines, *map(json.dumps, more)]) + "\n"


def forge_log(run: Path) -> str:
    odd = [LOGGED | {key: value} for key in ("gradients", "validation", "doctor") for value in ODD_VALUES]
    return forged(LOGGED, *odd, LOGGED | {"losses": {"G": float("nan"), "</script>": 1e308, "": -1e308}})


def forge_scores(run: Path) -> str:
    keys = ("direction", "standard-error", "not-measured")
    return forged(SCORES, *(SCORES | {key: value} for key in keys for value in ODD_VALUES))


def forge_results(run: Path) -> str:
    away = [
        *("../../../../precious/samples/step-00000006", "/etc/hostname", "..", ".", "", "a\x00b", "x" * 5000, "\ud800"),
        *(str(run.parent / "precious/samples/step-00000006"), "../../../samples/step-00000006"),
    ]
    named = [RESULT | {"name": name} for name in away]
    return forged(RESULT, *named, *(RESULT | {"panels": [panel]} for panel in away))


FORGED: dict[str, Callable[[Path], str]] = {
    "log.jsonl": forge_log,
    "metrics.jsonl": forge_scores,
    "results/val/results.jsonl": forge_results,
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_records_are_left_out(name: str, run: Path, precious: Path, verbs: Verbs) -> None:
    content = FORGED[name](run)
    (run / name).write_text(content + (run / name).read_text(encoding="utf-8"), encoding="utf-8")
    for verb in ("report", "comparison", "evaluate", "train"):
        status, said = verbs[verb]()
        assert status == 0 or ".png: cannot be read" in said
        if verb == "report":
            assert "of its lines are not as Diptych writes them, and left out" in said
            assert "precious" not in (run / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("leads", ["up", "from the root"])
@pytest.mark.parametrize("part", ["name", "panel"])
def test_no_name_leads_out_of_a_run(leads: str, part: str, run: Path, precious: Path, verbs: Verbs) -> None:
    away = precious / "samples" if part == "panel" else precious / "samples/step-00000006"
    there = os.path.relpath(away, run / "results/val/input") if leads == "up" else str(away)
    result = RESULT | ({"panels": [there], "name": "step-00000006"} if part == "panel" else {"name": there})
    (run / "results/val/results.jsonl").write_text(json.dumps(result), encoding="utf-8")
    for verb in ("report", "comparison"):
        status, said = verbs[verb]()
        assert (status, "val: 1 of its pictures are left out" in said) == (0, True)


@pytest.mark.parametrize("content", ["", "null", "{}", "[1]", "[[]]", '["\\ud800"]', DEEP, "\x00"])
def test_forged_titles_are_left_out(content: str, run: Path, command: Command) -> None:
    (run / "samples/titles.json").write_text(content, encoding="utf-8")
    assert command("report", run)[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        ('name = "pix2pix"', "name = []"),
        ('name = "pix2pix"', "name = 5"),
        ("names = ", "named = "),
        ("found = ", "found = 1 # "),
        ("found = ", "nothing = "),
        ("command = ", "command = [] # "),
        ("[run]", "classes = 'abc'\n[run]\nclasses = [1]"),
        ("[run.versions]", "[run.versions]\nodd = {}"),
        ("[run]", f"deep = {DEEP}\n[run]"),
        ("data = ", 'data = "a\\u0000b" # '),
        ("data = ", "data = 5 # "),
    ],
)
def test_forged_settings_are_one_line(change: tuple[str, str], run: Path, verbs: Verbs) -> None:
    file = run / "settings.toml"
    assert change[0] in file.read_text(encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    for verb in ("report", "evaluate", "train"):
        verbs[verb]()


@pytest.mark.parametrize(
    "name", ["log.jsonl", "metrics.jsonl", "results/val/results.jsonl", "samples/titles.json", "settings.toml"]
)
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_file_makes_nobody_wait(name: str, kind: str, run: Path, verbs: Verbs) -> None:
    (run / name).unlink()
    if kind == "fifo":
        os.mkfifo(run / name)
    elif kind == "device":
        (run / name).symlink_to("/dev/zero")
    else:
        (run / name).mkdir()
    for verb in verbs.values():
        verb()


def test_a_picture_that_is_none_is_not_sent(run: Path, verbs: Verbs) -> None:
    for content in (b"root:x:0:0", b"\x89PNG\r\n\x1a\n and more"):
        (run / "samples/step-00000006.png").write_bytes(content)
        status, said = verbs["comparison"]()
        assert (status, "step-00000006.png" in said) == (2, True)
    Image.new("RGB", (4, 4)).save(run / "samples/step-00000006.png", "JPEG")
    assert verbs["comparison"]()[0] == 2


# ---- what a person keeps in a folder of ours


def test_evaluation_keeps_what_a_person_put_among_its_results(run: Path, verbs: Verbs) -> None:
    notes = [run / "results/val/output/notes.txt", run / "results/.partial-val/notes.txt"]
    for file in notes:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    status, said = verbs["evaluate"]()
    assert (status, said.count("is set aside as")) == (0, 2)
    assert (run / "results/val.old-1/output/notes.txt").read_text() == "mine"
    assert (run / "results/.partial-val.old-1/notes.txt").read_text() == "mine"
    assert verbs["evaluate"]()[0] == 0  # what it wrote itself is replaced
    assert sorted(path.name for path in (run / "results").iterdir()) == [".partial-val.old-1", "val", "val.old-1"]


def test_a_folder_that_is_no_result_is_kept(run: Path, verbs: Verbs) -> None:
    (run / "results/val/results.jsonl").unlink()
    before = tree(run / "results/val")
    verbs["evaluate"]()
    assert tree(run / "results/val.old-1") == before


def test_an_evaluation_that_was_killed_leaves_nothing_behind(run: Path, verbs: Verbs) -> None:
    partial = run / "results/.partial-val"
    shutil.copytree(run / "results/val", partial)
    (partial / "output/.partial-01234567.png").touch()
    assert "set aside" not in verbs["evaluate"]()[1]
    assert [path.name for path in (run / "results").iterdir()] == ["val"]


def test_a_link_is_refused_before_the_measuring(
    run: Path, precious: Path, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "measure", lambda *_: pytest.fail("hours of measuring"))
    put_link(run, "results/val", precious / "results/val")
    status, said = verbs["evaluate"]()
    assert (status, "results/val: is a link" in said) == (2, True)


def test_a_page_of_a_persons_own_is_kept(run: Path, verbs: Verbs) -> None:
    page = run / "index.html"
    page.write_text("<title>mine</title>")
    assert verbs["report"]() == (2, f"diptych: {page}: exists and is no page drawn earlier; move it away\n")
    assert page.read_text() == "<title>mine</title>"
    page.unlink()
    page.mkdir()
    assert verbs["report"]()[0] == 2


@pytest.mark.parametrize("name", ["pictures", "index.html", "diptych-comparison.json"])
def test_a_comparison_writes_through_no_link(name: str, precious: Path, tmp_path: Path, verbs: Verbs) -> None:
    assert verbs["comparison"]()[0] == 0
    put_link(tmp_path / "comparison", name, precious / "samples" if name == "pictures" else precious / "metrics.jsonl")
    verbs["comparison"]()


def test_a_picture_of_a_comparison_that_is_a_link_becomes_a_file(precious: Path, tmp_path: Path, verbs: Verbs) -> None:
    verbs["comparison"]()
    pictures = tmp_path / "comparison/pictures"
    before = tree(pictures)
    secret = precious / "samples/step-00000006.png"
    put_link(pictures, next(iter(before)), secret)
    (pictures / f"{hashlib.sha256(secret.read_bytes()).hexdigest()[:20]}.png").symlink_to(secret)
    assert verbs["comparison"]()[0] == 0
    assert {name: tree(pictures)[name] for name in before} == before


def test_a_fresh_run_sets_a_link_aside_and_leaves_what_it_leads_to(
    run: Path, precious: Path, tmp_path: Path, verbs: Verbs
) -> None:
    shutil.rmtree(run)
    (precious / ".lock").rename(tmp_path / "lock")
    run.symlink_to(precious)
    (tmp_path / "run.old-1").symlink_to(tmp_path / "nowhere")
    assert verbs["train --fresh"]()[0] == 0
    assert (tmp_path / "run.old-2").readlink() == precious
    (precious / ".lock").unlink(missing_ok=True)
    (tmp_path / "lock").rename(precious / ".lock")


# ---- tools and outputs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        values = np.random.default_rng(number).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "tool",
    [
        ("resize", "--size", "16"),
        ("blank",),
        ("grayscale",),
        ("edges",),
    ],
    ids=lambda tool: tool[0],
)
def test_a_tool_writes_through_no_link_in_its_folder(
    tool: tuple[str, ...], photos: Path, precious: Path, tmp_path: Path, command: Command
) -> None:
    (photos / "train").mkdir()
    (photos / "0.png").rename(photos / "train/0.png")
    out = tmp_path / "out"
    command("data", *tool, photos, "--out", out)
    put_link(out, "train", precious / "train")
    status, said = command("data", *tool, photos, "--out", out)
    assert (status, "link" in said) == (2, True)


def test_splits_and_drawn_sets_go_through_no_link(
    photos: Path, precious: Path, tmp_path: Path, command: Command
) -> None:
    for call in (("split", photos, "--val", "0.25"), ("demo", "facades", "--size", "16", "--train", "2", "--val", "1")):
        out = tmp_path / f"{call[0]} out"
        assert command("data", *call, "--out", out)[0] == 0
        put_link(out, "train", precious / "train")
        status, said = command("data", *call, "--out", out)
        assert (status, "link" in said) == (2, True)


@pytest.mark.parametrize("kind", ["link", "second name", "file"])
def test_packing_and_fetching_write_into_nothing_of_a_persons(
    kind: str, photos: Path, precious: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download_file, "find", lambda name: find(name).model_copy(update={"sha256": None, "size": None})
    )
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("one.txt", "one")
    secret = precious / "diary.txt"
    parts = [".faces.npy.partial", ".faces.npy.partial", ".partial-maps.archive", ".partial-maps.json", ".partial-maps"]
    for name in parts:
        part = tmp_path / name
        if name == ".partial-maps" and kind != "link":
            part.mkdir()
            (part / "mine.txt").write_text("mine")
        elif kind == "link":
            part.symlink_to(precious / "train" if name == ".partial-maps" else secret)
        elif kind == "second name":
            part.hardlink_to(secret)
        else:
            part.write_text("mine")
        before = tree(part) or part.read_bytes()
        if "faces" in name:
            status, _ = command("data", "pack", photos, "--out", tmp_path / "faces.npy", "--size", "8")
        else:
            mirror = (tmp_path / "set.zip").as_uri()
            status, _ = command("data", "download", "maps", "--out", tmp_path / "maps", "--mirror", mirror)
        if (
            kind != "file" or name != ".partial-maps.json"
        ):  # a note without an archive says nothing, and is written anew
            assert status == 2
            assert (tree(part) or part.read_bytes()) == before
        shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink(missing_ok=True)
        shutil.rmtree(tmp_path / "maps", ignore_errors=True)


def test_what_a_killed_unpacking_left_is_cleared(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download_file, "find", lambda name: find(name).model_copy(update={"sha256": None, "size": None})
    )
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("one.txt", "one")
    workplace(tmp_path / "maps").claim("")
    (tmp_path / ".partial-maps/content").mkdir()
    (tmp_path / ".partial-maps/content/half.jpg").touch()
    command("data", "download", "maps", "--out", tmp_path / "maps", "--mirror", (tmp_path / "set.zip").as_uri())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "set.zip"]
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["one.txt"]


@pytest.mark.parametrize("kind", ["link", "second name"])
def test_an_input_is_never_written_over_by_another_of_its_names(
    kind: str, tiny_run: Path, photos: Path, tmp_path: Path, command: Command
) -> None:
    before = tree(photos)
    other = tmp_path / "other.png"
    other.symlink_to(photos / "0.png") if kind == "link" else other.hardlink_to(photos / "0.png")
    status, said = command("translate", tiny_run, photos / "0.png", "--out", other, "--overwrite")
    assert (status, "is one of the inputs" in said) == (2, True)
    assert tree(photos) == before


def test_an_output_that_is_a_link_is_replaced_and_not_what_it_leads_to(
    tiny_run: Path, sampling_run: Path, photos: Path, precious: Path, tmp_path: Path, command: Command
) -> None:
    out, nowhere = tmp_path / "out.png", tmp_path / "nowhere.png"
    nowhere.symlink_to(tmp_path / "gone")
    for verb in (("translate", tiny_run, photos / "0.png"), ("sample", sampling_run, "--count", "1")):
        out.unlink(missing_ok=True)
        out.symlink_to(precious / "samples/step-00000006.png")
        assert command(*verb, "--out", out)[0] == 2
        assert command(*verb, "--out", nowhere)[0] == 2
        assert command(*verb, "--out", out, "--overwrite")[0] == 0
        assert not out.is_symlink()


def test_a_painting_that_is_a_link_is_painted_anew(
    two_way_run: Path, precious: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_file, "COUNT", (2, 4))
    (tmp_path / "photos").mkdir()
    for number in range(2):
        Image.new("RGB", (256, 256), (number, 5, 9)).save(tmp_path / f"photos/{number}.png")
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (256, 256), (9, 9, 9)).save(secret)
    out, paintings = tmp_path / "images.zip", tmp_path / "images.zip.paintings"
    call = ("submit", two_way_run, "--data", tmp_path / "photos", "--out", out)
    with monkeypatch.context() as stopped:
        stopped.setattr(submit_file, "_pack", lambda *_: (_ for _ in ()).throw(ValueError("stopped")))
        assert command(*call)[0] == 2
    put_link(paintings, "00001.jpg", secret)
    assert command(*call)[0] == 0
    with zipfile.ZipFile(out) as archive:
        assert archive.read("00001.jpg") != secret.read_bytes()
    assert secret.exists()
    out.unlink()
    paintings.symlink_to(precious / "train")
    assert command(*call)[0] == 2


def test_a_lock_with_something_in_it_is_not_emptied(run: Path, verbs: Verbs) -> None:
    (run / ".lock").write_text("mine")
    for verb in ("train", "train --fresh"):
        assert verbs[verb]()[0] == 2
        assert (run / ".lock").read_text() == "mine"


def test_a_run_set_aside_by_no_name_of_its_own_is_one_line(
    run: Path, verbs: Verbs, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    settings = Run.open(run)
    status, said = command(
        "train", "pix2pix", "--recipe", "settings.toml", "--data", settings.data_paths, "--out", ".", "--fresh"
    )
    assert (status, "set aside" in said) == (2, True)
