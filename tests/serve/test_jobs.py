"""Pictures that take longer than a request may: nothing of them is lost, whatever ends, and nothing is left of them."""

import io
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

import diptych
from diptych.serve import job_routes, jobs
from diptych.serve.jobs import FullError, Job, Jobs
from diptych.serve.options import Limits

from .conftest import Client, encoded, photo, pixels

ASK = "/v1/models/tiny/jobs"


def ended(opened: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    """The job when nothing more happens to it."""
    seen = [0.0]
    while (now := opened.get(f"/v1/jobs/{job['id']}").json())["state"] in ("waiting", "running"):
        seen.append(now["progress"])
        time.sleep(0.05)
    assert seen == sorted(seen)
    found: dict[str, Any] = now
    return found


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != jobs.LOCK)


def test_a_job_makes_what_translate_writes(client: Client, two_way_run: Path, tmp_path: Path) -> None:
    """Of a picture that is too large for a request; rotation, profile, texts and all."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photo(), "JPEG", exif=exif, quality=90)
    (tmp_path / "a.jpg").write_bytes(data)
    diptych.translate(two_way_run, tmp_path / "a.jpg", out=tmp_path / "b.png", direction="BtoA", device="cpu")
    opened = client(Limits(max_bytes=100, max_pixels=100), tiny=two_way_run, jobs=tmp_path / "jobs")
    assert opened.post("/v1/models/tiny/translate", content=data).status_code == 413
    answer = opened.post(f"{ASK}?direction=BtoA&format=png", content=data)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    job = ended(opened, answer.json())
    assert (job["state"], job["progress"], job["notes"]) == ("done", 1, [])
    result = opened.get(job["result"])
    assert result.headers["Content-Type"] == "image/png"
    assert result.content == (tmp_path / "b.png").read_bytes()
    assert files_in(tmp_path / "jobs") == ["job.json", "picture.png"]  # the picture that came is gone
    assert opened.delete(answer.headers["Location"]).status_code == 204
    assert opened.get(answer.headers["Location"]).status_code == 404
    assert files_in(tmp_path / "jobs") == []


def test_a_job_that_fails_says_why_and_nothing_of_the_server(client: Client, tiny_run: Path, tmp_path: Path) -> None:
    opened = client(tiny=tiny_run, jobs=tmp_path / "jobs")
    data = encoded(photo())
    job = ended(opened, opened.post(ASK, content=data[: len(data) // 2]).json())
    assert job["state"] == "failed"
    assert job["problem"].startswith("picture.png: ")
    assert str(tmp_path) not in str(job)
    answer = opened.get(f"/v1/jobs/{job['id']}/result")
    assert (answer.status_code, answer.json()["detail"]) == (422, job["problem"])


def test_what_is_cancelled_ends_at_once_and_leaves_nothing(client: Client, tiny_run: Path, tmp_path: Path) -> None:
    opened = client(tiny=tiny_run, jobs=tmp_path / "jobs")
    place = opened.post(ASK, content=encoded(photo())).headers["Location"]
    while opened.get(place).json()["state"] == "waiting":
        time.sleep(0.01)
    answer = opened.get(f"{place}/result")
    assert (answer.status_code, answer.json()["detail"]) == (409, "the job is running: 0% done")
    assert opened.delete(place).status_code == 204
    while multiprocessing.active_children():
        time.sleep(0.01)
    assert opened.get(place).status_code == 404
    while list((tmp_path / "jobs").glob("*/")):
        time.sleep(0.01)


def test_a_server_that_is_started_again_goes_on(tiny_run: Path, tmp_path: Path) -> None:
    """Also where the process was killed in the middle, and with what had not begun; but not for ever with one that kills."""
    ours = Jobs(tmp_path / "jobs", jobs.Computing(device="cpu"))

    def add(**changes: Any) -> Job:
        folder = ours.place()
        (folder / jobs.PICTURE).write_bytes(encoded(photo()))
        job = replace(ours.add(folder, "tiny", str(tiny_run), {"format": "png"}), **changes)
        job.write(folder)
        return job

    waiting, killed = add(), add(state="running", tries=1, progress=0.5)
    deadly = add(state="running", tries=jobs.TRIES)
    ours.start()
    while not all((one := ours.find(job.id)) and one.has_ended for job in (waiting, killed, deadly)):
        time.sleep(0.05)
    ours.close()
    for job in (waiting, killed):
        found = ours.find(job.id)
        assert found
        assert (found.state, found.problem) == ("done", "")
        assert pixels(ours.result(found).read_bytes()).shape == (36, 40, 3)
    found = ours.find(deadly.id)
    assert found
    assert (found.state, found.problem) == ("failed", "3 processes ended while they had it")


def test_a_job_in_strips_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it has been cancelled, and nobody listens any more."""
    monkeypatch.setattr(time, "monotonic", iter(range(0, 100, 2)).__next__)
    ours = Jobs(tmp_path / "jobs")
    folder = ours.place()
    (folder / jobs.PICTURE).write_bytes(encoded(photo()))
    job = ours.add(folder, "tiny", "runs/tiny", {})
    show = jobs._noting(job, folder)
    show(100, 1000, "picture.png: pass 2 of 24, about 7 min left")
    show(250, 1000, "picture.png: pass 3 of 24, about 5 min left")
    found = ours.find(job.id)
    assert found
    assert (found.progress, found.doing) == (0.25, "pass 3 of 24, about 5 min left")
    ours.remove(folder)
    show(300, 1000, "picture.png: pass 4 of 24, about 4 min left")
    assert not folder.exists()


def test_a_server_that_ends_leaves_its_job_as_it_was(client: Client, tiny_run: Path, tmp_path: Path) -> None:
    opened = client(tiny=tiny_run, jobs=tmp_path / "jobs")
    id = opened.post(ASK, content=encoded(photo())).json()["id"]
    while opened.get(f"/v1/jobs/{id}").json()["state"] == "waiting":
        time.sleep(0.01)
    opened.__exit__(None, None, None)
    assert not multiprocessing.active_children()
    left = Jobs(tmp_path / "jobs").find(id)
    assert left
    assert (left.state, left.tries) == ("running", 0)


@pytest.mark.parametrize(
    ("query", "data", "status", "words"),
    [
        ("", b"", 422, "the body is empty"),
        ("", b"%PDF-1.7 and so on and on", 415, "of no format that is read"),
        ("", bytes(1001), 413, "more than 1,000 bytes"),
        ("?format=gif", b"", 422, "format 'gif': png, tiff, jpg, webp"),
        ("?direction=up", b"", 422, "AtoB or BtoA"),
        ("?direction=AtoB", b"", 422, "translates BtoA and no other way"),
    ],
)
def test_what_cannot_be_a_job_leaves_nothing(
    query: str, data: bytes, status: int, words: str, client: Client, tiny_run: Path, tmp_path: Path
) -> None:
    opened = client(Limits(max_job_bytes=1000), tiny=tiny_run, jobs=tmp_path / "jobs")
    for content in (data, iter([data])):  # of a length that is said, and in parts
        answer = opened.post(f"{ASK}{query}", content=content)
        assert answer.status_code == status
        assert words in answer.json()["detail"]
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [jobs.LOCK]


def test_models_that_need_more_than_a_picture_take_no_jobs(
    client: Client, completion_run: Path, sampling_run: Path, tmp_path: Path
) -> None:
    opened = client(faces=completion_run, digits=sampling_run, jobs=tmp_path / "jobs")
    for name in ("faces", "digits"):
        assert opened.post(f"/v1/models/{name}/jobs", content=encoded(photo())).status_code == 422


def test_a_picture_that_arrives_too_slowly_is_refused(
    client: Client, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_routes, "SLOWEST", 10**12)
    opened = client(Limits(timeout=0), tiny=tiny_run, jobs=tmp_path / "jobs")
    assert opened.post(ASK, content=encoded(photo())).status_code == 408
    assert files_in(tmp_path / "jobs") == []


def test_more_jobs_than_may_be_kept_are_told_to_come_later(
    client: Client, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST", 2)
    ours = Jobs(tmp_path / "jobs")
    opened = client(tiny=tiny_run, jobs=tmp_path / "jobs")
    places = [ours.place(), ours.place()]  # whose pictures are on their way
    answer = opened.post(ASK, content=encoded(photo()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    with pytest.raises(FullError):
        ours.place()
    ours.remove(places[0])
    assert ours.place().is_dir()


def test_a_full_disk_is_said(client: Client, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    opened = client(tiny=tiny_run, jobs=tmp_path / "jobs")
    monkeypatch.setattr(Path, "open", lambda path, mode="r", *rest, **named: Full())
    answer = opened.post(ASK, content=encoded(photo()))
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["detail"]) == (507, "the server's disk is full")
    assert files_in(tmp_path / "jobs") == []


def test_results_are_kept_for_a_day(tmp_path: Path) -> None:
    ours = Jobs(tmp_path / "jobs")
    now, day = time.time(), jobs.KEPT
    for age, is_kept in ((day - 60, True), (day + 60, False)):
        folder = ours.place()
        Job(folder.name, "tiny", "runs/tiny", {}, "picture.png", now, "done", ended_at=now - age).write(folder)
        ours._remove_old()
        assert (ours.find(folder.name) is not None, folder.exists()) == (is_kept, is_kept)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Its files would be in the way, and might be taken for old results."""
    encoded_photo = encoded(photo())
    (tmp_path / "mine.png").write_bytes(encoded_photo)
    with pytest.raises(ValueError, match=f"--jobs {tmp_path}: holds other files; give a new folder"):
        Jobs(tmp_path)
    assert pixels((tmp_path / "mine.png").read_bytes()).shape == (36, 40, 3)


def test_ids_lead_nowhere_else(client: Client, tiny_run: Path, tmp_path: Path) -> None:
    opened = client(tiny=tiny_run, jobs=tmp_path / "jobs")
    (tmp_path / "job.json").write_text("{}")
    for id in ("..", "%2e%2e", "..%2f..", jobs.LOCK, "a" * 22):
        for answer in (opened.get(f"/v1/jobs/{id}"), opened.delete(f"/v1/jobs/{id}")):
            assert answer.status_code in (404, 405)
    assert (tmp_path / "job.json").exists()


def test_without_a_folder_there_are_no_jobs(client: Client, tiny_run: Path) -> None:
    assert client(tiny=tiny_run).post(ASK, content=encoded(photo())).status_code == 404
