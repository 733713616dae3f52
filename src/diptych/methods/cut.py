"""CUT: Park, Efros, Zhang, Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020.

G maps x to y without pairs and without a reverse generator: D distinguishes G(x) from real y, and each patch of G(x) should
be more similar to the patch of x at the same position than to other patches of x (PatchNCE). Sections and equations are
those of arXiv:2007.15651v3.
"""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from diptych.kinds import DataKind, Direction
from diptych.losses import ADVERSARIAL
from diptych.methods.base import Adversary, Batch, Method, Scores, Update
from diptych.methods.settings import (
    Adversarial,
    Generator,
    MethodSettings,
    Patch,
    Shape,
    Uniform,
    Weight,
    Width,
    build_generator,
    kebab,
)
from diptych.networks import DISCRIMINATORS, GENERATORS
from diptych.networks.layers import Upsampling, frozen, initialise
from diptych.networks.patch_projection import PatchProjection
from diptych.networks.patchgan import score_both
from diptych.translators.base import Translator
from diptych.translators.image import ImageTranslator

STAGES = ("down1", "down2", "block1", "block5")  # of the encoder, after the RGB pixels themselves (appendix C.1)
FASTCUT: dict[str, Any] = {"lambda-x": 10.0, "lambda-y": 0.0, "flip-equivariance": True}  # section 3, C.1


class CUTSettings(MethodSettings):
    """The defaults are the paper's."""

    variant: Literal["cut", "fastcut"] = Field(
        "cut",
        description="fastcut is lighter: --method.lambda-x 10, --method.lambda-y 0, --method.flip-equivariance true "
        "(section 3, appendix C.1), unless you give them yourself.",
    )
    width: Width = Field(64, description="Channels of the first layer of G and D (appendix C.1).")
    generator: Generator = Field("resnet9", description="G: 9 residual blocks (appendix C.1), or 6 for small pictures.")
    norm: Literal["instance", "affine-instance"] = Field(
        "instance",
        description="Instance normalisation, or with a learnt scale and shift in place of the biases before it.",
    )
    upsampling: Upsampling = Field(
        "transposed",
        description="How G doubles its maps: transposed convolution; nearest resize + convolution, which leaves no "
        "checkerboard (Odena et al. 2016); or antialiased, both ways (Zhang 2019), as the authors' code has it.",
    )
    dropout: bool = Field(False, description="Dropout with a rate of 0.5 in each residual block.")
    patch: Patch = Field(70, description="Receptive field of D in pixels (appendix C.1).")
    adversarial: Adversarial = Field("lsgan", description="The GAN loss: least squares (appendix C.1) or another.")
    lambda_x: Weight = Field(1.0, description="Weight of PatchNCE between x and G(x) (equation 5; section 3).")
    lambda_y: Weight = Field(
        1.0, description="Weight of PatchNCE between y and G(y), the identity (equation 5); 0 is off."
    )
    patches: int = Field(256, ge=2, le=10**6, description="Patches of each layer that are compared (appendix C.1).")
    temperature: float = Field(0.07, gt=0, le=1e6, description="tau of equation 2 (appendix C.1).")
    projection: Width = Field(256, description="Numbers that H makes of a patch (appendix C.1).")
    flip_equivariance: bool = Field(
        False,
        description="Half of the time G sees mirrored pictures, and the features of its output are mirrored back before "
        "they are compared (appendix C.1).",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_variant(cls, values: Any) -> Any:
        """Adds the values of the variant for settings that are not given."""
        given = {kebab(key): value for key, value in values.items()}
        return {**FASTCUT, **given} if given.get("variant") == "fastcut" else given

    def defaults(self, uniform: Uniform | None = None) -> dict[str, Any]:
        """200 epochs and 200 of decay; FastCUT 150 and 50, as the authors' code divides them (appendix C.1)."""
        return {"epochs": 200.0, "decay-start": 0.75} if self.variant == "fastcut" else {"epochs": 400.0}


class CUT(Method):
    """`G: X -> Y` against `D`; `H` projects features of G's encoder, to compare an image with its translation."""

    paper = "Park et al. 2020, Contrastive Learning for Unpaired Image-to-Image Translation"
    summary = "one kind of pictures into another, learnt without pairs and without a way back"
    data = DataKind.UNPAIRED
    players: ClassVar[dict[str, tuple[str, ...]]] = {"discriminator": ("D",), "generator": ("G", "H")}
    Settings = CUTSettings

    def __init__(self, settings: CUTSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        require_playable(settings, shape)
        self.settings, self.shape = settings, shape
        self.adversarial = ADVERSARIAL[settings.adversarial]
        self.G = build_generator(settings, shape.x_channels, shape.y_channels, shape.size)
        if missing := [name for name in STAGES if name not in self.G.stages]:
            raise ValueError(
                f"--method.generator {settings.generator}: PatchNCE compares the stages {', '.join(STAGES)}, and this "
                f"generator has no {missing[0]}; use resnet9 or resnet6"
            )
        self.D = DISCRIMINATORS[settings.patch].build(shape.y_channels, width=settings.width, norm=settings.norm)
        inner = settings.width * 4
        channels = [shape.x_channels, settings.width * 2, inner, inner, inner]
        self.H = PatchProjection(channels, width=settings.projection)
        initialise(self)

    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """One step on D, then one on G and H."""
        x, y = batch["x"], batch["y"]
        settings, adversarial = self.settings, self.adversarial
        mirrored = torch.rand((), device=x.device) < 0.5 if settings.flip_equivariance else None
        if settings.lambda_y:
            fake_y, same_y = self.G(_mirrored_if(mirrored, torch.cat([x, y]))).chunk(2)
        else:
            fake_y = self.G(_mirrored_if(mirrored, x))

        real, fake = score_both(self.D, y, fake_y.detach(), norm=settings.norm)
        loss_D_real = adversarial.discriminator(real, True)  # equation 1, first term
        loss_D_fake = adversarial.discriminator(fake, False)  # equation 1, second term
        update("discriminator", (loss_D_real + loss_D_fake) / 2)

        with frozen(self.D):
            loss_G_GAN = adversarial.generator(self.D(fake_y))  # equation 1
        loss_NCE_X = self._patch_nce(x, fake_y, mirrored)  # equation 3
        scalars = {"D_real": loss_D_real, "D_fake": loss_D_fake, "G_GAN": loss_G_GAN, "NCE_X": loss_NCE_X}
        loss_NCE = settings.lambda_x * loss_NCE_X
        if settings.lambda_y:
            loss_NCE_Y = self._patch_nce(y, same_y, mirrored)  # section 3, L_PatchNCE(G, H, Y)
            loss_NCE = (loss_NCE + settings.lambda_y * loss_NCE_Y) / 2  # as the authors' code has it
            scalars["NCE_Y"] = loss_NCE_Y
        update("generator", loss_G_GAN + loss_NCE)  # equation 5
        return scalars

    def _patch_nce(self, source: Tensor, output: Tensor, mirrored: Tensor | None) -> Tensor:
        """Equation 3: patches of the output against patches of its source; the mean over patches and layers.

        Where G was given the mirrored source, the features of its output are mirrored back (appendix C.1).
        """
        with torch.no_grad():
            keys = self._encoded(source)
            positions = [
                torch.randperm(layer[0, 0].numel(), device=layer.device)[: self.settings.patches] for layer in keys
            ]
            z = self.H(keys, positions)
        z_hat = self.H([_mirrored_if(mirrored, layer) for layer in self._encoded(output)], positions)
        losses = [patch_nce(*pair, self.settings.temperature) for pair in zip(z_hat, z, strict=True)]
        return torch.stack(losses).mean()

    def _encoded(self, image: Tensor) -> list[Tensor]:
        """The image itself, and the features of four stages of G."""
        features = [image]
        for name, stage in self.G.stages.items():
            image = stage(image)
            if name in STAGES:
                features.append(image)
            if name == STAGES[-1]:
                break
        return features

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """G."""
        return {direction: ImageTranslator(self.G, self.shape.x_spec, self.shape.y_spec)}

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """The translation of x, and the identity of y."""
        x, y = batch["x"], batch["y"]
        columns = {"real x": x, "translated G(x)": self.G(x), "real y": y}
        return columns | ({"identity G(y)": self.G(y)} if self.settings.lambda_y else {})

    def adversaries(self) -> list[Adversary]:
        """D, with y and G(x)."""

        def scores(batch: Batch) -> Scores:
            return self.D(batch["y"]), self.D(self.G(batch["x"]))

        return [Adversary("D", self.adversarial, ("D_real", "D_fake"), "G_GAN", scores)]


def patch_nce(z_hat: Tensor, z: Tensor, temperature: float) -> Tensor:
    """Equation 2: each vector of `z_hat` should be most similar to that of `z` at the same position of the same image.

    Unit vectors `[B, S, K]` twice -> the mean cross-entropy over all patches.

    >>> z = torch.eye(2)[None]
    >>> round(patch_nce(z, z, 1.0).item(), 4)  # log(1 + e^-1)
    0.3133
    """
    with torch.autocast(z.device.type, enabled=False):  # tau would multiply the rounding of bf16
        logits = z_hat @ z.transpose(1, 2) / temperature  # [B, S, S]: the positives on the diagonal
    target = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def _mirrored_if(mirrored: Tensor | None, images: Tensor) -> Tensor:
    """The images, mirrored if the tensor `mirrored` is True: a choice without synchronising with the device."""
    return images if mirrored is None else torch.where(mirrored, images.flip(-1), images)


def require_playable(settings: CUTSettings, shape: Shape) -> None:
    """Raises a `ValueError` for a size that a network does not accept, or different numbers of channels."""
    GENERATORS[settings.generator].require_size(shape.size)
    DISCRIMINATORS[settings.patch].require_size(shape.size)
    if shape.x_channels != shape.y_channels:
        raise ValueError(
            "--channels-a and --channels-b differ, and G's encoder sees pictures of both kinds; give one number"
        )
