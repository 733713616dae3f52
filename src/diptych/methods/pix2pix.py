"""pix2pix: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.

G sees the input picture x and no noise but its dropout; D sees x beside the output y, or beside G(x), and judges
patches. Section and equation numbers are those of arXiv:1611.07004v3.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from diptych import losses
from diptych.kinds import DataKind
from diptych.methods.base import Game, Method, Update, frozen
from diptych.methods.settings import MethodSettings, Shape
from diptych.networks import patchgan, unet
from diptych.networks.layers import Norm, Upsampling, initialise


class Pix2PixSettings(MethodSettings):
    """The defaults are the paper's."""

    width: int = Field(64, ge=1, description="Channels of the first layer of G and D (section 6.1).")
    norm: Norm = Field("batch", description="Normalisation in G and D (section 6.1).")
    upsampling: Upsampling = Field(
        "transposed",
        description="How G doubles its maps: the paper's transposed convolution, or nearest resize + "
        "convolution, which leaves no checkerboard (Odena et al. 2016).",
    )
    dropout: bool = Field(
        True, description="Dropout of one half on the first three layers of G's decoder (section 6.1.1)."
    )
    patch: patchgan.Patch = Field(70, description="Receptive field of D in pixels (sections 3.2.2 and 6.1.2).")
    conditional: bool = Field(True, description="D sees the input beside the output (equations 1 and 2).")
    adversarial: Literal["vanilla", "lsgan", "hinge", "none"] = Field(
        "vanilla",
        description="The GAN loss: the paper's cross-entropy (equation 1), least squares, hinge, or none.",
    )
    pixel: Literal["l1", "l2", "none"] = Field("l1", description="The pixel loss (equation 3).")
    lambda_l1: float = Field(100.0, ge=0, description="Weight of the pixel loss (equation 4; section 6.2).")


class Pix2Pix(Method):
    """`G: x -> y` with a U-Net, judged by a PatchGAN `D` and by the distance to the true y."""

    paper = "Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks"
    summary = "one picture into another, learnt from pairs"
    data = DataKind.PAIRED
    best_by = "ssim"
    players: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("G",), "discriminator": ("D",)}
    Settings = Pix2PixSettings

    def __init__(self, settings: Pix2PixSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        check(settings, shape)
        self.settings = settings
        self.multiple = shape.size
        if settings.adversarial != "none":
            self.games = (Game(("D_real", "D_fake"), "G_GAN", settings.adversarial),)
        self.G = unet.UNet(
            shape.x_channels,
            shape.y_channels,
            size=shape.size,
            width=settings.width,
            norm=settings.norm,
            upsampling=settings.upsampling,
            dropout=settings.dropout,
        )
        seen_by_D = shape.y_channels + (shape.x_channels if settings.conditional else 0)
        self.D = patchgan.PatchGAN(seen_by_D, patch=settings.patch, width=settings.width, norm=settings.norm)
        initialise(self)

    def train_step(self, batch: dict[str, Tensor], update: Update, step: int) -> dict[str, Tensor]:
        """One step on D, then one on G (section 3.3)."""
        x, y = batch["x"], batch["y"]
        fake_y = self.G(x)
        scalars: dict[str, Tensor] = {}
        loss_G = x.new_zeros(())

        if self.settings.adversarial != "none":
            kind = self.settings.adversarial
            real, fake = self._judge_both(x, y, fake_y.detach())
            loss_D_real = losses.discriminator(real, True, kind)  # equation 1, first term
            loss_D_fake = losses.discriminator(fake, False, kind)  # equation 1, second term
            loss_D = (loss_D_real + loss_D_fake) / 2  # "we divide the objective by 2 while optimizing D"
            update("discriminator", loss_D)

            with frozen(self.D):
                loss_G_GAN = losses.generator(self.D(self._seen(x, fake_y)), kind)  # "maximize log D(x, G(x, z))"
            loss_G = loss_G + loss_G_GAN
            scalars |= {"D_real": loss_D_real, "D_fake": loss_D_fake, "G_GAN": loss_G_GAN}

        if self.settings.pixel != "none":
            distance = losses.pixelwise(fake_y, y, self.settings.pixel)  # equation 3
            loss_G = loss_G + self.settings.lambda_l1 * distance  # equation 4
            scalars[f"G_{self.settings.pixel.upper()}"] = distance

        update("generator", loss_G)
        return scalars | {"G": loss_G}

    def _seen(self, x: Tensor, y: Tensor) -> Tensor:
        """What D looks at: `[B, C_x + C_y, H, W]`, or y alone."""
        return torch.cat([x, y], dim=1) if self.settings.conditional else y

    def _judge_both(self, x: Tensor, y: Tensor, fake_y: Tensor) -> tuple[Tensor, Tensor]:
        """D's logits for real and fake. Batch norm would let one see the other, so there they go one by one."""
        real, fake = self._seen(x, y), self._seen(x, fake_y)
        if self.settings.norm == "batch":
            return self.D(real), self.D(fake)
        judged_real, judged_fake = self.D(torch.cat([real, fake])).chunk(2)
        return judged_real, judged_fake

    def judgements(self, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """What D says of (x, y) and of (x, G(x))."""
        x, y = batch["x"], batch["y"]
        return {"D": self._judge_both(x, y, self.G(x))} if self.games else {}

    def translate(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, C_x, H, W]` -> `[B, C_y, H, W]`, H and W multiples of `multiple`."""
        output: Tensor = self.G(batch["x"])
        return output


def check(settings: Pix2PixSettings, shape: Shape) -> None:
    """Raises a `ValueError` for a size that a network, or a game that nobody can play."""
    unet.require_size(shape.size)
    if settings.adversarial != "none":
        patchgan.require_size(settings.patch, shape.size)
    if settings.adversarial == "none" and settings.pixel == "none":
        raise ValueError("--method.adversarial none with --method.pixel none leaves nothing to learn; keep one of them")
