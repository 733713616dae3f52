"""Pictures out of noise, of the classes that a person names: one sheet, or single files."""

import math
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from diptych.data.outputs import require_free
from diptych.devices import Device, Precision
from diptych.images.files import encode, from_tensor, merge, require_writable_suffix
from diptych.model import load

Label = str | int

GAP = 2  # pixels between the pictures of a sheet
LONGEST = {".webp": 16_383, ".jpg": 65_500, ".jpeg": 65_500}  # pixels of a side that a format can hold


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
    named = label if isinstance(label, Iterable) and not isinstance(label, str) else [label]
    asked = [str(one) for one in named if one is not None] or model.translator.classes or (None,)
    drawn = {one: model.generate(one, count, seed) for one in asked}  # nothing is drawn before it is asked for
    if not Path(out).suffix or Path(out).is_dir() or str(out).endswith("/"):
        targets = [Path(out, one or "", f"{number:05d}.png") for one in drawn for number in range(count)]
        require_free(targets, overwrite)
        for picture, target in zip(chain.from_iterable(drawn.values()), targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            encode(from_tensor(picture), target)
        return targets
    target = Path(out)
    require_writable_suffix(target)
    require_free([target], overwrite)
    columns = count if len(drawn) > 1 else math.ceil(math.sqrt(count))
    rows = math.ceil(len(drawn) * count / columns)
    longest = max(rows, columns) * (model.config.shape.size + GAP)
    if longest > LONGEST.get(target.suffix.lower(), longest):
        raise ValueError(
            f"{target}: {rows} rows of {columns} pictures are more than such a file can hold; choose .png, a smaller "
            "--count, or a folder for single files"
        )
    sheet = merge(list(chain.from_iterable(drawn.values())), columns, GAP)
    target.parent.mkdir(parents=True, exist_ok=True)
    encode(from_tensor(sheet), target)
    return [target]
