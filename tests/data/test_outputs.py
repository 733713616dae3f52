"""Where pictures go: never onto an input, never two onto one place."""

from pathlib import Path

import pytest
from PIL import Image

from diptych.data.outputs import pictures_below, plan, plan_folder, require_no_input


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a photo.jpg", "deep/Ünï#1.PNG"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(path)
    (tmp_path / "in/notes.txt").write_text("not a picture", encoding="utf-8")
    (tmp_path / "in/.partial-0a1b2c3d.png").write_bytes(b"")
    return tmp_path / "in"


def test_where_pictures_go(folder: Path, tmp_path: Path) -> None:
    photo = folder / "a photo.jpg"
    assert plan([photo], tmp_path / "b.png", False) == [(photo, tmp_path / "b.png")]
    assert plan([photo], tmp_path / "new", False) == [(photo, tmp_path / "new/a photo.jpg")]
    deep = folder / "deep/Ünï#1.PNG"
    assert plan([photo, deep], tmp_path / "new", False) == [
        (photo, tmp_path / "new/a photo.jpg"),
        (deep, tmp_path / "new/Ünï#1.PNG"),
    ]
    with pytest.raises(ValueError, match="would both be written to it"):
        plan([photo, folder], tmp_path / "new", False)
    with pytest.raises(ValueError, match=r"no such file"):
        plan([folder / "none.png"], tmp_path / "new", False)
    with pytest.raises(ValueError, match=r"no picture format is known by '.xyz'"):
        plan([photo], tmp_path / "b.xyz", False)


def test_one_name_is_not_for_several_pictures(folder: Path, tmp_path: Path) -> None:
    photo, deep, out = folder / "a photo.jpg", folder / "deep/Ünï#1.PNG", tmp_path / "y.JPG"
    with pytest.raises(
        ValueError, match=r"y\.JPG: is the name of one picture, and 2 inputs would go there; give a folder"
    ):
        plan([photo, deep], out, False)
    with pytest.raises(ValueError, match=r"y\.JPG: is the name of one picture, and the folder .* would go there"):
        plan([folder], out, False)
    out.mkdir()  # somebody's folder may have such a name
    assert plan([photo, deep], out, False)[0] == (photo, out / "a photo.jpg")


def test_a_folders_pictures_keep_their_places(folder: Path) -> None:
    out = Path("out")
    assert plan_folder([folder], out) == [
        (folder / "a photo.jpg", out / "a photo.jpg"),
        (folder / "deep/Ünï#1.PNG", out / "deep/Ünï#1.PNG"),
    ]
    assert [target for _, target in plan_folder([folder], out, ".png")] == [out / "a photo.png", out / "deep/Ünï#1.png"]


def test_a_name_of_its_own_is_needed_by_each_picture(folder: Path) -> None:
    Image.new("RGB", (3, 2)).save(folder / "a photo.bmp")
    assert len(plan_folder([folder], Path("out"))) == 3
    with pytest.raises(ValueError, match=r"out/a photo.png: .*a photo.bmp.*a photo.jpg"):
        plan_folder([folder], Path("out"), ".png")


@pytest.mark.parametrize("suffix", [None, ".png"])
def test_a_single_file_must_be_a_picture_by_its_name(folder: Path, suffix: str | None) -> None:
    with pytest.raises(ValueError, match=r"notes.txt: no picture format is known by '.txt'"):
        plan_folder([folder / "notes.txt"], Path("out"), suffix)


def test_what_is_there_is_kept_unless_one_may_write_over_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out/deep").mkdir(parents=True)
    for name in ("a photo.jpg", "deep/Ünï#1.PNG"):
        (tmp_path / "out" / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"out/a photo.jpg \(and 1 more\): exists already.*--overwrite"):
        plan([folder], tmp_path / "out", False)
    assert len(plan([folder], tmp_path / "out", True)) == 2


def test_an_input_is_never_an_output_by_whatever_name(folder: Path, tmp_path: Path) -> None:
    photo = folder / "a photo.jpg"
    with pytest.raises(ValueError, match=r"a photo.jpg: is one of the inputs, which are never overwritten"):
        plan([photo], folder, True)
    (tmp_path / "alias").symlink_to(folder)
    with pytest.raises(ValueError, match="is one of the inputs"):
        require_no_input([(photo, tmp_path / "alias/a photo.jpg")])
    require_no_input([(photo, tmp_path / "elsewhere.jpg")])


def test_a_folder_without_pictures(folder: Path, tmp_path: Path) -> None:
    assert pictures_below(folder) == [folder / "a photo.jpg", folder / "deep/Ünï#1.PNG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no pictures found \(.jpg, "):
        pictures_below(tmp_path / "empty")


def test_links_that_lead_in_circles(folder: Path, tmp_path: Path) -> None:
    """One bad picture, not the end of the others."""
    (folder / "loop.png").symlink_to(folder / "loop.png")
    assert (folder / "loop.png", tmp_path / "new/loop.png") in plan([folder], tmp_path / "new", False)
