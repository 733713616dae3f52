"""`train_opt.txt`, in which junyanz/pytorch-CycleGAN-and-pix2pix notes the options of a training: as a command of ours."""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple, get_args

from diptych.files import read_text
from diptych.networks.layers import InitType
from diptych.training.settings import settings_from
from diptych.wording import brief, shown

METHODS_THERE = {"cycle_gan": "cyclegan", "pix2pix": "pix2pix", "colorization": "colorize"}
GENERATORS_THERE = {"resnet_9blocks": "resnet9", "resnet_6blocks": "resnet6"}
PATCHES_THERE = {"basic": 70, "pixel": 1}
PATCHES_OF_LAYERS = {"1": 16, "3": 70, "5": 286}
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
    """The command of ours that trains what these options train; settings that are ours by default are left out.

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
    flags, notes = dict[str, Any](), list[str]()

    def number(name: str) -> Any:
        text = options[name]
        try:
            return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
        except ValueError:
            raise ValueError(f"{name}: a number is expected, found {shown(text)}") from None

    numbers = {
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
    flags |= {ours: number(theirs) for theirs, ours in numbers.items() if theirs in options}
    flags["direction"] = options.get("direction", "AtoB")
    if {"load_size", "crop_size"} <= options.keys():
        flags["load-scale"] = number("load_size") / number("crop_size")
    constant, decay = (number(name) if name in options else 100 for name in ("n_epochs", "n_epochs_decay"))
    flags |= {
        "epochs": float(constant + decay),
        "decay-start": constant / (constant + decay) if constant + decay else 1.0,
    }
    if options.get("no_flip") == "True":
        flags["flip"] = False
    if method != "colorize":
        channels = [number(name) if name in options else 3 for name in ("input_nc", "output_nc")]
        flags |= dict(
            zip(("channels-a", "channels-b"), channels[:: 1 if flags["direction"] == "AtoB" else -1], strict=True)
        )
    if generator := options.get("netG"):
        flags["method.generator"] = GENERATORS_THERE.get(generator, "unet")
    if (norm := options.get("norm")) and not (norm == "instance" and method == "cyclegan"):
        flags["method.norm"] = {"syncbatch": "batch"}.get(norm, norm)
    if "no_dropout" in options:
        flags["method.dropout"] = options["no_dropout"] != "True"
    judge = options.get("netD", "basic")
    patch = PATCHES_OF_LAYERS.get(options.get("n_layers_D", "3")) if judge == "n_layers" else PATCHES_THERE.get(judge)
    if patch:
        flags["method.patch"] = patch
    else:
        notes.append(f"netD {judge} of {options.get('n_layers_D')} layers is not here; --method.patch is 16, 70 or 286")
    policy, start = options.get("lr_policy", "linear"), options.get("init_type", "normal")
    if policy == "step" and "lr_decay_iters" in options:
        flags |= {"lr-policy": policy, "decay-start": number("lr_decay_iters") / (constant + decay)}
    elif policy == "cosine":
        flags |= {"lr-policy": policy, "decay-start": 0.0}
    elif policy != "linear":
        notes.append(f"lr_policy {brief(policy, 30)} is not here, and is linear")
    if start in get_args(InitType):
        flags["init-type"] = start
    else:
        notes.append(f"init_type {brief(start, 30)} is not here, and is normal")
    if mode := options.get("gan_mode"):
        flags["method.adversarial"] = mode if mode != "wgangp" else "hinge"
        notes += ["gan_mode wgangp is not here; hinge stands for it"] * (mode == "wgangp")
    for theirs, usual in (
        ("preprocess", "resize_and_crop"),
        ("lambda_B", options.get("lambda_A")),
        ("ndf", options.get("ngf")),
    ):
        if theirs in options and options[theirs] != usual:
            notes.append(f"{theirs} {brief(options[theirs], 30)} is not here, and is {usual}")
    return flags, notes
