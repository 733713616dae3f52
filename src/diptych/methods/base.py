"""The contract between a paper and the training loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from diptych.kinds import DataKind, Direction
from diptych.losses import AdversarialLoss
from diptych.methods.settings import MethodSettings, Shape
from diptych.translators.base import Translator

Batch = dict[str, Tensor]
Scores = tuple[Tensor, Tensor]
"""A discriminator's logits for real images and for generated ones."""


@dataclass(frozen=True)
class Adversary:
    """One discriminator, and the game that it plays against a generator, for those who watch a training."""

    name: str
    loss: AdversarialLoss
    discriminator_scalars: tuple[str, ...]
    """The scalars of `train_step` whose mean is the discriminator's loss, on real and on generated images."""
    generator_scalar: str
    """The scalar of `train_step` that is the generator's adversarial loss, without its weight."""
    scores: Callable[[Batch], Scores]


class Update(Protocol):
    """One optimiser step of one player; given by the loop."""

    def __call__(self, player: str, loss: Tensor) -> None:
        """Moves the networks of `player` down the gradient of `loss`."""


class Method(nn.Module, ABC):
    """The game of one paper: its networks, and the order of its updates. It exists only while it learns.

    A method never imports data, training or processes. Whatever changes during training is a function of `step` or lives
    in the `state_dict`. A `train_step` never waits for the device: no `.item()`, no branch on a tensor's value.
    `methods/roles.py` has what only some methods do.
    """

    paper: ClassVar[str]
    summary: ClassVar[str]
    data: ClassVar[DataKind]
    """What it learns from."""
    players: ClassVar[dict[str, tuple[str, ...]]]
    """Who moves together, and which networks each player owns."""
    Settings: ClassVar[type[MethodSettings]]
    metrics: ClassVar[tuple[str, ...]] = ("l1", "psnr", "ssim")
    """Metrics worth measuring against a target."""
    validation_metric: ClassVar[str] = "swd"
    """The metric that selects the best checkpoint; "swd" needs no targets."""

    @abstractmethod
    def __init__(self, settings: Any, shape: Shape) -> None:
        """Builds the networks; a `ValueError` says which size or setting they cannot take."""
        super().__init__()

    def optimizer(self, player: str, lr: float, beta1: float) -> torch.optim.Optimizer:
        """Adam(2e-4, betas=(0.5, 0.999)) unless the paper differs; fused, so that a step is one kernel."""
        return torch.optim.Adam(self._parameters_of(player), lr=lr, betas=(beta1, 0.999), fused=True)

    def _parameters_of(self, player: str) -> list[nn.Parameter]:
        return [p for network in self.players[player] for p in self.get_submodule(network).parameters()]

    @abstractmethod
    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """One step of the paper's game; calls `update(player, loss)` once per optimiser step, in the paper's order.

        Returns the scalars worth plotting, as tensors.
        """

    @abstractmethod
    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """What remains after training, on these very networks: `direction` leads from x to y; a second one back."""

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """The columns of a preview grid by title, each `[B, C, H, W]`."""
        [translator] = self.translators().values()
        outcome = translator.outcome(batch)
        assert outcome.input is not None
        return {"input": outcome.input, "output": outcome.output, "target": outcome.target}

    def adversaries(self) -> list[Adversary]:
        """The discriminators, for those who watch a training."""
        return []


def deployed(method: Method) -> dict[str, nn.Module]:
    """The networks that the translators of a method use, by their names in it: a saved model holds these."""
    used = {id(module) for translator in method.translators().values() for module in translator.modules()}
    return {name: network for name, network in method.named_children() if id(network) in used}
