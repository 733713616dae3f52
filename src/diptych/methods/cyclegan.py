"""CycleGAN: Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
ICCV 2017.

G maps x to y and F maps y to x, trained without pairs: D_Y distinguishes G(x) from real y, D_X distinguishes F(y) from real
x, and F(G(x)) and G(F(y)) should reconstruct x and y. Section and equation numbers are those of arXiv:1703.10593v7.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from diptych.kinds import REVERSE, DataKind, Direction
from diptych.losses import ADVERSARIAL, pixelwise
from diptych.methods.base import Adversary, Batch, Method, Scores, Update
from diptych.methods.settings import (
    Adversarial,
    Count,
    Generator,
    MethodSettings,
    Patch,
    Shape,
    Weight,
    Width,
    build_generator,
)
from diptych.networks import DISCRIMINATORS, GENERATORS
from diptych.networks.augment import augment
from diptych.networks.image_pool import ImagePool
from diptych.networks.layers import Upsampling, frozen, initialise
from diptych.networks.patchgan import score_both
from diptych.translators.base import Translator
from diptych.translators.image import ImageTranslator


class CycleGANSettings(MethodSettings):
    """The defaults are the paper's; the identity loss, in the paper for paintings alone, is on as in the authors' code."""

    width: Width = Field(64, description="Channels of the first layer of every network (appendix 7.2).")
    generator: Generator = Field(
        "resnet9",
        description="G and F: 9 residual blocks for 256 px and more, 6 for 128 px (section 4), or the U-Net of pix2pix.",
    )
    norm: Literal["instance", "affine-instance"] = Field(
        "instance",
        description="Instance normalisation (section 4), or with a learnt scale and shift in place of the biases before it.",
    )
    upsampling: Upsampling = Field(
        "transposed",
        description="How G and F double their maps: the paper's transposed convolution, or nearest resize + "
        "convolution, which leaves no checkerboard (Odena et al. 2016); or antialiased as in CUT, for residual generators.",
    )
    dropout: bool = Field(
        False,
        description="Dropout with a rate of 0.5 in each residual block, or on the U-Net's first three steps up.",
    )
    patch: Patch = Field(70, description="Receptive field of D_X and D_Y in pixels (section 4).")
    patch_output: Literal["kept", "averaged", "sigmoid"] = Field(
        "kept",
        description="What the loss sees: D's logit for every patch (section 4), their average for each picture, or that "
        "average squashed into 0 to 1.",
    )
    adversarial: Adversarial = Field(
        "lsgan", description="The GAN loss: least squares (section 4), cross-entropy (equation 1) or hinge."
    )
    lambda_cycle: Weight = Field(10.0, description="Weight of the cycle loss (equation 3; section 4).")
    lambda_identity: Weight = Field(
        0.5, description="Weight of the identity loss, times --method.lambda-cycle (section 5.2); 0 is off."
    )
    pool_size: Count = Field(50, description="Generated pictures kept to show D later (section 4); 0 keeps none.")
    augment: bool = Field(
        False,
        description="Colour, translation and cutout on all that D sees, for small sets (Zhao et al. 2020, section 3.2).",
    )


class CycleGAN(Method):
    """`G: X -> Y` and `F: Y -> X` against `D_Y` and `D_X`, with a cycle loss."""

    paper = "Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks"
    summary = "two kinds of pictures into each other, learnt without pairs"
    data = DataKind.UNPAIRED
    players: ClassVar[dict[str, tuple[str, ...]]] = {"generators": ("G", "F"), "discriminators": ("D_X", "D_Y")}
    Settings = CycleGANSettings

    def __init__(self, settings: CycleGANSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        GENERATORS[settings.generator].require_size(shape.size)
        DISCRIMINATORS[settings.patch].require_size(shape.size)
        if settings.lambda_identity and shape.x_channels != shape.y_channels:
            raise ValueError(
                "--channels-a and --channels-b differ, so no picture can be its own translation; add "
                "--method.lambda-identity 0"
            )
        if settings.patch_output == "sigmoid" and settings.adversarial != "lsgan":
            raise ValueError(
                f"--method.patch-output sigmoid with --method.adversarial {settings.adversarial}: that loss takes logits; "
                "use --method.patch-output averaged, or --method.adversarial lsgan"
            )
        self.settings, self.shape = settings, shape
        self.adversarial = ADVERSARIAL[settings.adversarial]
        self.G = build_generator(settings, shape.x_channels, shape.y_channels, shape.size)
        self.F = build_generator(settings, shape.y_channels, shape.x_channels, shape.size)
        self.D_X = DISCRIMINATORS[settings.patch].build(shape.x_channels, width=settings.width, norm=settings.norm)
        self.D_Y = DISCRIMINATORS[settings.patch].build(shape.y_channels, width=settings.width, norm=settings.norm)
        self.pool_X = ImagePool(settings.pool_size, shape.x_channels, *shape.size)
        self.pool_Y = ImagePool(settings.pool_size, shape.y_channels, *shape.size)
        initialise(self)

    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """One step on G and F, then one on D_X and D_Y.

        Instance norm treats each image separately, so all inputs of a network are one batch.
        """
        x, y = batch["x"], batch["y"]
        settings, adversarial = self.settings, self.adversarial
        if settings.lambda_identity:
            fake_y, same_y = self.G(torch.cat([x, y])).chunk(2)
            fake_x, same_x = self.F(torch.cat([y, x])).chunk(2)
        else:
            fake_y, fake_x = self.G(x), self.F(y)

        with frozen(self.D_X, self.D_Y):
            loss_G_GAN = adversarial.generator(self._logits(self.D_Y, fake_y))  # equation 1 for G
            loss_F_GAN = adversarial.generator(self._logits(self.D_X, fake_x))  # equation 1 for F
        loss_cycle_X = pixelwise(self.F(fake_y), x, "l1")  # equation 2, first term
        loss_cycle_Y = pixelwise(self.G(fake_x), y, "l1")  # equation 2, second term
        loss = loss_G_GAN + loss_F_GAN + settings.lambda_cycle * (loss_cycle_X + loss_cycle_Y)  # equation 3
        scalars = {"G_GAN": loss_G_GAN, "F_GAN": loss_F_GAN, "cycle_X": loss_cycle_X, "cycle_Y": loss_cycle_Y}
        if settings.lambda_identity:
            loss_identity_X = pixelwise(same_x, x, "l1")  # section 5.2, L_identity, second term
            loss_identity_Y = pixelwise(same_y, y, "l1")  # section 5.2, L_identity, first term
            loss = loss + settings.lambda_cycle * settings.lambda_identity * (loss_identity_X + loss_identity_Y)
            scalars |= {"identity_X": loss_identity_X, "identity_Y": loss_identity_Y}
        update("generators", loss)

        loss_D_X = self._loss_D(self.D_X, x, self.pool_X(fake_x))
        loss_D_Y = self._loss_D(self.D_Y, y, self.pool_Y(fake_y))
        update("discriminators", loss_D_X + loss_D_Y)
        return scalars | {"D_X": loss_D_X, "D_Y": loss_D_Y}

    def _loss_D(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Equation 1 for one discriminator, which "we divide by 2" (appendix 7.1)."""
        scores_real, scores_fake = score_both(
            lambda images: self._logits(D, images), real, fake, norm=self.settings.norm
        )
        adversarial = self.adversarial
        return (adversarial.discriminator(scores_real, True) + adversarial.discriminator(scores_fake, False)) / 2

    def _logits(self, D: nn.Module, images: Tensor) -> Tensor:
        """D's logits: `[B, 1, h, w]`, or `[B, 1, 1, 1]` if patches are averaged."""
        if self.settings.augment:
            kind = self.shape.x_kind if D is self.D_X else self.shape.y_kind
            images = augment(images, recolour=kind == "image")
        logits: Tensor = D(images)
        if self.settings.patch_output == "kept":
            return logits
        average = logits.mean(dim=(2, 3), keepdim=True)
        return average.sigmoid() if self.settings.patch_output == "sigmoid" else average

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """G, and F for the reverse direction."""
        x_spec, y_spec = self.shape.x_spec, self.shape.y_spec
        return {
            direction: ImageTranslator(self.G, x_spec, y_spec),
            REVERSE[direction]: ImageTranslator(self.F, y_spec, x_spec),
        }

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Both directions; the identity columns are white if x and y differ in channels."""
        x, y = batch["x"], batch["y"]
        fake_y, fake_x = self.G(x), self.F(y)
        same_channels = x.shape[1] == y.shape[1]
        same_x, same_y = (self.F(x), self.G(y)) if same_channels else (torch.ones_like(x), torch.ones_like(y))
        return {
            "real x": x,
            "translated G(x)": fake_y,
            "reconstructed F(G(x))": self.F(fake_y),
            "identity F(x)": same_x,
            "real y": y,
            "translated F(y)": fake_x,
            "reconstructed G(F(y))": self.G(fake_x),
            "identity G(y)": same_y,
        }

    def adversaries(self) -> list[Adversary]:
        """D_Y, with y and G(x), and D_X, with x and F(y)."""

        def scores_Y(batch: Batch) -> Scores:
            return self._logits(self.D_Y, batch["y"]), self._logits(self.D_Y, self.G(batch["x"]))

        def scores_X(batch: Batch) -> Scores:
            return self._logits(self.D_X, batch["x"]), self._logits(self.D_X, self.F(batch["y"]))

        return [
            Adversary("D_Y", self.adversarial, ("D_Y",), "G_GAN", scores_Y),
            Adversary("D_X", self.adversarial, ("D_X",), "F_GAN", scores_X),
        ]
