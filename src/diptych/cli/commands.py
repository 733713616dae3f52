"""The commands that use what was trained, and those that tell what there is."""

import sys
from pathlib import Path
from typing import Literal

from diptych.cli.frame import app


@app.command
def methods() -> None:
    """List the methods, their papers and the data that each needs."""
    from rich.console import Console
    from rich.table import Table

    from diptych.methods import METHODS

    table = Table("method", "what it learns", "data", "paper", box=None)
    for name, method in METHODS.items():
        table.add_row(name, method.summary, method.data, method.paper)
    Console().print(table)


@app.command
def translate(
    run: Path,
    *inputs: Path,
    out: Path,
    direction: Literal["AtoB", "BtoA"] | None = None,
    overwrite: bool = False,
    mask: Path | None = None,
    blend: Literal["none", "telea", "poisson"] = "none",
    stochastic: bool = False,
    seed: int = 0,
    working_size: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> int:
    """Translate pictures of any size: a file to a file, a folder to a folder.

    Parameters
    ----------
    run
        The folder of a run, also while it is still training, or a model folder.
    inputs
        Pictures, or folders of them.
    out
        The file or folder to write.
    direction
        Which way, for a model that knows both; without it, the way of its training.
    overwrite
        Write over older results. Inputs are never written over.
    mask
        For completion: the holes, white; one mask for all, or a folder that has one of the same name for each picture.
    blend
        For completion: make what was drawn meet its surroundings, by fast marching or by Poisson blending.
    stochastic
        Leave dropout on, the pix2pix paper's source of variety.
    seed
        Seed of --stochastic.
    working_size
        Shrink each picture so that its shorter side has this many pixels, translate, and scale back.
    device
        Where to run.
    precision
        bf16 or fp32.
    """
    from rich.console import Console

    import diptych
    from diptych.progress import counting

    if not inputs:
        raise ValueError("translate: no pictures given; diptych translate RUN INPUT... --out PATH")
    with counting(Console(stderr=True), "translating") as progress:
        problems = diptych.translate(
            run,
            inputs,
            out=out,
            direction=direction,
            overwrite=overwrite,
            mask=mask,
            blend=blend,
            stochastic=stochastic,
            seed=seed,
            working_size=working_size,
            device=device,
            precision=precision,
            progress=progress,
        )
    for problem in problems:
        print(f"diptych: skipped: {problem}", file=sys.stderr)  # noqa: T201
    return 1 if problems else 0


@app.command
def sample(
    run: Path,
    *,
    out: str,
    label: list[str] | None = None,
    count: int = 16,
    seed: int = 0,
    overwrite: bool = False,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> None:
    """Draw pictures out of noise, of the class that you name; the same seed gives the same pictures.

    Parameters
    ----------
    run
        The folder of a run, also while it is still training, or a model folder.
    out
        A picture file to write, a row for each label; or a folder, such as digits/, for single files.
    label
        The class, by its name; may be given several times. Without it, every class.
    count
        Pictures of each class.
    seed
        Seed of the noise.
    overwrite
        Write over older results.
    device
        Where to run.
    precision
        bf16 or fp32.
    """
    import diptych

    files = diptych.sample(
        run,
        out=out,
        label=label,
        count=count,
        seed=seed,
        overwrite=overwrite,
        device=device,
        precision=precision,
    )
    print(out if len(files) == 1 else f"{out}: {len(files)} pictures")  # noqa: T201


@app.command
def submit(
    run: Path,
    *,
    data: Path,
    out: Path,
    direction: Literal["AtoB", "BtoA"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> None:
    """Translate photographs into a submission for Kaggle's "I'm Something of a Painter Myself".

    The zip file is read back and checked before it is called ready. The same command goes on where it was interrupted.

    Parameters
    ----------
    run
        The folder of a run, or a model folder.
    data
        The photographs: a folder of 7,000 to 10,000 pictures, or of TFRecord files.
    out
        The zip file to write; Kaggle wants the name images.zip.
    direction
        Which way leads from photographs to paintings; without it, the way of the training.
    device
        Where to run.
    precision
        bf16 or fp32.
    """
    import diptych

    diptych.submit(run, data=data, out=out, direction=direction, device=device, precision=precision)


@app.command
def evaluate(
    run: Path | None = None,
    *,
    data: Path | None = None,
    data_a: Path | None = None,
    data_b: Path | None = None,
    real: Path | None = None,
    fake: Path | None = None,
    out: Path | None = None,
    metrics: str = "",
    baselines: bool = False,
    direction: Literal["AtoB", "BtoA"] | None = None,
    features: Path | None = None,
    weights: Path | None = None,
    fetch_weights: bool = False,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> int:
    """Measure a model on held-out pictures, and keep every result in the run; or one folder of pictures beside another.

    Parameters
    ----------
    run
        The folder of a run.
    data
        The folder of pictures, or an array of them (npy); its val (or test) split is measured.
    data_a
        The folder of A, where A and B lie apart; with --data-b.
    data_b
        The folder of B.
    real
        Without a run: a folder of real pictures; with --fake.
    fake
        A folder of pictures to be measured beside the real ones.
    out
        With --real and --fake: a folder for metrics.jsonl; without it, the numbers are only printed.
    metrics
        Names, separated by commas; without it, all that the pictures allow.
    baselines
        Measure answers without a model too, such as the mean training target.
    direction
        Measure a model that translates both ways this way only.
    features
        An exported network (.pt2) in place of Inception, for fid, kid, mifid, precision and recall.
    weights
        The folder in which the weights of Inception and AlexNet lie; else $DIPTYCH_WEIGHTS, else torch's own cache.
    fetch_weights
        Download weights that are not there.
    device
        Where to run.
    """
    from rich.console import Console

    import diptych
    from diptych.cli.numbers import show
    from diptych.progress import counting

    names = [name.strip() for name in metrics.split(",")] if metrics else None
    with counting(Console(stderr=True), "measuring") as progress:
        lines = diptych.evaluate(
            run,
            data=data,
            data_a=data_a,
            data_b=data_b,
            real=real,
            fake=fake,
            out=out,
            names=names,
            baselines=baselines,
            direction=direction,
            features=features,
            weights=weights,
            fetch_weights=fetch_weights,
            device=device,
            progress=lambda what, done, total: progress(done, total, what),
        )
    show(lines, str(run) if run else f"{fake} beside {real}", Console())
    missing: dict[str, str] = lines[0].get("not-measured", {})
    for reason in dict.fromkeys(missing.values()):
        without = ", ".join(name for name in missing if missing[name] == reason)
        print(f"diptych: not measured: {without}: {reason}", file=sys.stderr)  # noqa: T201
    return 1 if names and missing else 0


@app.command
def report(*runs: Path, out: Path | None = None) -> None:
    """Draw the page of a run: curves, samples, results, numbers; or, of several, one that compares them.

    A page opens from disk and needs no network; its folder can be zipped and sent.

    Parameters
    ----------
    runs
        The folder of a run, or of several.
    out
        The folder for the comparison of several runs.
    """
    import diptych

    print(diptych.report(*runs, out=out))  # noqa: T201


@app.command
def quickstart(*, out: Path = Path("quickstart")) -> None:
    """Train pix2pix on the built-in facades and draw the report: minutes on two cores.

    Parameters
    ----------
    out
        The folder for the pictures and the run.
    """
    from diptych.quickstart import quickstart

    quickstart(out)
