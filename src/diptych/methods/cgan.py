"""Class-conditional generation: Mirza, Osindero, "Conditional Generative Adversarial Nets", arXiv:1411.1784, 2014.

G maps noise and a label to an image; the input of D is an image and its label. Networks and training are those of Radford,
Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks", ICLR 2016
(DCGAN); without labels this is DCGAN.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from diptych.kinds import DataKind, Direction
from diptych.losses import ADVERSARIAL
from diptych.methods.base import Adversary, Batch, Method, Scores, Update
from diptych.methods.settings import Adversarial, MethodSettings, Shape, Uniform, Width
from diptych.networks import dcgan
from diptych.networks.augment import augment
from diptych.networks.layers import frozen
from diptych.translators.base import Translator
from diptych.translators.sampling import Sampler

COLUMNS = 10  # of a preview: images of each class
DEFAULT_SIZE = 64  # pixels, as in DCGAN


class CGANSettings(MethodSettings):
    """The defaults are the papers'."""

    width: Width = Field(
        64, description="Channels of D's first layer, half of those of G's last maps (DCGAN, figure 1)."
    )
    noise: Width = Field(100, description="How many numbers of noise a picture is made from (DCGAN, figure 1).")
    conditional: bool = Field(True, description="G and D are told the labels; if not, this is DCGAN.")
    condition: dcgan.Condition = Field(
        "one-hot",
        description="How they are told: one number per class with the noise, one plane per class with the picture "
        "(Mirza and Osindero 2014, section 3.2); learnt numbers and a learnt plane; projection (Miyato and Koyama 2018).",
    )
    adversarial: Adversarial = Field(
        "vanilla", description="The GAN loss: the paper's cross-entropy (equation 2), least squares, or hinge."
    )
    augment: bool = Field(
        False,
        description="Colour, translation and cutout on all that D sees, for small sets (Zhao et al. 2020, section 3.2).",
    )

    def defaults(self, uniform: Uniform | None = None) -> dict[str, Any]:
        """Batches of 128, no augmentation, no decay (DCGAN, section 4); the size of uniform images, up to 64."""
        height, width, channels = uniform or (DEFAULT_SIZE, DEFAULT_SIZE, 3)
        return {
            "size": dcgan.fitting(min(height, width, DEFAULT_SIZE)),
            "channels-a": channels,
            "epochs": 25.0,
            "batch-size": 128,
            "decay-start": 1.0,
            "load-scale": 1.0,
            "fit": "crop",
            "flip": False,
        }


class CGAN(Method):
    """`G: (z, y) -> x` against `D: (x, y)`; in the paper x is an image and y its label."""

    paper = "Mirza and Osindero 2014, Conditional Generative Adversarial Nets; Radford et al. 2016, DCGAN"
    summary = "pictures out of noise, of a class that you name, learnt from pictures in classes"
    data = DataKind.LABELLED
    metrics: ClassVar[tuple[str, ...]] = ()
    players: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("G",), "discriminator": ("D",)}
    Settings = CGANSettings

    def __init__(self, settings: CGANSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        self.settings, self.shape = settings, shape
        if settings.conditional and not shape.classes:
            raise ValueError(
                "--method.conditional true: the pictures are in no classes; put those of each class into a folder of its "
                "own, or give --method.conditional false to learn without labels"
            )
        side = min(shape.size)
        if side != max(shape.size):
            raise ValueError(
                f"--size {shape.size}: the networks make square pictures; give one number, such as {dcgan.fitting(side)}"
            )
        self.classes = shape.classes if settings.conditional else ()
        self.adversarial = ADVERSARIAL[settings.adversarial]
        shared: dict[str, Any] = {
            "size": side,
            "classes": len(self.classes),
            "condition": settings.condition,
            "width": settings.width,
        }
        self.G = dcgan.Generator(shape.x_channels, noise=settings.noise, **shared)
        self.D = dcgan.Discriminator(shape.x_channels, **shared)

    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """One step on D, then one on G. Generated images have the labels of the real ones, so labels do not help D."""
        x = batch["y"]
        y = self._labels(batch)
        z = 2 * torch.rand(len(x), self.settings.noise, device=x.device) - 1  # "uniform" (DCGAN, figure 1)
        fake_x = self.G(z, y)
        # Two passes: batch norm would mix the statistics of real and generated images
        loss_D_real = self.adversarial.discriminator(self._logits(x, y), True)  # equation 2, first term
        loss_D_fake = self.adversarial.discriminator(self._logits(fake_x.detach(), y), False)  # equation 2, second term
        update("discriminator", loss_D_real + loss_D_fake)
        with frozen(self.D):
            loss_G = self.adversarial.generator(self._logits(fake_x, y))
        update("generator", loss_G)
        return {"D_real": loss_D_real, "D_fake": loss_D_fake, "G": loss_G}

    def _logits(self, x: Tensor, y: Tensor | None) -> Tensor:
        """D's logits `[B, 1]` for images `[B, C, size, size]` and their labels."""
        if self.settings.augment:
            x = augment(x, recolour=self.shape.x_kind == "image")
        logits: Tensor = self.D(x, y)
        return logits

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.classes else None

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """G."""
        size = self.shape.size.height
        return {direction: Sampler(self.G, size, self.settings.noise, self.classes, self.shape.x_spec)}

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """One row per class, one noise vector per column; without labels all noise differs. Seed 0, as in sampling."""
        device = batch["y"].device
        sampler = Sampler(self.G, self.shape.size.height, self.settings.noise, self.classes, self.shape.x_spec)

        def run(*tensors: Tensor) -> Tensor:
            images: Tensor = sampler(*(tensor.to(device) for tensor in tensors))
            return images

        rows = [(label, COLUMNS) for label in sampler.preview_labels] or [(0, COLUMNS * COLUMNS)]
        images = [image for label, count in rows for image in sampler.generate(label, count, 0, run)]
        return {str(column + 1): torch.stack(images[column::COLUMNS]) for column in range(COLUMNS)}

    def adversaries(self) -> list[Adversary]:
        """D, with real images and images generated for the same labels."""
        [translator] = self.translators().values()

        def scores(batch: Batch) -> Scores:
            outcome, y = translator.outcome(batch), self._labels(batch)
            return self._logits(outcome.target, y), self._logits(outcome.output, y)

        return [Adversary("D", self.adversarial, ("D_real", "D_fake"), "G", scores)]
