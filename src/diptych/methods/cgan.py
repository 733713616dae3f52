"""Pictures of a class: Mirza, Osindero, "Conditional Generative Adversarial Nets", arXiv:1411.1784, 2014.

G makes a picture of a class out of noise; D sees a picture beside the class that it is said to be of. The networks and how
they are trained are those of Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", ICLR 2016 (DCGAN), which this is when it is not told the labels.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from diptych import losses
from diptych.kinds import DataKind
from diptych.methods.base import Game, Method, Outcome, Update, frozen
from diptych.methods.settings import MethodSettings, Shape, Uniform
from diptych.networks import dcgan

ROWS, COLUMNS = 16, 10  # of a sample sheet: classes at most, pictures of each
USUAL = 64  # pixels: DCGAN's own size


class CGANSettings(MethodSettings):
    """The defaults are the papers'."""

    width: int = Field(
        64, ge=1, description="Channels of D's first layer, half of those of G's last maps (DCGAN, figure 1)."
    )
    noise: int = Field(100, ge=1, description="How many numbers of noise a picture is made from (DCGAN, figure 1).")
    conditional: bool = Field(True, description="G and D are told the labels; if not, this is DCGAN.")
    condition: dcgan.Condition = Field(
        "one-hot",
        description="How they are told: a number for each class beside the noise, a plane for each beside the picture "
        "(Mirza and Osindero 2014, section 3.2); learnt numbers and a learnt plane; projection (Miyato and Koyama 2018).",
    )
    adversarial: losses.Adversarial = Field(
        "vanilla", description="The GAN loss: the paper's cross-entropy (equation 2), least squares, or hinge."
    )

    def defaults(self, uniform: Uniform | None = None) -> dict[str, Any]:
        """Batches of 128, no augmentation, no decay (DCGAN, section 4); where all pictures have one size, that up to 64."""
        height, width, channels = uniform or (USUAL, USUAL, 3)
        return {
            "size": dcgan.fitting(min(height, width, USUAL)),
            "channels-a": channels,
            "epochs": 25.0,
            "batch-size": 128,
            "decay-start": 1.0,
            "load-scale": 1.0,
            "fit": "crop",
            "flip": False,
        }


class CGAN(Method):
    """`G: (z, y) -> x`, judged by `D: (x, y)`; in the paper x is a picture and y its label."""

    paper = "Mirza and Osindero 2014, Conditional Generative Adversarial Nets; Radford et al. 2016, DCGAN"
    summary = "pictures out of noise, of a class that you name, learnt from pictures in classes"
    data = DataKind.LABELLED
    players: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("G",), "discriminator": ("D",)}
    inputs: ClassVar[tuple[str, ...]] = ("z", "label")
    columns: ClassVar[tuple[str, ...]] = ("",) * COLUMNS
    Settings = CGANSettings

    def __init__(self, settings: CGANSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        self.settings = settings
        if settings.conditional and not shape.classes:
            raise ValueError(
                "--method.conditional true: the pictures are in no classes; put those of each class into a folder of its "
                "own, or give --method.conditional false to learn without labels"
            )
        self.classes = shape.classes if settings.conditional else ()
        self.multiple = shape.size
        self.games = (Game(("D_real", "D_fake"), "G", settings.adversarial),)
        rows = min(len(self.classes), ROWS)
        self.shown = [
            row * len(self.classes) // rows for row in range(rows)
        ]  # of very many classes some, spread over all
        self.rows = tuple(self.classes[label] for label in self.shown)
        of_both: dict[str, Any] = {
            "size": shape.size,
            "classes": len(self.classes),
            "condition": settings.condition,
            "width": settings.width,
        }
        self.G = dcgan.Generator(shape.x_channels, noise=settings.noise, **of_both)
        self.D = dcgan.Discriminator(shape.x_channels, **of_both)

    def train_step(self, batch: dict[str, Tensor], update: Update, step: int) -> dict[str, Tensor]:
        """One step on D, then one on G. What G makes has the labels of the real pictures, so that they tell D nothing."""
        x = batch["y"]
        y = batch["label"] if self.classes else None
        z = 2 * torch.rand(len(x), self.settings.noise, device=x.device) - 1  # "uniform" (DCGAN, figure 1)
        kind = self.settings.adversarial
        fake_x = self.G(z, y)
        # Two passes, because batch norm would let real and generated pictures see each other
        loss_D_real = losses.discriminator(self.D(x, y), True, kind)  # equation 2, first term
        loss_D_fake = losses.discriminator(self.D(fake_x.detach(), y), False, kind)  # equation 2, second term
        update("discriminator", loss_D_real + loss_D_fake)
        with frozen(self.D):
            loss_G = losses.generator(self.D(fake_x, y), kind)
        update("generator", loss_G)
        return {"D_real": loss_D_real, "D_fake": loss_D_fake, "G": loss_G}

    def draw(self, label: int, seed: int, numbers: Sequence[int]) -> dict[str, Tensor]:
        """`z` `[N, noise]` from the seed and the number of each picture, whatever its label, and `label` `[N]`."""
        z = [np.random.default_rng([seed, number]).uniform(-1, 1, self.settings.noise) for number in numbers]
        return {"z": torch.tensor(np.array(z), dtype=torch.float32), "label": torch.full((len(numbers),), label)}

    def translate(self, batch: dict[str, Tensor]) -> Tensor:
        """Noise `z` `[B, noise]` and the numbers of the classes `label` `[B]` -> `[B, C, size, size]`."""
        output: Tensor = self.G(batch["z"], batch["label"] if self.classes else None)
        return output

    def outcomes(self, batch: dict[str, Tensor]) -> dict[str, Outcome]:
        """As many pictures as the batch has, of the same classes; each of the `number`s has its noise, always the same."""
        real = batch["y"]
        inputs = {name: value.to(real.device) for name, value in self.draw(0, 0, batch["number"].tolist()).items()}
        if self.classes:
            inputs["label"] = batch["label"]
        return {"G": Outcome(None, self.translate(inputs), real)}

    def judgements(self, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """What D says of real pictures and of those drawn for the same labels."""
        y = batch["label"] if self.classes else None
        [outcome] = self.outcomes(batch).values()
        return {"D": (self.D(outcome.real, y), self.D(outcome.output, y))}

    def panels(self, batch: dict[str, Tensor]) -> list[Tensor]:
        """A row for each class, a noise for each column; without labels another noise everywhere. Seed 0, as in sampling."""
        device = batch["y"].device
        if self.classes:
            drawn = [picture for label in self.shown for picture in self.drawn(label, 0, COLUMNS, device)]
        else:
            drawn = list(self.drawn(0, 0, COLUMNS * COLUMNS, device))
        return [torch.stack(drawn[column::COLUMNS]) for column in range(COLUMNS)]
