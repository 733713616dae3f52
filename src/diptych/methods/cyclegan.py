"""CycleGAN: Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
ICCV 2017.

G turns x into y and F turns y into x, with no pairs to learn from: D_Y tells G(x) from real y, D_X tells F(y) from real
x, and what went there and back should be what it was. Section and equation numbers are those of arXiv:1703.10593v7.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from diptych import losses
from diptych.kinds import DataKind
from diptych.methods.base import Game, Method, Update, frozen
from diptych.methods.settings import MethodSettings, Shape
from diptych.networks import patchgan, resnet, unet
from diptych.networks.augment import augment
from diptych.networks.image_pool import ImagePool
from diptych.networks.layers import Upsampling, initialise
from diptych.networks.patchgan import PatchGAN

BLOCKS = {"resnet6": 6, "resnet9": 9}


class CycleGANSettings(MethodSettings):
    """The defaults are the paper's; the identity loss, which it adds for paintings, is on as in the authors' code."""

    width: int = Field(64, ge=1, description="Channels of the first layer of every network (appendix 7.2).")
    generator: Literal["resnet6", "resnet9", "unet"] = Field(
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
        "convolution, which leaves no checkerboard (Odena et al. 2016).",
    )
    dropout: bool = Field(
        False,
        description="Dropout of one half in G and F: in each residual block, or on the U-Net's first three steps up.",
    )
    patch: patchgan.Patch = Field(70, description="Receptive field of D_X and D_Y in pixels (section 4).")
    patch_output: Literal["kept", "averaged", "sigmoid"] = Field(
        "kept",
        description="What the loss sees: D's logit for every patch (section 4), their average for each picture, or that "
        "average squashed into 0 to 1.",
    )
    adversarial: losses.Adversarial = Field(
        "lsgan", description="The GAN loss: least squares (section 4), cross-entropy (equation 1) or hinge."
    )
    lambda_cycle: float = Field(10.0, ge=0, description="Weight of the cycle loss (equation 3; section 4).")
    lambda_identity: float = Field(
        0.5, ge=0, description="Weight of the identity loss, times --method.lambda-cycle (section 5.2); 0 is without."
    )
    pool_size: int = Field(50, ge=0, description="Generated pictures that D is reminded of (section 4); 0 is none.")
    augment: bool = Field(
        False,
        description="Colour, translation and cutout on all that D sees, for small sets (Zhao et al. 2020, section 3.2).",
    )


class CycleGAN(Method):
    """`G: X -> Y` and `F: Y -> X`, judged by `D_Y` and `D_X` and by the way back."""

    paper = "Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks"
    summary = "two kinds of pictures into each other, learnt without pairs"
    data = DataKind.UNPAIRED
    players: ClassVar[dict[str, tuple[str, ...]]] = {"generators": ("G", "F"), "discriminators": ("D_X", "D_Y")}
    deployed: ClassVar[tuple[str, ...]] = ("G", "F")
    two_way = True
    columns: ClassVar[tuple[str, ...]] = (
        "real x", "translated G(x)", "reconstructed F(G(x))", "identity F(x)",
        "real y", "translated F(y)", "reconstructed G(F(y))", "identity G(y)",
    )  # fmt: skip
    Settings = CycleGANSettings

    def __init__(self, settings: CycleGANSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        check(settings, shape)
        self.settings = settings
        self.games = (
            Game(("D_Y",), "G_GAN", settings.adversarial),
            Game(("D_X",), "F_GAN", settings.adversarial),
        )
        self.multiple = shape.size if settings.generator == "unet" else resnet.MULTIPLE
        self.G = _generator(settings, shape.x_channels, shape.y_channels, shape.size)
        self.F = _generator(settings, shape.y_channels, shape.x_channels, shape.size)
        self.D_X = PatchGAN(shape.x_channels, patch=settings.patch, width=settings.width, norm=settings.norm)
        self.D_Y = PatchGAN(shape.y_channels, patch=settings.patch, width=settings.width, norm=settings.norm)
        self.pool_X = ImagePool(settings.pool_size, shape.x_channels, shape.size, shape.size)
        self.pool_Y = ImagePool(settings.pool_size, shape.y_channels, shape.size, shape.size)
        initialise(self)

    def train_step(self, batch: dict[str, Tensor], update: Update, step: int) -> dict[str, Tensor]:
        """One step on G and F, then one on D_X and D_Y.

        Instance norm looks at each picture alone, so what one network has to see is one batch.
        """
        x, y = batch["x"], batch["y"]
        settings, kind = self.settings, self.settings.adversarial
        if settings.lambda_identity:
            fake_y, same_y = self.G(torch.cat([x, y])).chunk(2)
            fake_x, same_x = self.F(torch.cat([y, x])).chunk(2)
        else:
            fake_y, fake_x = self.G(x), self.F(y)

        with frozen(self.D_X, self.D_Y):
            loss_G_GAN = losses.generator(self._judge(self.D_Y, fake_y), kind)  # equation 1 for G
            loss_F_GAN = losses.generator(self._judge(self.D_X, fake_x), kind)  # equation 1 for F
        loss_cycle_X = losses.pixelwise(self.F(fake_y), x, "l1")  # equation 2, first term
        loss_cycle_Y = losses.pixelwise(self.G(fake_x), y, "l1")  # equation 2, second term
        loss = loss_G_GAN + loss_F_GAN + settings.lambda_cycle * (loss_cycle_X + loss_cycle_Y)  # equation 3
        scalars = {"G_GAN": loss_G_GAN, "F_GAN": loss_F_GAN, "cycle_X": loss_cycle_X, "cycle_Y": loss_cycle_Y}
        if settings.lambda_identity:
            loss_identity_X = losses.pixelwise(same_x, x, "l1")  # section 5.2, L_identity, second term
            loss_identity_Y = losses.pixelwise(same_y, y, "l1")  # section 5.2, L_identity, first term
            loss = loss + settings.lambda_cycle * settings.lambda_identity * (loss_identity_X + loss_identity_Y)
            scalars |= {"identity_X": loss_identity_X, "identity_Y": loss_identity_Y}
        update("generators", loss)

        loss_D_X = self._loss_D(self.D_X, x, self.pool_X(fake_x))
        loss_D_Y = self._loss_D(self.D_Y, y, self.pool_Y(fake_y))
        update("discriminators", loss_D_X + loss_D_Y)
        return scalars | {"D_X": loss_D_X, "D_Y": loss_D_Y}

    def _loss_D(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Equation 1 for one discriminator, which "we divide by 2" (appendix 7.1)."""
        judged_real, judged_fake = self._judge(D, torch.cat([real, fake])).chunk(2)
        kind = self.settings.adversarial
        return (losses.discriminator(judged_real, True, kind) + losses.discriminator(judged_fake, False, kind)) / 2

    def _judge(self, D: nn.Module, pictures: Tensor) -> Tensor:
        """What D says of pictures: `[B, 1, h, w]`, or `[B, 1, 1, 1]` when its patches are averaged."""
        logits: Tensor = D(augment(pictures) if self.settings.augment else pictures)
        if self.settings.patch_output == "kept":
            return logits
        average = logits.mean(dim=(2, 3), keepdim=True)
        return average.sigmoid() if self.settings.patch_output == "sigmoid" else average

    def judgements(self, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """What D_Y says of y and G(x), and D_X of x and F(y)."""
        x, y = batch["x"], batch["y"]
        return {
            "D_Y": (self._judge(self.D_Y, y), self._judge(self.D_Y, self.G(x))),
            "D_X": (self._judge(self.D_X, x), self._judge(self.D_X, self.F(y))),
        }

    def translate(self, batch: dict[str, Tensor]) -> Tensor:
        """G: `[B, C_x, H, W]` -> `[B, C_y, H, W]`, H and W multiples of `multiple`."""
        output: Tensor = self.G(batch["x"])
        return output

    def translate_back(self, batch: dict[str, Tensor]) -> Tensor:
        """F: `[B, C_y, H, W]` -> `[B, C_x, H, W]`, H and W multiples of `multiple`."""
        output: Tensor = self.F(batch["y"])
        return output

    def panels(self, batch: dict[str, Tensor]) -> list[Tensor]:
        """Both ways; the identity stays white where grey and colour cannot take each other's place."""
        x, y = batch["x"], batch["y"]
        fake_y, fake_x = self.G(x), self.F(y)
        comparable = x.shape[1] == y.shape[1]
        same_x, same_y = (self.F(x), self.G(y)) if comparable else (torch.ones_like(x), torch.ones_like(y))
        return [x, fake_y, self.F(fake_y), same_x, y, fake_x, self.G(fake_x), same_y]


def _generator(settings: CycleGANSettings, in_channels: int, out_channels: int, size: int) -> nn.Module:
    if settings.generator == "unet":
        return unet.UNet(
            in_channels,
            out_channels,
            size=size,
            width=settings.width,
            norm=settings.norm,
            upsampling=settings.upsampling,
            dropout=settings.dropout,
        )
    return resnet.ResNet(
        in_channels,
        out_channels,
        blocks=BLOCKS[settings.generator],
        width=settings.width,
        norm=settings.norm,
        upsampling=settings.upsampling,
        dropout=settings.dropout,
    )


def check(settings: CycleGANSettings, shape: Shape) -> None:
    """Raises a `ValueError` for a size that a network cannot take, or settings that do not go together."""
    if settings.generator == "unet":
        unet.require_size(shape.size)
    elif shape.size % resnet.MULTIPLE:
        raise ValueError(
            f"--size {shape.size}: the residual generator takes multiples of {resnet.MULTIPLE}; the nearest is "
            f"{max(round(shape.size / resnet.MULTIPLE), 1) * resnet.MULTIPLE}"
        )
    patchgan.require_size(settings.patch, shape.size)
    if settings.lambda_identity and shape.x_channels != shape.y_channels:
        raise ValueError(
            "--channels-a and --channels-b differ, so no picture can be its own translation; add --method.lambda-identity 0"
        )
    if settings.patch_output == "sigmoid" and settings.adversarial != "lsgan":
        raise ValueError(
            f"--method.patch-output sigmoid with --method.adversarial {settings.adversarial}: that loss takes logits; "
            "use --method.patch-output averaged, or --method.adversarial lsgan"
        )
