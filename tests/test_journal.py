"""A corpus in parts: shares for several jobs, what is done is not done again, nothing of a person's is written over."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych import cli
from diptych.model import Model
from diptych.translate import translate
from diptych.translators.image import ImageTranslator

COUNT = 7


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for number in range(COUNT):
        file = folder / ("even" if number % 2 == 0 else "odd") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)).save(file)
    return folder


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.png"))}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are written."""
    files, write = list[Path](), Model.write

    def writing(self: Model, pixels: Any, path: Path, *rest: Any) -> Any:
        files.append(path)
        return write(self, pixels, path, *rest)

    monkeypatch.setattr(Model, "write", writing)
    return files


def test_shares_are_disjoint_and_together_everything(tiny_run: Path, corpus: Path, tmp_path: Path) -> None:
    translate(tiny_run, corpus, out=tmp_path / "whole", device="cpu")
    seen = set[str]()
    for number in range(3):
        translate(tiny_run, corpus, out=tmp_path / "parts", shard=f"{number}/3", device="cpu")
        now = set(pictures(tmp_path / "parts"))
        assert len(now - seen) in (2, 3)
        seen = now
    assert pictures(tmp_path / "parts") == pictures(tmp_path / "whole")
    translate(tiny_run, corpus, out=tmp_path / "none", shard="8/9", device="cpu")  # more jobs than pictures
    with pytest.raises(ValueError, match=r"exists already; choose another --out or add --overwrite"):
        translate(tiny_run, corpus, out=tmp_path / "parts", shard="0/3", device="cpu")


@pytest.mark.parametrize("wrong", ["3/3", "1", "-1/3", "1/0", "a/b", ""])
def test_a_shard_that_is_none_is_one_line(tiny_run: Path, corpus: Path, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"--shard .*: NUMBER/OF is expected, from 0/3 to 2/3 for three jobs"):
        translate(tiny_run, corpus, out=tmp_path / "out", shard=wrong, device="cpu")


def test_what_was_done_is_not_done_again(tiny_run: Path, corpus: Path, tmp_path: Path, made: list[Path]) -> None:
    """However it was divided before; what is gone, has changed, or was made otherwise, is made."""
    out = tmp_path / "out"
    for shard in ("0/2", "1/2"):
        translate(tiny_run, corpus, out=out, shard=shard, skip_existing=True, device="cpu")
    assert len(made) == COUNT
    whole = pictures(out)
    made.clear()
    translate(tiny_run, corpus, out=out, skip_existing=True, device="cpu")
    assert made == []
    (out / "odd/1.png").unlink()
    translate(tiny_run, corpus, out=out, skip_existing=True, device="cpu")
    assert made == [out / "odd/1.png"]
    assert pictures(out) == whole

    made.clear()
    Image.new("RGB", (9, 9)).save(corpus / "odd/3.png")
    for working_size in (None, 8):
        with pytest.raises(
            ValueError, match=r"exists already, and was not made of .* add --overwrite to make those anew"
        ):
            translate(tiny_run, corpus, out=out, skip_existing=True, device="cpu", working_size=working_size)
    assert made == []
    translate(tiny_run, corpus, out=out, skip_existing=True, overwrite=True, device="cpu")
    assert made == [out / "odd/3.png"]


def test_the_newest_note_counts_whichever_job_wrote_it(
    tiny_run: Path, corpus: Path, tmp_path: Path, made: list[Path]
) -> None:
    def run(shards: int, **more: Any) -> int:
        made.clear()
        for number in range(shards):
            translate(
                tiny_run,
                corpus,
                out=tmp_path / "out",
                shard=f"{number}/{shards}",
                skip_existing=True,
                device="cpu",
                **more,
            )
        return len(made)

    assert run(4) == COUNT
    Image.new("RGB", (24, 20)).save(corpus / "even/2.png")
    assert run(2, overwrite=True) == 1
    assert run(1) == run(4) == 0


def test_a_persons_own_file_is_never_taken_for_a_result(tiny_run: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out/odd").mkdir(parents=True)
    Image.new("RGB", (24, 20)).save(tmp_path / "out/odd/3.png")
    with pytest.raises(ValueError, match=r"odd/3\.png: exists already, and was not made of 3\.png"):
        translate(tiny_run, corpus, out=tmp_path / "out", skip_existing=True, device="cpu")
    assert list(pictures(tmp_path / "out")) == ["odd/3.png"]


def test_another_model_begins_anew(
    tiny_run: Path, two_way_run: Path, corpus: Path, tmp_path: Path, made: list[Path]
) -> None:
    translate(tiny_run, corpus, out=tmp_path / "out", skip_existing=True, device="cpu")
    with pytest.raises(ValueError, match="was not made of"):
        translate(two_way_run, corpus, out=tmp_path / "out", skip_existing=True, device="cpu")
    made.clear()
    translate(two_way_run, corpus, out=tmp_path / "out", skip_existing=True, overwrite=True, device="cpu")
    assert len(made) == COUNT


def test_killed_and_run_again_is_whole_and_nothing_twice(
    tiny_run: Path, corpus: Path, tmp_path: Path, made: list[Path]
) -> None:
    """Killed right after a file has appeared, and before that is noted; the rest of the last note is missing too."""
    translate(tiny_run, corpus, out=tmp_path / "whole", device="cpu")
    out = tmp_path / "out"
    program = (
        "import os, signal, sys\n"
        "from diptych import journal\n"
        "from diptych.translate import translate\n"
        "note = journal.Journal._note\n"
        "def noting(self, line):\n"
        "    if line.get('size') and line['out'].endswith('3.png'):\n"
        '        self.file.write(\'{"out": "od\')\n'
        "        self.file.flush()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    note(self, line)\n"
        "journal.Journal._note = noting\n"
        "translate(sys.argv[1], sys.argv[2], out=sys.argv[3], skip_existing=True, device='cpu')\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tiny_run), str(corpus), str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    before = pictures(out)
    assert "odd/3.png" in before
    made.clear()
    translate(tiny_run, corpus, out=out, skip_existing=True, device="cpu")
    assert pictures(out) == pictures(tmp_path / "whole")
    again = {str(file.relative_to(out)) for file in made} & set(before)
    assert again == {"odd/3.png"}  # the one that was not noted
    made.clear()
    translate(tiny_run, corpus, out=out, skip_existing=True, device="cpu")
    assert made == []


def test_two_jobs_do_not_write_one_part(
    tiny_run: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, errors = tmp_path / "out", list[str]()
    forward = ImageTranslator.forward

    def meanwhile(self: ImageTranslator, x: Any) -> Any:
        if not errors:
            monkeypatch.setattr(ImageTranslator, "forward", forward)
            with pytest.raises(ValueError, match="another job is writing this part") as error:
                translate(tiny_run, corpus, out=out, skip_existing=True, device="cpu", overwrite=True)
            errors.append(str(error.value))
        return forward(self, x)

    monkeypatch.setattr(ImageTranslator, "forward", meanwhile)
    translate(tiny_run, corpus, out=out, skip_existing=True, device="cpu")
    assert len(errors) == 1
    assert len(pictures(out)) == COUNT


def test_failures_are_listed_and_tried_again(tiny_run: Path, corpus: Path, tmp_path: Path) -> None:
    bad, listed = corpus / "odd/3.png", tmp_path / "failed.jsonl"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:50])
    given: dict[str, Any] = {"out": tmp_path / "out", "skip_existing": True, "failures": listed, "device": "cpu"}
    [problem] = translate(tiny_run, corpus, **given)
    [line] = listed.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"picture": str(bad), "reason": problem}
    bad.write_bytes(whole)
    assert translate(tiny_run, corpus, **given) == []
    assert listed.read_text(encoding="utf-8") == ""
    assert len(pictures(tmp_path / "out")) == COUNT
    listed.write_text("my notes\n", encoding="utf-8")
    with pytest.raises(ValueError, match="exists and is no list of failures"):
        translate(tiny_run, corpus, **given)
    assert listed.read_text(encoding="utf-8") == "my notes\n"


def test_several_workers_change_nothing_but_the_time(tiny_run: Path, corpus: Path, tmp_path: Path) -> None:
    (corpus / "odd/3.png").write_bytes(b"no picture")
    alone = translate(tiny_run, corpus, out=tmp_path / "alone", device="cpu")
    for workers, batch in ((3, 1), (4, 3)):
        out = tmp_path / f"{workers}"
        assert translate(tiny_run, corpus, out=out, device="cpu", workers=workers, batch_size=batch) == alone
        assert list(pictures(out)) == list(pictures(tmp_path / "alone"))
        if batch == 1:
            assert pictures(out) == pictures(tmp_path / "alone")


def test_as_it_is_typed(tiny_run: Path, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        "translate",
        str(tiny_run),
        str(corpus),
        "--out",
        str(tmp_path / "out"),
        "--skip-existing",
        "--device",
        "cpu",
    ]
    assert cli.run(words) == 0
    capfd.readouterr()
    (tmp_path / "out/odd/1.png").unlink()
    assert cli.run(words) == 0
    assert "6 of 7 pictures are translated already; 1 to go" in capfd.readouterr().err
