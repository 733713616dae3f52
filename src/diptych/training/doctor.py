"""Common failures of adversarial training, found in the numbers and images of a run: what was seen, and what to try.

Every rule is a pure function. Its threshold has a source, or was set by the runs of docs/results.md, which must trigger no
finding; docs/doctor.md shows their values. A discriminator's loss is compared with the chance level of its adversarial loss.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diptych.methods.base import Adversary, Scores
from diptych.methods.settings import kebab
from diptych.training.settings import Settings
from diptych.translators.base import Outcome

Finding = dict[str, str]
"""`finding`, `of` which player or network, `saw` and `try`, in words."""

WINDOW = 400  # steps over which losses are averaged
WON = 0.05  # of the reference: lowest of nine good runs 0.22, of one that learnt poorly 0.074
LOST = 1.5  # times the reference: highest of the same runs 1.28
AT_REFERENCE = 0.02, 0.05  # how near D's loss and G's are to it: none of the same runs has G nearer than 0.15
EXPLODED = 100.0  # times the median norm of the lines before; a norm that grows tenfold is common
LINES, MANY_LINES = 10, 200  # of the log: before there is a median to speak of, and as many as one is taken of
ALIKE = 0.25  # of the spread of real pictures: the same runs have 0.62 or more
SATURATED = 0.3  # of all values more than in real pictures: the same runs have at most 0.003
FULL = 0.99  # of the range of a value
INVERTED = -0.5  # correlation of lightness: the same runs have 0.39 or more
# Of the way from training to generated pictures, r_v of Karras et al. 2020, section 3.1: the same runs have 0.44 at most
BY_HEART = 0.6

REMEDIES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "adversarial": (("vanilla",), "lsgan"),
    "augment": ((False,), "true"),
    "clip": ((0.0,), 1),
    "lambda_identity": ((0.0,), 0.5),
    "norm": (("batch", "none"), "instance"),
    "optimizer": (("adadelta",), "adam"),
    "patch": ((70, 286), 16),
    "patience": ((0,), 5),
    "precision": (("bf16",), "fp32"),
    "validate_every": ((0,), "500 --patience 5"),
}
"""Settings of a run or of its method: the values in place of which another is worth a try, and that."""
OF_GRADIENTS = ("clip", "precision")

# ---- what the log tells


def in_losses(log: Sequence[Mapping[str, Any]], adversaries: Sequence[Adversary], settings: Settings) -> list[Finding]:
    """Who has won, or that nobody learns, by mean losses over the last `WINDOW` steps of a log that goes further back."""
    if not log or log[-1]["step"] - log[0]["step"] < WINDOW:
        return []
    window = [entry["losses"] for entry in log if entry["step"] > log[-1]["step"] - WINDOW]
    steps = log[-1]["step"] - max(entry["step"] for entry in log if entry["step"] <= log[-1]["step"] - WINDOW)
    findings = []
    for adversary in adversaries:
        names = adversary.discriminator_scalars
        lines = [losses for losses in window if {*names, adversary.generator_scalar} <= losses.keys()]
        if len(lines) < len(window):  # a phase without this adversary
            continue
        findings += _in_game(
            adversary,
            statistics.mean(losses[name] for losses in lines for name in names),
            statistics.mean(losses[adversary.generator_scalar] for losses in lines),
            steps,
            settings,
        )
    return findings


def _in_game(adversary: Adversary, of_D: float, of_G: float, steps: int, settings: Settings) -> list[Finding]:
    reference = adversary.loss.chance_level
    names = " and ".join(adversary.discriminator_scalars)
    losses = f"{names} {of_D:.3g}, {adversary.generator_scalar} {of_G:.3g}"
    saw = f"{losses} over {steps} steps, where {reference:.3g} would be guessing"
    if of_D < WON * reference:
        return [
            _finding(
                "the discriminator has won",
                names,
                f"{saw}: it is never in doubt, and the generator learns little from it",
                settings,
                ("adversarial", "augment", "patch"),
                "more pictures",
            )
        ]
    if of_D > LOST * reference:
        return [
            _finding(
                "the generator has won",
                names,
                f"{saw}: the discriminator is mostly wrong, and following it leads nowhere",
                settings,
                ("norm",),
                "a lower --lr, a larger --method.width",
            )
        ]
    G_at_chance = abs(of_G - adversary.loss.generator_chance_level) < AT_REFERENCE[1] * reference
    if abs(of_D - reference) < AT_REFERENCE[0] * reference and G_at_chance:
        return [
            _finding(
                "the losses stand at guessing",
                names,
                f"{saw}: the discriminator tells nothing apart",
                settings,
                ("optimizer",),
                "another --lr; look whether the outputs are already as good as they can be",
            )
        ]
    return []


def in_gradients(log: Sequence[Mapping[str, Any]], settings: Settings) -> list[Finding]:
    """Whether a player's gradient in the last line of a log is far beyond those of the lines before it."""
    if len(log) <= LINES:
        return []
    *before, last = [entry.get("gradients", {}) for entry in log[-MANY_LINES:]]
    findings = []
    for player, norm in last.items():
        usual = statistics.median([line[player] for line in before if player in line] or [math.inf])
        if norm > EXPLODED * usual:
            findings.append(
                _finding(
                    "gradients explode",
                    player,
                    f"the {player}'s gradient has a norm of {norm:.3g}, the median before was {usual:.3g}",
                    settings,
                    OF_GRADIENTS,
                    "a lower --lr",
                )
            )
    return findings


# ---- what the pictures tell

OF_PICTURES = (
    "the outputs are all alike",
    "the outputs are saturated",
    "light and dark are inverted",
    "the discriminator knows the training pictures by heart",
)
"""Findings that last until pictures are looked at again."""


def in_pictures(outcomes: Mapping[str, Outcome], unpaired: bool, settings: Settings) -> list[Finding]:
    """Whether what comes out is all alike, saturated or inverted.

    An `unpaired` picture has no target, and its lightness is compared with that of what went in.
    """
    findings = []
    for name, (given, output, real) in outcomes.items():
        of_output, of_real = spread(output), spread(real)
        if of_output < ALIKE * of_real:
            findings.append(
                _finding(
                    "the outputs are all alike",
                    name,
                    f"{len(output)} outputs of {name} differ by {of_output:.3f} from each other, as many real pictures by "
                    f"{of_real:.3f} (standard deviation of a value, mode collapse)",
                    settings,
                    ("adversarial", "augment"),
                    "a larger --batch-size, a lower --lr",
                )
            )
        share, of_real = full(output), full(real)
        if share > of_real + SATURATED:
            findings.append(
                _finding(
                    "the outputs are saturated",
                    name,
                    f"{share:.0%} of the values of {name}'s outputs are black or full, of real pictures' {of_real:.0%}",
                    settings,
                    ("norm", "clip"),
                    "a lower --lr",
                )
            )
        if given is None:
            continue
        like, which = (given, "inputs") if unpaired else (real, "targets")
        if (found := correlation(output, like)) < INVERTED:
            findings.append(
                _finding(
                    "light and dark are inverted",
                    name,
                    f"the lightness of {name}'s outputs goes against that of their {which} (correlation {found:.2f})",
                    settings,
                    ("lambda_identity",) if settings.channels_a == settings.channels_b else (),
                    "another --seed; where the two kinds of pictures really are each other's negative, all is well",
                )
            )
    return findings


def spread(pictures: Tensor) -> float:
    """How much pictures `[B, C, H, W]` differ: the standard deviation over them of each value, the mean over all values.

    It is the statistic that Karras et al. 2018 ("Progressive Growing", section 3) give to a discriminator.
    """
    return pictures.float().std(dim=0, correction=0).mean().item()


def full(pictures: Tensor) -> float:
    """The share of values at either end of their range."""
    return (pictures.float().abs() >= FULL).double().mean().item()


def correlation(pictures: Tensor, others: Tensor) -> float:
    """Pearson's correlation of the lightness of pictures over their pixels, the mean over the pictures; flat ones have 0."""
    one, other = (some.float().mean(dim=1).flatten(1) for some in (pictures, others))
    one, other = one - one.mean(dim=1, keepdim=True), other - other.mean(dim=1, keepdim=True)
    return torch.nn.functional.cosine_similarity(one, other, dim=1).mean().item()


# ---- what the discriminators tell


def in_scores(training: Mapping[str, Scores], held_out: Mapping[str, Scores], settings: Settings) -> list[Finding]:
    """Whether a discriminator takes unseen real pictures for generated ones: it knows the training pictures by heart."""
    findings = []
    for name, scores in training.items():
        known = scores[0].float()
        unseen, made = (some.float() for some in held_out[name])  # what is made of training pictures it may know too
        gap = (known.mean() - made.mean()).item()
        if gap < torch.cat([known.flatten() - known.mean(), made.flatten() - made.mean()]).std().item():
            continue  # it hardly tells real from generated
        share = (known.mean() - unseen.mean()).item() / gap
        if share > BY_HEART:
            findings.append(
                _finding(
                    "the discriminator knows the training pictures by heart",
                    name,
                    f"{name} says {known.mean():.2f} of training pictures, {unseen.mean():.2f} of held-out ones, "
                    f"{made.mean():.2f} of generated ones: {share:.0%} of the way",
                    settings,
                    ("augment", "patch", "patience" if settings.validate_every else "validate_every"),
                    "more pictures",
                )
            )
    return findings


# ---- in words


def _finding(finding: str, of: str, saw: str, settings: Settings, names: Sequence[str], else_: str) -> Finding:
    """A finding with the settings of these names that are worth a try; then what every run may try."""
    return {"finding": finding, "of": of, "saw": saw, "try": ", ".join([*remedies(settings, names), else_])}


def remedies(settings: Settings, names: Sequence[str]) -> list[str]:
    """The flags that give those of these settings another value whose own is in question, where there is such a setting.

    >>> remedies(Settings(steps=9, precision="bf16", clip=1), ["clip", "precision", "patch"])
    ['--precision fp32']
    """
    return [
        f"--{prefix}{kebab(name)} {REMEDIES[name][1]}"
        for name in names
        for prefix, group in (("", settings), ("method.", settings.method))
        if getattr(group, name, None) in REMEDIES[name][0]
    ]


def briefly(findings: Iterable[Finding]) -> str:
    """For a line of progress: what was found, each once."""
    return ", ".join(dict.fromkeys(finding["finding"] for finding in findings))
