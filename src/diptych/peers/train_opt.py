"""`train_opt.txt`, in which junyanz/pytorch-CycleGAN-and-pix2pix notes the options of a training: as a command of ours."""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple, get_args

from diptych.files import read_text
from diptych.networks.layers import InitType
from diptych.training.settings import settings_from
from diptych.wording import brief, shown

FITS_THERE = {
    "resize_and_crop": "stretch",
    "crop": "none",
    "scale_width_and_crop": "scale-width",
    "scale_width": "scale-width",
    "none": "none",
}
METHODS_THERE = {"cycle_gan": "cyclegan", "pix2pix": "pix2pix", "colorization": "colorize"}
GENERATORS_THERE = {"resnet_9blocks": "resnet9", "resnet_6blocks": "resnet6"}
PATCHES_THERE = {"basic": 70, "pixel": 1}
PATCHES_OF_LAYERS = {"1": 16, "3": 70, "5": 286}
NUMBERS_THERE = {
    "batch_size": "batch-size",
    "lr": "lr",
    "beta1": "beta1",
    "crop_size": "size",
    "ngf": "method.width",
    "pool_size": "method.pool-size",
    "lambda_A": "method.lambda-cycle",
    "lambda_identity": "method.lambda-identity",
    "lambda_L1": "method.lambda-l1",
}
LINE = re.compile(r" *(\w+): ?(.*?)[ \t]*(?:\[default: .*\])?[ \t]*$")


class Translated(NamedTuple):
    """A command, and what it does not say."""

    command: str
    notes: list[str]


def read_options(path: Path) -> dict[str, str]:
    """The options in a `train_opt.txt` or `opt.txt`; a `ValueError` for a file that is none.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "train_opt.txt"
    >>> _ = file.write_text("---- Options ----\\n   ngf: 32      \\t[default: 64]\\n  name: maps      \\n---- End ----\\n")
    >>> read_options(file)
    {'ngf': '32', 'name': 'maps'}
    """
    lines = read_text(path).splitlines()
    options = {found[1]: found[2] for line in lines if (found := LINE.match(line))}
    if "model" not in options and "ngf" not in options:
        raise ValueError(
            f"{path}: is no train_opt.txt of that program (it names no model); give checkpoints/NAME/train_opt.txt"
        )
    return options


def as_command(options: dict[str, str], data: str = "") -> Translated:
    """The command of Diptych for the same training; settings that have their default values are left out.

    >>> as_command({"model": "pix2pix", "name": "facades", "direction": "BtoA", "ngf": "32", "ndf": "32"}, "facades").command
    'diptych train pix2pix --data facades --out runs/facades --method.width 32 --direction BtoA'
    """
    method = METHODS_THERE.get(options.get("model", ""))
    if method is None:
        raise ValueError(f"model {shown(options.get('model', ''))}: is not here; there are {', '.join(METHODS_THERE)}")
    flags, notes = _flags(options, method)
    default = settings_from(method, {}).model_dump(by_alias=True)
    own = default.pop("method")
    words = []
    for flag, value in flags.items():
        group, name = (own, flag.removeprefix("method.")) if flag.startswith("method.") else (default, flag)
        if name not in group:
            notes += [f"{name} is no setting of {method}"] * bool(value)
        elif group[name] != value:
            words += [f"--{flag}", str(value).lower() if isinstance(value, bool) else str(value)]
    place = data or options.get("dataroot", "DIR")
    start = ["diptych", "train", method, "--data", place, "--out", f"runs/{options.get('name', 'run')}"]
    return Translated(shlex.join([*start, *words]), notes)


def _flags(options: dict[str, str], method: str) -> tuple[dict[str, Any], list[str]]:
    """Our flags with their values, and a note on whatever has none."""
    direction = options.get("direction", "AtoB")
    flags = {ours: _number(options, theirs) for theirs, ours in NUMBERS_THERE.items() if theirs in options}
    flags |= {"direction": direction, **_sizes(options), **_length(options)}
    if options.get("no_flip") == "True":
        flags["flip"] = False
    if method != "colorize":
        x, y = (_number(options, name, 3) for name in ("input_nc", "output_nc"))
        a, b = (x, y) if direction == "AtoB" else (y, x)
        flags |= {"channels-a": a, "channels-b": b}
    if generator := options.get("netG"):
        flags["method.generator"] = GENERATORS_THERE.get(generator, "unet")
    if (norm := options.get("norm")) and not (norm == "instance" and method == "cyclegan"):
        flags["method.norm"] = {"syncbatch": "batch"}.get(norm, norm)
    if "no_dropout" in options:
        flags["method.dropout"] = options["no_dropout"] != "True"
    if patch := _patch(options):
        flags["method.patch"] = patch
    flags |= _policy(options)
    if (start := options.get("init_type", "normal")) in get_args(InitType):
        flags["init-type"] = start
    if mode := options.get("gan_mode"):
        flags["method.adversarial"] = mode if mode != "wgangp" else "hinge"
    return flags, _not_here(options)


def _number(options: dict[str, str], name: str, default: int | None = None) -> Any:
    """The number of an option; a `ValueError` for text, and a `KeyError` without option and default."""
    if name not in options and default is not None:
        return default
    text = options[name]
    try:
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    except ValueError:
        raise ValueError(f"{name}: a number is expected, found {shown(text)}") from None


def _sizes(options: dict[str, str]) -> dict[str, Any]:
    fit = FITS_THERE.get(options.get("preprocess", ""), "stretch")
    if fit == "none" or not {"load_size", "crop_size"} <= options.keys():
        return {"fit": fit}
    load, crop = (_number(options, name) for name in ("load_size", "crop_size"))
    if options.get("preprocess") == "scale_width":  # nothing is cut off
        return {"fit": fit, "size": load, "load-scale": 1.0}
    return {"fit": fit, "load-scale": load / crop}


def _epochs(options: dict[str, str]) -> tuple[Any, Any]:
    """The epochs of a constant learning rate, and those in which it falls to 0."""
    return _number(options, "n_epochs", 100), _number(options, "n_epochs_decay", 100)


def _length(options: dict[str, str]) -> dict[str, Any]:
    constant, decay = _epochs(options)
    epochs = constant + decay
    return {"epochs": float(epochs), "decay-start": constant / epochs if epochs else 1.0}


def _policy(options: dict[str, str]) -> dict[str, Any]:
    """How the learning rate falls, if not linearly."""
    policy = options.get("lr_policy")
    if policy == "step" and "lr_decay_iters" in options:
        return {"lr-policy": policy, "decay-start": _number(options, "lr_decay_iters") / (sum(_epochs(options)) or 1)}
    return {"lr-policy": policy, "decay-start": 0.0} if policy == "cosine" else {}


def _patch(options: dict[str, str]) -> int | None:
    """The receptive field of the discriminator in pixels; None for one that is not here."""
    judge = options.get("netD", "basic")
    if judge == "n_layers":
        return PATCHES_OF_LAYERS.get(options.get("n_layers_D", "3"))
    return PATCHES_THERE.get(judge)


def _not_here(options: dict[str, str]) -> list[str]:
    """A note on each option that no flag of ours says."""
    notes = list[str]()
    if not _patch(options):
        layers = f"netD {options.get('netD')} of {options.get('n_layers_D')} layers"
        notes.append(f"{layers} is not here; --method.patch is 16, 70 or 286")
    policy, start = options.get("lr_policy", "linear"), options.get("init_type", "normal")
    if not (policy in ("linear", "cosine") or (policy == "step" and "lr_decay_iters" in options)):
        notes.append(f"lr_policy {brief(policy, 30)} is not here, and is linear")
    if start not in get_args(InitType):
        notes.append(f"init_type {brief(start, 30)} is not here, and is normal")
    if options.get("gan_mode") == "wgangp":
        notes.append("gan_mode wgangp is not here; hinge stands for it")
    if (preprocess := options.get("preprocess")) in ("scale_width", "none"):
        notes.append(
            f"preprocess {preprocess} takes pictures whole, and --fit {FITS_THERE[preprocess]} parts of --size; where all "
            "have one shape, --size WIDTHxHEIGHT --fit stretch --load-scale 1 takes them whole"
        )
    for theirs, usual in (
        ("lambda_B", options.get("lambda_A")),
        ("ndf", options.get("ngf")),
    ):
        if theirs in options and options[theirs] != usual:
            notes.append(f"{theirs} {brief(options[theirs], 30)} is not here, and is {usual}")
    return notes
