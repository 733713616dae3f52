"""The doctor: detects common failures of adversarial training from logs and images, and suggests remedies.

Every rule is a pure function. Its threshold has a source, or is set such that no run of docs/results.md triggers a finding;
docs/doctor.md shows their values. A discriminator's loss is compared with the chance level of its adversarial loss.
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
"""Texts: `finding`, `of` (the player or network), `saw` and `try`."""

WINDOW = 400  # steps over which losses are averaged
WON = 0.05  # times the chance level: the minimum of nine good runs is 0.22, of a poor one 0.074
LOST = 1.5  # times the chance level: the maximum of the same runs is 1.28
AT_CHANCE = 0.02, 0.05  # relative distances of D's and G's losses from it: the minimum of G's in the same runs is 0.15
EXPLODED = 100.0  # times the median norm of earlier log entries; a tenfold norm is common
MIN_ENTRIES, MEDIAN_ENTRIES = 10, 200  # log entries: at least for a median, and at most in it
ALIKE = 0.25  # times the deviation of real images: the minimum of the same runs is 0.62
SATURATED = 0.3  # share of values, in excess of real images: the maximum of the same runs is 0.003
FULL = 0.99  # of the range of a value
INVERTED = -0.5  # correlation of lightness: the minimum of the same runs is 0.39
# Overfitting of D, r_v of Karras et al. 2020, section 3.1: the maximum of the same runs is 0.44
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
"""By setting of the run or its method: the values that are worth changing, and the suggested value."""
GRADIENT_SETTINGS = ("clip", "precision")
ADVICE: dict[str, tuple[tuple[str, ...], str]] = {
    "the discriminator has won": (("augment", "patch"), "more pictures"),
    "the generator has won": (("norm",), "a lower --lr, a larger --method.width"),
    "the losses stand at guessing": (
        ("optimizer",),
        "another --lr; look whether the outputs are already as good as they can be",
    ),
    "gradients explode": (GRADIENT_SETTINGS, "a lower --lr"),
}
"""By finding from the log: the settings that may help, and what may help in every run."""
IMAGE_ADVICE: dict[str, tuple[tuple[str, ...], str]] = {
    "the outputs are all alike": (("adversarial", "augment"), "a larger --batch-size, a lower --lr"),
    "the outputs are saturated": (("norm", "clip"), "a lower --lr"),
    "light and dark are inverted": (
        ("lambda_identity",),
        "another --seed; where the two kinds of pictures really are each other's negative, all is well",
    ),
    "the discriminator knows the training pictures by heart": (
        ("augment", "patch", "validate_every", "patience"),
        "more pictures",
    ),
}
"""The same for findings from images, which remain until the next preview."""

# ---- findings from the log


def in_losses(log: Sequence[Mapping[str, Any]], adversaries: Sequence[Adversary], settings: Settings) -> list[Finding]:
    """Findings on the balance of the players, by mean losses over the last `WINDOW` steps; none for a shorter log."""
    if not log or log[-1]["step"] - log[0]["step"] < WINDOW:
        return []
    window = [entry["losses"] for entry in log if entry["step"] > log[-1]["step"] - WINDOW]
    steps = log[-1]["step"] - max(entry["step"] for entry in log if entry["step"] <= log[-1]["step"] - WINDOW)
    findings = []
    for adversary in adversaries:
        names = adversary.discriminator_scalars
        entries = [losses for losses in window if {*names, adversary.generator_scalar} <= losses.keys()]
        if len(entries) < len(window):  # a phase without this adversary
            continue
        findings += _balance(
            adversary,
            statistics.mean(losses[name] for losses in entries for name in names),
            statistics.mean(losses[adversary.generator_scalar] for losses in entries),
            steps,
            settings,
        )
    return findings


def _balance(adversary: Adversary, loss_D: float, loss_G: float, steps: int, settings: Settings) -> list[Finding]:
    chance = adversary.loss.chance_level
    if not chance:  # the thresholds are multiples of it
        return []
    names = " and ".join(adversary.discriminator_scalars)
    losses = f"{names} {loss_D:.3g}, {adversary.generator_scalar} {loss_G:.3g}"
    saw = f"{losses} over {steps} steps, where {chance:.3g} would be guessing"
    if loss_D < WON * chance:
        saw += ": it is never in doubt, and the generator learns little from it"
        return [_finding("the discriminator has won", names, saw, settings)]
    if loss_D > LOST * chance:
        saw += ": the discriminator is mostly wrong, and following it leads nowhere"
        return [_finding("the generator has won", names, saw, settings)]
    G_at_chance = abs(loss_G - adversary.loss.generator_chance_level) < AT_CHANCE[1] * chance
    if abs(loss_D - chance) < AT_CHANCE[0] * chance and G_at_chance:
        saw += ": the discriminator tells nothing apart"
        return [_finding("the losses stand at guessing", names, saw, settings)]
    return []


def in_gradients(log: Sequence[Mapping[str, Any]], settings: Settings) -> list[Finding]:
    """Findings on a player's gradient norm in the last log entry, far above the median of earlier entries."""
    if len(log) <= MIN_ENTRIES:
        return []
    *before, last = [entry.get("gradients", {}) for entry in log[-MEDIAN_ENTRIES:]]
    findings = []
    for player, norm in last.items():
        median = statistics.median([norms[player] for norms in before if player in norms] or [math.inf])
        if norm > EXPLODED * median:
            saw = f"the {player}'s gradient has a norm of {norm:.3g}, the median before was {median:.3g}"
            findings.append(_finding("gradients explode", player, saw, settings))
    return findings


# ---- findings from images


def in_pictures(outcomes: Mapping[str, Outcome], unpaired: bool, settings: Settings) -> list[Finding]:
    """Findings on outputs that are all alike, saturated or inverted.

    For `unpaired` data, which has no targets, the lightness of outputs is compared with that of the inputs.
    """
    findings = []
    for name, (source, output, real) in outcomes.items():
        output_deviation, real_deviation = deviation(output), deviation(real)
        if output_deviation < ALIKE * real_deviation:
            saw = (
                f"{len(output)} outputs of {name} differ by {output_deviation:.3f} from each other, as many real pictures "
                f"by {real_deviation:.3f} (standard deviation of a value, mode collapse)"
            )
            findings.append(_finding("the outputs are all alike", name, saw, settings))
        output_share, real_share = full_share(output), full_share(real)
        if output_share > real_share + SATURATED:
            share = f"{output_share:.0%} of the values of {name}'s outputs"
            saw = f"{share} are black or full, of real pictures' {real_share:.0%}"
            findings.append(_finding("the outputs are saturated", name, saw, settings))
        if source is None:
            continue
        reference, kind = (source, "inputs") if unpaired else (real, "targets")
        if (value := correlation(output, reference)) < INVERTED:
            saw = f"the lightness of {name}'s outputs goes against that of their {kind} (correlation {value:.2f})"
            findings.append(_finding("light and dark are inverted", name, saw, settings))
    return findings


def deviation(images: Tensor) -> float:
    """The standard deviation between images `[B, C, H, W]` of each value, averaged over all values.

    It is the minibatch statistic of Karras et al. 2018 ("Progressive Growing", section 3).
    """
    return images.float().std(dim=0, correction=0).mean().item()


def full_share(images: Tensor) -> float:
    """The share of values at either end of their range."""
    return (images.float().abs() >= FULL).double().mean().item()


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's correlation of lightness over the pixels of an image, averaged over images; 0 for flat images."""
    x, y = (images.float().mean(dim=1).flatten(1) for images in (x, y))
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    return torch.nn.functional.cosine_similarity(x, y, dim=1).mean().item()


# ---- findings from discriminators


def in_scores(training: Mapping[str, Scores], held_out: Mapping[str, Scores], settings: Settings) -> list[Finding]:
    """Findings on overfitting: a discriminator that scores held-out real images like generated ones."""
    findings = []
    for name, scores in training.items():
        known = scores[0].float()
        unseen, fake = (score.float() for score in held_out[name])  # outputs for training images may be known too
        gap = (known.mean() - fake.mean()).item()
        if gap < torch.cat([known.flatten() - known.mean(), fake.flatten() - fake.mean()]).std().item():
            continue  # it hardly distinguishes real from generated
        share = (known.mean() - unseen.mean()).item() / gap
        if share > BY_HEART:
            saw = (
                f"{name} says {known.mean():.2f} of training pictures, {unseen.mean():.2f} of held-out ones, "
                f"{fake.mean():.2f} of generated ones: {share:.0%} of the way"
            )
            findings.append(_finding("the discriminator knows the training pictures by heart", name, saw, settings))
    return findings


# ---- texts


def _finding(finding: str, of: str, saw: str, settings: Settings) -> Finding:
    names, else_ = (ADVICE | IMAGE_ADVICE)[finding]
    return {"finding": finding, "of": of, "saw": saw, "try": ", ".join([*remedies(settings, names), else_])}


def remedies(settings: Settings, names: Sequence[str]) -> list[str]:
    """Flags that change the given settings, for those of the run or its method with a questionable value.

    >>> remedies(Settings(steps=9, precision="bf16", clip=1), ["clip", "precision", "patch"])
    ['--precision fp32']
    """
    impossible = set() if settings.validate_every else {"patience"}
    if len({spec.channels for spec in settings.specs}) > 1:
        impossible.add("lambda_identity")
    return [
        f"--{prefix}{kebab(name)} {REMEDIES[name][1]}"
        for name in names
        if name not in impossible
        for prefix, group in (("", settings), ("method.", settings.method))
        if getattr(group, name, None) in REMEDIES[name][0]
    ]


def briefly(findings: Iterable[Finding]) -> str:
    """The names of the findings, for the progress display."""
    return ", ".join(dict.fromkeys(finding["finding"] for finding in findings))
