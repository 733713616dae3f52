"""pix2pix: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.

The input of G is the image x, with dropout as the only noise; the input of D is x with y or G(x), and its output has a logit
per patch. Section and equation numbers are those of arXiv:1611.07004v3.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from diptych.kinds import DataKind, Direction, Statistics
from diptych.losses import ADVERSARIAL, gradient_penalty, pixelwise
from diptych.methods.base import Adversary, Batch, Method, Scores, Update
from diptych.methods.settings import Choices, Generator, MethodSettings, Patch, Shape, Weight, Width, build_generator
from diptych.networks import DISCRIMINATORS, GENERATORS
from diptych.networks.augment import colour, cutout, translation
from diptych.networks.layers import Norm, Upsampling, frozen, initialise, normalise_spectrum
from diptych.networks.patchgan import score_both
from diptych.translators.base import Translator
from diptych.translators.image import ImageTranslator

R1_EVERY = 16  # steps
RGB = 3  # channels


class Pix2PixSettings(MethodSettings):
    """The defaults are the paper's."""

    width: Width = Field(64, description="Channels of the first layer of G and D (section 6.1).")
    generator: Generator = Field(
        "unet", description="G: the U-Net (section 3.2), or CycleGAN's residual generator with 6 or 9 blocks."
    )
    norm: Norm = Field("batch", description="Normalisation in G and D (section 6.1).")
    statistics: Statistics = Field(
        "picture",
        description="The statistics that batch norm uses in a translation: the picture's own, as the paper does "
        "(section 3.4), or the average of those of the training.",
    )
    upsampling: Upsampling = Field(
        "transposed",
        description="How G doubles its maps: the paper's transposed convolution, or nearest resize + "
        "convolution, which leaves no checkerboard (Odena et al. 2016); or antialiased as in CUT, for residual generators.",
    )
    dropout: bool = Field(
        True, description="Dropout with a rate of 0.5 on the first three layers of G's decoder (section 6.1.1)."
    )
    patch: Patch = Field(70, description="Receptive field of D in pixels (sections 3.2.2 and 6.1.2).")
    conditional: bool = Field(True, description="D sees the input beside the output (equations 1 and 2).")
    adversarial: Annotated[str, AfterValidator(Choices(ADVERSARIAL, "none"))] = Field(
        "vanilla",
        description="The GAN loss: the paper's cross-entropy (equation 1), least squares, hinge, or none.",
    )
    augment: bool = Field(
        False,
        description="Colour, translation and cutout on all that D sees, for small sets (Zhao et al. 2020, section 3.2).",
    )
    spectral_norm: bool = Field(
        False, description="Weights of D divided by their largest singular value (Miyato et al. 2018)."
    )
    r1: Weight = Field(
        0.0,
        description="Weight of the gradient penalty on real pictures (Mescheder et al. 2018, equation 9), every "
        f"{R1_EVERY} steps and as many times as strong (Karras et al. 2020, appendix B); 0 is off.",
    )
    pixel: Literal["l1", "l2", "none"] = Field("l1", description="The pixel loss (equation 3).")
    lambda_l1: Weight = Field(100.0, description="Weight of the pixel loss (equation 4; section 6.2).")


class Pix2Pix(Method):
    """`G: x -> y` against a PatchGAN `D`, with a pixel loss against the true y."""

    paper = "Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks"
    summary = "one picture into another, learnt from pairs"
    data = DataKind.PAIRED
    validation_metric = "ssim"
    players: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("G",), "discriminator": ("D",)}
    Settings = Pix2PixSettings

    def __init__(self, settings: Pix2PixSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        GENERATORS[settings.generator].require_size(shape.size)
        if settings.adversarial != "none":
            DISCRIMINATORS[settings.patch].require_size(shape.size)
        elif settings.pixel == "none":
            raise ValueError(
                "--method.adversarial none with --method.pixel none leaves nothing to learn; keep one of them"
            )
        if settings.statistics == "running" and settings.norm != "batch":
            raise ValueError(
                f"--method.statistics running: is of batch norm, and --method.norm is {settings.norm}; leave one of them out"
            )
        self.settings, self.shape = settings, shape
        self.adversarial = ADVERSARIAL.get(settings.adversarial)
        self.G = build_generator(settings, shape.x_channels, shape.y_channels, shape.size)
        D_channels = shape.y_channels + (shape.x_channels if settings.conditional else 0)
        self.D = DISCRIMINATORS[settings.patch].build(D_channels, width=settings.width, norm=settings.norm)
        initialise(self)
        if settings.spectral_norm:
            normalise_spectrum(self.D)

    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """One step on D, then one on G (section 3.3)."""
        x, y = batch["x"], batch["y"]
        fake_y = self.G(x)
        scalars: dict[str, Tensor] = {}
        loss_G = x.new_zeros(())

        if self.adversarial:
            real, fake = self._scores(x, y, fake_y.detach())
            loss_D_real = self.adversarial.discriminator(real, True)  # equation 1, first term
            loss_D_fake = self.adversarial.discriminator(fake, False)  # equation 1, second term
            loss_D = (loss_D_real + loss_D_fake) / 2  # "we divide the objective by 2 while optimizing D"
            if self.settings.r1 and step % R1_EVERY == 0:
                loss_D = loss_D + self.settings.r1 * R1_EVERY * self._penalty(x, y)
            update("discriminator", loss_D)

            with frozen(self.D):
                loss_G_GAN = self.adversarial.generator(
                    self.D(self._D_input(x, fake_y))
                )  # "maximize log D(x, G(x, z))"
            loss_G = loss_G + loss_G_GAN
            scalars |= {"D_real": loss_D_real, "D_fake": loss_D_fake, "G_GAN": loss_G_GAN}

        if self.settings.pixel != "none":
            distance = pixelwise(fake_y, y, self.settings.pixel)  # equation 3
            loss_G = loss_G + self.settings.lambda_l1 * distance  # equation 4
            scalars[f"G_{self.settings.pixel.upper()}"] = distance

        update("generator", loss_G)
        return scalars | {"G": loss_G}

    def _D_input(self, x: Tensor, y: Tensor) -> Tensor:
        """The input of D: `[B, C_x + C_y, H, W]`, or y alone if it is not conditional.

        Augmentation changes the colours of an RGB y alone: x is what y must fit, and neither ab nor labels are colours.
        """
        if self.settings.augment and y.shape[1] == RGB and self.shape.y_kind == "image":
            y = colour(y)
        both = torch.cat([x, y], dim=1) if self.settings.conditional else y
        return cutout(translation(both)) if self.settings.augment else both

    def _penalty(self, x: Tensor, y: Tensor) -> Tensor:
        both = self._D_input(x, y).detach().requires_grad_()
        return gradient_penalty(self.D(both), both)

    def _scores(self, x: Tensor, y: Tensor, fake_y: Tensor) -> Scores:
        return score_both(self.D, self._D_input(x, y), self._D_input(x, fake_y), norm=self.settings.norm)

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """G."""
        return {direction: ImageTranslator(self.G, self.shape.x_spec, self.shape.y_spec)}

    def adversaries(self) -> list[Adversary]:
        """D, with (x, y) and (x, G(x))."""
        if not self.adversarial:
            return []

        def scores(batch: Batch) -> Scores:
            return self._scores(batch["x"], batch["y"], self.G(batch["x"]))

        return [Adversary("D", self.adversarial, ("D_real", "D_fake"), "G_GAN", scores)]
