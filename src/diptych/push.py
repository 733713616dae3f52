"""A model with its card as a repository on the Hugging Face Hub, or as a folder with the same files."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from diptych.files import is_vacant, make_folder
from diptych.hub import Address, library
from diptych.methods import METHODS
from diptych.training import checkpoint
from diptych.training.records import Scores
from diptych.training.run import Run, read_json_lines

LEFT_OUT = {"device", "workers", "memory-gib", "log-every", "sample-every", "checkpoint-every", "method"}
"""Settings that say nothing about the model."""


def push(
    run: Path | str,
    repository: str,
    *,
    licence: str,
    private: bool = False,
    with_samples: bool = False,
    dry_run: Path | str | None = None,
) -> str:
    """Writes the model of a run with a card, and uploads them as one commit; returns the address or the folder.

    The card has the settings, the metrics of `evaluate` with their names, and how to use the model. A `ValueError` without
    the extra `hub`, for a run without a model, or when the hub refuses it.

    Args:
        run: The folder of a run.
        repository: OWNER/NAME on the hub; created if it does not exist.
        licence: Of the weights, by its name on the hub, such as mit, cc-by-4.0 or other: what you may choose depends on the
            pictures.
        private: A repository that only its owner sees.
        with_samples: The newest sample sheet too: it shows pictures of your data.
        dry_run: A folder to write instead of uploading.
    """
    address, opened = Address.parse(repository), Run.open(Path(run))
    if address.revision:
        raise ValueError(f"{repository}: a revision comes of itself; give OWNER/NAME")
    model = opened.path / "model"
    step = checkpoint.model_step(model)
    if step is None:
        raise ValueError(f"{opened.path}: has no model yet; wait for its first checkpoint")
    if dry_run is not None:
        _write(Path(dry_run), opened, model, step, address, licence, with_samples)
        return str(dry_run)
    hub = library()
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / "model"
        _write(folder, opened, model, step, address, licence, with_samples)
        try:
            hub.create_repo(address.repository, private=private, exist_ok=True)
            found = hub.upload_folder(
                repo_id=address.repository, folder_path=folder, commit_message=f"{opened.method} at step {step:,}"
            )
        except Exception as error:
            raise ValueError(
                f"{repository}: could not be uploaded ({str(error).splitlines()[0][:120]}); `hf auth login` says who you are"
            ) from error
    return str(found)


def _write(folder: Path, run: Run, model: Path, step: int, address: Address, licence: str, with_samples: bool) -> None:
    if not is_vacant(folder):
        raise ValueError(f"{folder}: exists already; choose another folder, nothing of yours is overwritten")
    make_folder(folder)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(model / name, folder / name)
    sheets = sorted((run.path / "samples").glob("step-*.png")) if with_samples else []
    if sheets:
        shutil.copyfile(sheets[-1], folder / "samples.png")
    (folder / "README.md").write_text(card(run, step, address, licence, bool(sheets)), encoding="utf-8")


def card(run: Run, step: int, address: Address, licence: str, with_samples: bool = False) -> str:
    """The model card: what the hub reads, and what people read."""
    about, values, scores = METHODS[run.method], run.values(), _scores(run, step)
    return "\n".join(
        [
            "---",
            *(
                f"{key}: {json.dumps(value)}" for key, value in _front(run, address, licence, scores).items()
            ),  # JSON is YAML
            "---",
            f"# {address.name}",
            "",
            f"{about.summary.capitalize()}: a model of {run.method} ({about.paper}), trained with Diptych "
            f"{version('diptych')} for {step:,} steps at {values['size']} px.",
            *(["", "![Inputs, outputs and targets](samples.png)"] if with_samples else []),
            "",
            "## Use it",
            "",
            *_use(run, address),
            "",
            "## How good it is",
            "",
            *(_table(scores) or ["Nothing was measured: `diptych evaluate` does."]),
            "",
            "## How it was made",
            "",
            f"Data: {run.about.found or 'not noted'}. Settings:",
            "",
            *(f"* `{key}` {value}" for key, value in _settings(values).items()),
            "",
            "## What to expect",
            "",
            "It knows pictures like those that it was trained on. What it draws is likely, not true: nothing that it adds "
            "is evidence of anything.",
            "",
        ]
    )


def _draws(run: Run) -> bool:
    """Whether the model makes pictures out of noise, and not out of pictures."""
    return not METHODS[run.method].metrics


def _front(run: Run, address: Address, licence: str, scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The front matter, by which the hub lists a model."""
    front: dict[str, Any] = {
        "library_name": "diptych",
        "pipeline_tag": "unconditional-image-generation" if _draws(run) else "image-to-image",
        "license": licence,
        "tags": ["diptych", run.method, "gan"],
    }
    if scores:
        front["model-index"] = [{"name": address.name, "results": [*map(_as_result, scores)]}]
    return front


def _as_result(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of metrics.jsonl in the form of the hub's index."""
    return {
        "task": {"type": "image-to-image"},
        "dataset": {"name": Path(line["data"].split()[-1]).name, "type": "own", "split": line["split"]},
        "metrics": [{"name": name, "type": name, "value": value} for name, value in line["metrics"].items()],
    }


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    """Those that say something about the model, with the method's own by their flags."""
    own = {f"method.{key}": value for key, value in values["method"].items() if key != "name"}
    return {key: value for key, value in (values | own).items() if key not in LEFT_OUT}


def _use(run: Run, address: Address) -> list[str]:
    """The command and the code that use the model."""
    if _draws(run):
        command, call, imports = "sample", f"model.sample({run.classes[:1] or ''!r})", []
        arguments = "--out picture.png"
    else:
        command, call, imports = "translate", 'model(Image.open("photo.png"))', ["from PIL import Image"]
        arguments = "photo.png --out picture.png"
    return [
        "```sh",
        "pip install 'diptych[hub]'",
        f"diptych {command} hub:{address.repository} {arguments}",
        "```",
        "",
        "```python",
        "import diptych",
        *imports,
        "",
        f'model = diptych.load("hub:{address.repository}")',
        f"picture = {call}",
        "```",
    ]


def _scores(run: Run, step: int) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` about the model at this step, the newest of each direction and split."""
    lines = read_json_lines(run.path / "metrics.jsonl", Scores, [])
    ours = [line for line in lines if line["who"] == "model" and line["step"] == step]
    return [*{(line.get("direction"), line["split"]): line for line in ours}.values()]


def _table(scores: list[dict[str, Any]]) -> list[str]:
    rows = []
    for line in scores:
        values: Mapping[str, float] = line["metrics"]
        rows += [f"| {name} | {value:.4g} | {line['count']} of {line['split']} | " for name, value in values.items()]
    return ["| metric | value | pictures |", "|---|---|---|", *rows] if rows else []
