"""The contract between a paper and the training loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.images.masks import MaskSpec
from diptych.kinds import DataKind
from diptych.losses import Adversarial
from diptych.methods.settings import MethodSettings, Shape

TOGETHER = 16
"""Pictures that are drawn at a time; always as many, lest the last bits of one depend on how many are asked for."""

Predictor = Callable[[dict[str, Tensor]], Tensor]
"""From the tensors named in `inputs` to what comes out."""


class Outcome(NamedTuple):
    """What one generator made of a batch, beside what it should look like."""

    given: Tensor | None
    """The pictures that went in, `[B, C, H, W]`; None where it was noise."""
    output: Tensor
    """What came out, `[B, C, H, W]`."""
    real: Tensor
    """Real pictures of the kind of the output; the very targets where a picture has one."""


@dataclass(frozen=True)
class Game:
    """What one discriminator and the generator that it judges play for, by the names of the scalars of `train_step`."""

    discriminator: tuple[str, ...]
    """The discriminator's losses, of which the mean is what `losses.discriminator` gives on real and on generated ones."""
    generator: str
    """The generator's adversarial loss, without its weight."""
    kind: Adversarial


class Update(Protocol):
    """One optimiser step of one player; given by the loop."""

    def __call__(self, player: str, loss: Tensor) -> None:
        """Moves the networks of `player` down the gradient of `loss`."""


class Method(nn.Module, ABC):
    """One paper: its networks, the order of its updates, and what a trained model does with a picture.

    A method never imports data, training or processes. Whatever changes during training is a function of `step` or lives
    in the `state_dict`. A `train_step` never waits for the device: no `.item()`, no branch on a tensor's value.
    """

    paper: ClassVar[str]
    summary: ClassVar[str]
    data: ClassVar[DataKind]
    """What it learns from."""
    players: ClassVar[dict[str, tuple[str, ...]]]
    """Who moves together, and which networks each player owns."""
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    """The tensors that `translate` reads, in order; without an "x" pictures start from noise, and `draw` makes them all."""
    deployed: ClassVar[tuple[str, ...]] = ("G",)
    """The networks that `translate` uses; export and serve keep only these."""
    two_way: ClassVar[bool] = False
    """Whether `translate_back` leads from y to x."""
    columns: ClassVar[tuple[str, ...]] = ("input", "output", "target")
    """What `panels` gives, in words."""
    metrics: ClassVar[tuple[str, ...]] = ("l1", "psnr", "ssim")
    """What is worth measuring against a target."""
    best_by: ClassVar[str] = "swd"
    """The metric on held-out pictures by which the best model on the way is told; "swd" needs no targets."""
    kept: ClassVar[tuple[str, ...]] = ()
    """Names of models on the way that are kept, to be compared with the last one."""
    Settings: ClassVar[type[MethodSettings]]

    multiple: int
    """Height and width that `translate` can take are multiples of this."""
    working_size: int | None = None
    """What the shorter side of a larger picture is shrunk to before `translate` sees it; None leaves it as it is."""
    holes: MaskSpec | None = None
    """What holes are learnt from, where one of the `inputs` is a "mask"; None for all other methods."""
    reach: int = 0
    """Where there are holes: pixels beyond which nothing counts for what one is filled with."""
    classes: tuple[str, ...] = ()
    """The classes that a picture can be asked of; none where the method is not told the labels."""
    rows: tuple[str, ...] = ()
    """What the rows of the sample sheet are called, where they are not those of the data."""
    games: tuple[Game, ...] = ()
    """The adversarial games that are played, one for each discriminator."""

    @abstractmethod
    def __init__(self, settings: Any, shape: Shape) -> None:
        """Builds the networks; a `ValueError` says which size or setting they cannot take."""
        super().__init__()

    def optimizer(self, player: str, lr: float, beta1: float) -> torch.optim.Optimizer:
        """Adam(2e-4, betas=(0.5, 0.999)) unless the paper differs; fused, so that a step is one kernel."""
        return torch.optim.Adam(self.parameters_of(player), lr=lr, betas=(beta1, 0.999), fused=True)

    def parameters_of(self, player: str) -> list[nn.Parameter]:
        """The weights of a player's networks."""
        return [p for network in self.players[player] for p in self.get_submodule(network).parameters()]

    def learn_before(self, training: Iterable[Tensor]) -> None:
        """What is taken from the whole training set before the first step, once; it lives in the `state_dict`.

        `training` are the samples as they are kept, uint8 `[C, H, W]`.
        """

    @abstractmethod
    def train_step(self, batch: dict[str, Tensor], update: Update, step: int) -> dict[str, Tensor]:
        """One step of the paper's game; calls `update(player, loss)` once per optimiser step, in the paper's order.

        Returns the scalars worth plotting, as tensors.
        """

    def phase(self, step: int) -> str:
        """What a step belongs to, in words, for a method that learns in phases."""
        return ""

    def decide(self, done: int) -> None:
        """Called between steps, after `done` of them. Here a tensor may be asked for its value.

        What is decided depends on `done` and on the `state_dict` alone, and becomes part of the latter.
        """

    def kept_as(self, done: int) -> str | None:
        """Which of `kept` the model as it is after `done` steps is, if any."""
        return None

    @abstractmethod
    def translate(self, batch: dict[str, Tensor]) -> Tensor:
        """Pictures `[B, C, H, W]` in [-1, 1] from the tensors named in `inputs`."""

    def translate_back(self, batch: dict[str, Tensor]) -> Tensor:
        """Pictures of x's kind `[B, C, H, W]` from `y`; a method that is `two_way` has it, the others have no way back."""
        raise NotImplementedError

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors named in `inputs`, made from `y`, what should come out; a method that needs "images" has it."""
        raise NotImplementedError

    def draw(self, label: int, seed: int, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The tensors named in `inputs`, for pictures of these numbers of a class; a method that starts from noise has it.

        What is drawn for a picture depends on `(label, seed, number)` alone.
        """
        raise NotImplementedError

    def drawn(self, label: int, seed: int, count: int, device: torch.device) -> Iterator[Tensor]:
        """Pictures number 0 to `count` of a class under a seed, each `[C, H, W]` in [-1, 1]; for a method that `draw`s."""
        for first in range(0, count, TOGETHER):
            inputs = self.draw(label, seed, range(first, first + TOGETHER))
            yield from self.translate({name: value.to(device) for name, value in inputs.items()})[: count - first]

    def enlarge(self, x: Tensor, y: Tensor, levels: int | None) -> Tensor:
        """What comes out at the size of the picture x `[C, H, W]`, from y, what came out for x shrunk (or as it is).

        `levels` is 255 or 65535 where a file will hold it, None where floats remain.
        """
        if y.shape[-2:] == x.shape[-2:]:
            return y
        return F.interpolate(y[None], size=x.shape[-2:], mode="bicubic", antialias=True)[0].clamp(-1, 1)

    @classmethod
    def of_no_use(cls, picture: Tensor) -> str | None:
        """Why nothing can be learnt from or measured on this picture, uint8 `[C, H, W]`, in a word; None where it can."""
        return None

    @classmethod
    def baselines(cls, training: Iterable[Tensor]) -> dict[str, Predictor]:
        """Answers without a model, by name; `training` are batches of y. For methods that need "images"."""
        return {}

    def whole(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch of the data with what goes in, where that is made from `y`."""
        return {**batch, **self.inputs_from(batch)} if self.data == "images" else batch

    def outcomes(self, batch: dict[str, Tensor]) -> dict[str, Outcome]:
        """What each generator, by its name, makes of a batch of the data."""
        whole = self.whole(batch)
        outcomes = {self.deployed[0]: Outcome(whole["x"], self.translate(whole), whole["y"])}
        if self.two_way:
            outcomes[self.deployed[1]] = Outcome(whole["y"], self.translate_back(whole), whole["x"])
        return outcomes

    def judgements(self, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """What each discriminator, by its name, says of the real pictures of a batch and of what is made of it."""
        return {}

    def panels(self, batch: dict[str, Tensor]) -> list[Tensor]:
        """The columns of the sample sheet, each `[B, C, H, W]`, in the order of `columns`."""
        [outcome] = self.outcomes(batch).values()
        assert outcome.given is not None
        return [outcome.given, outcome.output, outcome.real]


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Inside, the networks pass gradients on to what they are given, but build no graph for their own weights."""
    parameters = [p for network in networks for p in network.parameters()]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
