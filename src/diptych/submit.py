"""The road to Kaggle's "I'm Something of a Painter Myself": images.zip, with 7,000 to 10,000 paintings of 256 x 256.

Each translated photograph is first a file of its own in a folder beside the zip, so that hours of work can be
interrupted; the same command goes on with those that are missing. The zip appears whole, after it was read back.
"""

import hashlib
import os
import zipfile
from pathlib import Path

import torch
from rich.console import Console

from diptych.data import layouts
from diptych.data.loaders import CachedDataset
from diptych.devices import Device, Precision
from diptych.files import OwnedFolder, atomic_file, is_plain, require_no_link
from diptych.images.files import Pixels, decode_bytes, encode, from_bytes, from_tensor, to_channels
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import Direction, in_words
from diptych.model import Model, load
from diptych.progress import counting, say
from diptych.training.run import names_digest

COUNT = (7_000, 10_000)
SIZE = 256
LABEL = "made-with.json"
EXISTS = "exists already; choose another --out or move it away"
FOREIGN = "is needed for the single paintings and holds something else; move it away"
OTHER = (
    "holds paintings of another submission ({} differ); give its command again to go on with it, choose another --out, "
    "or move the folder away"
)
AT_ONCE = 8
THREADS = 4


def submit(
    run: Path | str,
    *,
    data: Path | str,
    out: Path | str,
    direction: Direction | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    console: Console | None = None,
) -> Path:
    """Translates the photographs in `data` into the zip file `out`, checks it, and returns its path.

    A photograph that is not 256 x 256 is cut to its middle square and scaled. Raises a `ValueError` with the reason when
    there are too few or too many photographs, when one cannot be read, when `out` exists already, or when the zip file is
    not what Kaggle takes.

    Args:
        run: The folder of a run, or a model folder.
        data: The photographs: a folder of 7,000 to 10,000 pictures, or of TFRecord files.
        out: The zip file to write; Kaggle wants the name images.zip.
        direction: The direction from photographs to paintings; without it, that of the training.
        device: Where to run.
        precision: bf16 or fp32.
    """
    console, data, out = console or Console(), Path(data), Path(out)
    if out.suffix != ".zip":
        raise ValueError(f"{out}: a submission is a zip file; --out images.zip is what Kaggle expects")
    require_no_link(paintings := out.with_name(f"{out.name}.paintings"))
    if os.path.lexists(out) and not paintings.is_dir():  # with it, the same command may have been killed at its end
        raise ValueError(f"{out}: {EXISTS}")
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(data)):
        raise ValueError(f"{out}: lies among the photographs, and would be taken for one; choose another --out")
    model = load(run, direction=direction, device=device, precision=precision)
    x_spec = model.translator.input_specs.get("x")
    if not isinstance(x_spec, ImageSpec) or len(model.translator.input_specs) > 1:
        raise ValueError(f"{run}: {model.config.method} makes no picture out of a photograph alone; give another run")
    photos = CachedDataset(layouts.find_singles(data, x_spec), Size.square(SIZE), "crop")
    least, most = COUNT
    if not least <= len(photos) <= most:
        raise ValueError(f"{data}: holds {len(photos)} pictures; Kaggle takes {least} to {most} in one submission")
    folder = OwnedFolder(paintings, _made_with(model, photos), LABEL)
    folder.require_ours(FOREIGN, OTHER, joined=" and ")
    files = [paintings / f"{number:05d}.jpg" for number in range(1, len(photos) + 1)]
    if os.path.lexists(out):
        if not _holds(out, files):
            raise ValueError(f"{out}: {EXISTS}")
        return _finish(files, out, console)
    with counting(console, "looking at every photograph") as progress:
        photos.check(THREADS, progress)
    way = in_words(model.direction, model.config.sides)
    say(console, f"{run}: {len(photos)} photographs of {data}, {way}, with the model of step {model.step}")

    folder.claim(FOREIGN, OTHER)
    try:
        _paint_missing(model, photos, files, console)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{paintings}: keeps what is painted so far; the same command goes on") from None
    _pack(files, out)
    return _finish(files, out, console)


def _holds(out: Path, files: list[Path]) -> bool:
    """Whether a zip is the whole submission of these files, of which a killed command left some beside it."""
    if not is_plain(out):
        return False
    try:
        with zipfile.ZipFile(out) as archive:
            is_whole = archive.namelist() == [file.name for file in files]
            left = [file for file in files if is_plain(file)]
            return is_whole and all(archive.read(file.name) == file.read_bytes() for file in left) and not check(out)
    except (zipfile.BadZipFile, OSError):
        return False


def _finish(files: list[Path], out: Path, console: Console) -> Path:
    """Removes the single paintings, which are in the zip."""
    paintings = files[0].parent
    for file in (*files, paintings / LABEL):
        file.unlink(missing_ok=True)
    if not any(paintings.iterdir()):
        paintings.rmdir()
    say(console, f"{out}: ready: {len(files)} JPEGs of {SIZE} x {SIZE}, read back from the zip")
    return out


def check(file: Path) -> list[str]:
    """What is wrong with a submission, by count, size, mode and readability; empty when nothing is."""
    problems = []
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if not COUNT[0] <= len(names) <= COUNT[1]:
            problems.append(f"holds {len(names)} files, {COUNT[0]} to {COUNT[1]} are expected")
        for name in names:
            try:
                data = archive.read(name)
                shape = decode_bytes(data, name).values.shape
            except (ValueError, zipfile.BadZipFile) as error:
                problems.append(str(error))
                continue
            if not (name.endswith(".jpg") and data.startswith(b"\xff\xd8")):
                problems.append(f"{name}: is no JPEG, or not called .jpg")
            elif shape != (SIZE, SIZE, 3):
                problems.append(f"{name}: is {shape}, {(SIZE, SIZE, 3)} is expected")
    return problems


def _made_with(model: Model, photos: CachedDataset) -> dict[str, str]:
    return {
        "model": _fingerprint(model),
        "direction": model.direction,
        "precision": model.precision,
        "photographs": names_digest([photos.dataset]),
    }


def _fingerprint(model: Model) -> str:
    """Of the weights in use: the files of a run that is still training may be newer by now."""
    digest = hashlib.sha256()
    for translator in model.translators.values():
        for weights in translator.network.state_dict().values():
            digest.update(weights.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _paint_missing(model: Model, photos: CachedDataset, files: list[Path], console: Console) -> None:
    missing = [index for index, file in enumerate(files) if not is_plain(file)]  # what a link leads to is not sent
    done = len(files) - len(missing)
    if done:
        say(console, f"{files[0].parent}: {done} are there already, {len(missing)} are missing")
    with counting(console, "painting") as progress:
        for first in range(0, len(missing), AT_ONCE):
            indices = missing[first : first + AT_ONCE]
            x = from_bytes(torch.stack([photos.get(index) for index in indices]))
            for painting, index in zip(model.run(x), indices, strict=True):
                encode(Pixels(to_channels(from_tensor(painting), 3)), files[index])
            progress(done + first + len(indices), len(files))


def _pack(files: list[Path], out: Path) -> None:
    with atomic_file(out) as beside:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:  # JPEGs do not get smaller
            for file in files:
                archive.write(file, file.name)
        if problems := "; ".join(check(beside)):
            raise ValueError(f"{out}: cannot be submitted: {problems}; remove {files[0].parent} and try again")
