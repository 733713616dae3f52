"""The interface between a method and the training loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from diptych.kinds import DataKind, Direction
from diptych.losses import AdversarialLoss
from diptych.methods.optimizers import Adam
from diptych.methods.settings import MethodSettings, Shape
from diptych.translators.base import Translator

Batch = dict[str, Tensor]
Scores = tuple[Tensor, Tensor]
"""A discriminator's logits for real images and for generated ones."""


@dataclass(frozen=True)
class Adversary:
    """One discriminator and its adversarial loss, for the doctor."""

    name: str
    loss: AdversarialLoss
    discriminator_scalars: tuple[str, ...]
    """The scalars of `train_step` with the discriminator's losses on real and generated images; their mean counts."""
    generator_scalar: str
    """The scalar of `train_step` with the generator's unweighted adversarial loss."""
    scores: Callable[[Batch], Scores]


class Update(Protocol):
    """One optimiser step of one player; an argument of `train_step`."""

    def __call__(self, player: str, loss: Tensor) -> None:
        """Updates the networks of `player` by the gradient of `loss`."""


class Method(nn.Module, ABC):
    """The training algorithm of one paper: networks, losses and the order of updates. It exists during training alone.

    A method never imports data or training code. All state that changes during training is a function of `step` or part of
    the `state_dict`. `train_step` never synchronises with the device: no `.item()`, no branch on the value of a tensor.
    Optional features are in `methods/roles.py`.
    """

    paper: ClassVar[str]
    summary: ClassVar[str]
    data: ClassVar[DataKind]
    """The kind of training data."""
    players: ClassVar[dict[str, tuple[str, ...]]]
    """The networks of each player: a player has one optimiser and is updated as a whole."""
    Settings: ClassVar[type[MethodSettings]]
    metrics: ClassVar[tuple[str, ...]] = ("l1", "psnr", "ssim")
    """The default per-image metrics of an evaluation; empty where outputs have no targets."""
    validation_metric: ClassVar[str] = "swd"
    """The validation metric that selects the best checkpoint; "swd" needs no targets."""

    @abstractmethod
    def __init__(self, settings: Any, shape: Shape) -> None:
        """Builds the networks; a `ValueError` for a size or setting that they do not accept."""
        super().__init__()

    def optimizer(self, player: str, lr: float, beta1: float) -> torch.optim.Optimizer:
        """Adam(2e-4, betas=(0.5, 0.999)) unless the paper differs; fused: one kernel per step."""
        return Adam(self._parameters_of(player), lr=lr, betas=(beta1, 0.999), fused=True)

    def _parameters_of(self, player: str) -> list[nn.Parameter]:
        parameters = [p for network in self.players[player] for p in self.get_submodule(network).parameters()]
        return [p for p in parameters if p.requires_grad]

    @abstractmethod
    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """One training step; calls `update(player, loss)` for each optimiser step, in the order of the paper.

        Returns the scalars to log, as tensors.
        """

    @abstractmethod
    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """The deployed translators, with shared networks: `direction` is from x to y; a second one is the reverse."""

    def freeze(self, stages: Sequence[str]) -> None:
        """From now on these stages of the generators do not learn; "encoder" is all that come before the bottleneck.

        A `ValueError` names the stages that there are.
        """
        for network in deployed(self).values():
            there = getattr(network, "stages", {})
            encoder = [name for name in there if name.startswith(("stem", "down"))]
            wanted = [name for stage in stages for name in (encoder if stage == "encoder" else [stage])]
            if unknown := [stage for stage in wanted if stage not in there] or ([] if wanted else stages):
                names = f"encoder, {', '.join(there)}" if there else "none in this method's networks"
                raise ValueError(f"--freeze {unknown[0]}: there is no such stage; there are: {names}")
            for name in wanted:
                there[name].requires_grad_(False)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """The columns of the preview grid by title, each `[B, C, H, W]`."""
        [translator] = self.translators().values()
        outcome = translator.outcome(batch)
        assert outcome.input is not None
        return {"input": outcome.input, "output": outcome.output, "target": outcome.target}

    def adversaries(self) -> list[Adversary]:
        """The discriminators, for the doctor."""
        return []


def deployed(method: Method) -> dict[str, nn.Module]:
    """The networks of a method that its translators use, by attribute name: the content of a saved model."""
    used = {id(module) for translator in method.translators().values() for module in translator.modules()}
    return {name: network for name, network in method.named_children() if id(network) in used}
