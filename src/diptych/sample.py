"""Generate images of chosen classes from noise: one grid, or single files."""

import math
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from diptych.data.outputs import require_free
from diptych.devices import Device, Precision
from diptych.files import remove_leftovers_beside
from diptych.images.files import encode, from_tensor, merge, require_writable_suffix
from diptych.model import load

Label = str | int

GAP = 2  # pixels between the images of a grid
MAX_SIDE = {".webp": 16_383, ".jpg": 65_500, ".jpeg": 65_500}  # pixels, by file format


def sample(
    run: Path | str,
    *,
    out: Path | str,
    label: Label | Iterable[Label] | None = None,
    count: int = 16,
    seed: int = 0,
    overwrite: bool = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> list[Path]:
    """Generates `count` pictures of each `label` and returns the files written; the same seed gives the same pictures.

    A sheet is RGB, with a row for each label, or, of one label, about as many rows as columns. Single files are written as
    training reads them, `out/LABEL/00000.png`. Raises a `ValueError` for a label that the model does not know, a model that
    needs pictures to start from, and a file that exists already.

    Args:
        run: The folder of a run, also while it is still training, or a model folder.
        out: A picture file to write, a row for each label; or a folder, such as digits/, for single files.
        label: The class, by its name; may be given several times. Without it, every class.
        count: Pictures of each class.
        seed: Seed of the noise.
        overwrite: Write over older results.
        device: Where to run.
        precision: bf16 or fp32.
    """
    model = load(run, device=device, precision=precision)
    given = label if isinstance(label, Iterable) and not isinstance(label, str) else [label]
    labels = [str(one) for one in given if one is not None] or model.translator.classes or (None,)
    images = {one: model.generate(one, count, seed) for one in labels}  # generators: no image is generated yet
    if not Path(out).suffix or Path(out).is_dir() or str(out).endswith("/"):
        targets = [Path(out, one or "", f"{number:05d}.png") for one in images for number in range(count)]
        require_free(targets, overwrite)
        remove_leftovers_beside(targets)
        for image, target in zip(chain.from_iterable(images.values()), targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            encode(from_tensor(image), target)
        return targets
    target = Path(out)
    require_writable_suffix(target)
    require_free([target], overwrite)
    remove_leftovers_beside([target])
    columns = count if len(images) > 1 else math.ceil(math.sqrt(count))
    rows = math.ceil(len(images) * count / columns)
    side = max(rows, columns) * (model.config.shape.size.height + GAP)
    if side > MAX_SIDE.get(target.suffix.lower(), side):
        raise ValueError(
            f"{target}: {rows} rows of {columns} pictures are more than such a file can hold; choose .png, a smaller "
            "--count, or a folder for single files"
        )
    grid = merge(list(chain.from_iterable(images.values())), columns, GAP)
    target.parent.mkdir(parents=True, exist_ok=True)
    encode(from_tensor(grid), target)
    return [target]
