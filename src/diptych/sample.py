"""Pictures out of noise, of the classes that a person names: one sheet, or single files."""

import math
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from diptych.data import pictures
from diptych.data.outputs import require_free
from diptych.devices import Device, Precision
from diptych.model import load

Label = str | int


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
    """Draws `count` pictures of each `label`, of all that the model knows if none is given, and gives the files written.

    `out` is a picture file for a sheet: a row for each label, or, of one label, as many rows as columns. Or it is a folder,
    for single files: `out/LABEL/00000.png`, as training reads them. The same seed gives the same pictures (`Model.sample`).
    Raises a `ValueError` for a label that the model does not know, a model that needs pictures to start from, or a file that
    is there already and may not be written over (`overwrite`).
    """
    model, out = load(run, device=device, precision=precision), Path(out)
    named = label if isinstance(label, Iterable) and not isinstance(label, str) else [label]
    asked = [str(one) for one in named if one is not None] or model.method.classes or (None,)
    made = {one: model.generate(one, count, seed) for one in asked}
    if out.suffix and not out.is_dir():
        pictures.require_writable_suffix(out)
        require_free([out], overwrite)
        columns = count if len(made) > 1 else math.ceil(math.sqrt(count))
        sheet = pictures.merge(list(chain.from_iterable(made.values())), columns=columns)
        out.parent.mkdir(parents=True, exist_ok=True)
        pictures.encode(pictures.from_tensor(sheet), out)
        return [out]
    targets = {
        one: [out / str("" if one is None else one) / f"{number:05d}.png" for number in range(count)] for one in made
    }
    require_free(list(chain.from_iterable(targets.values())), overwrite)
    for one, drawn in made.items():
        for picture, target in zip(drawn, targets[one], strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            pictures.encode(pictures.from_tensor(picture), target)
    return list(chain.from_iterable(targets.values()))
