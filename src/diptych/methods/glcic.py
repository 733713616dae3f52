"""Image completion: Iizuka, Simo-Serra, Ishikawa, "Globally and Locally Consistent Image Completion", SIGGRAPH 2017.

C fills the hole M_c of an image x; the inputs of D are the whole image and the window around the hole. C is trained alone
for T_C steps, then D alone for T_D, then both (algorithm 1). Sections, equations and tables: ACM Trans. Graph. 36(4), 107.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor

from diptych.images.masks import Kind, MaskSpec, cut, window
from diptych.images.size import Size
from diptych.images.spec import EIGHT_BIT
from diptych.kinds import DataKind, Direction
from diptych.losses import ADVERSARIAL
from diptych.methods.base import Adversary, Batch, Method, Scores, Update
from diptych.methods.optimizers import Adadelta
from diptych.methods.roles import Mean
from diptych.methods.settings import MOST_STEPS, MOST_WIDTH, MethodSettings, Shape, Uniform, Weight
from diptych.networks import completion, context_discriminator
from diptych.networks.completion import CompletionNetwork
from diptych.networks.context_discriminator import ContextDiscriminator
from diptych.networks.layers import frozen
from diptych.translators.base import Translator
from diptych.translators.completion import Completer, composite

VANILLA = ADVERSARIAL["vanilla"]
CHECK_EVERY = 10  # steps of T_D between checks of D's loss

Length = int | float
"""A number of steps, or a share of the run."""


class GLCICSettings(MethodSettings):
    """The defaults are the paper's."""

    width: int = Field(64, ge=2, le=MOST_WIDTH, description="Channels of the first layer of C and D (tables 1 and 2).")
    network: completion.Form = Field(
        "paper",
        description="C: the paper's (table 1), or that of otenim's program, for its weights: each ReLU before its norm, and "
        "pictures in [0, 1].",
    )
    t_c: Length = Field(
        0.18,
        description="How long C learns alone: a number of steps, or a share of the run such as 0.18 "
        "(section 4: 90,000 of 500,000).",
    )
    t_d: Length = Field(
        0.02, description="How long D learns alone after that, likewise (section 4: 10,000 of 500,000)."
    )
    t_d_until: Weight = Field(
        0.0, description="D's loss at which its time alone ends early, such as 0.0001; 0 never does."
    )
    alpha: Weight = Field(4e-4, description="Weight of the adversarial terms, for both players (equation 4).")
    balance: bool = Field(
        False,
        description="Instead of alpha, C's adversarial term has the weight that gives both its terms gradients of the same "
        "norm at the first joint step (section 3.4).",
    )
    optimizer: Literal["adadelta", "adam"] = Field(
        "adadelta", description="Adadelta, which needs no --lr (section 3.4), or Adam, whose --lr is 2e-4 here."
    )
    holes: Kind = Field(
        "rectangle",
        description="The paper's one rectangle, several of half the sides, free-form strokes, or any of these.",
    )
    hole_min: int = Field(
        0,
        ge=0,
        le=2**16,
        description="Smallest height and width of a hole in pixels; 0 is 3/8 of the shorter side of --size (section 3.4: 96 "
        "of 256).",
    )
    hole_max: int = Field(
        0,
        ge=0,
        le=2**16,
        description="Largest height and width of a hole in pixels; 0 is 1/2 of the shorter side of --size (section 3.4: 128 "
        "of 256), which is what D's window sees.",
    )

    @field_validator("t_c", "t_d", mode="before")
    @classmethod
    def _is_length(cls, value: object) -> object:
        is_steps = type(value) is int and 0 <= value <= MOST_STEPS
        is_share = isinstance(value, float) and 0 <= value < 1
        if not (is_steps or is_share):
            raise ValueError("a whole number of steps, or a share of the run below 1, is expected")
        return value

    def defaults(self, uniform: Uniform | None = None) -> dict[str, Any]:
        """No decay, and images are cropped, not stretched (section 3.4); the paper's batch size of 96 needs a large GPU."""
        return {"lr": 2e-4 if self.optimizer == "adam" else 1.0, "decay-start": 1.0, "batch-size": 16, "fit": "crop"}

    def resolved(self, steps: int, size: Size) -> Self:
        """The phases in steps, the holes in pixels. A `ValueError` for phases that are longer than the run."""
        # Rounded down, so that shares with a sum of 1 never exceed the run; 0.29 * 100 is 28.999999999999996
        t_c, t_d = (int(t * steps + 1e-9) if isinstance(t, float) else t for t in (self.t_c, self.t_d))
        if t_c + t_d > steps:
            raise ValueError(
                f"--method.t-c {self.t_c} --method.t-d {self.t_d}: {t_c} and {t_d} steps are more than the run's {steps}; "
                "give shares such as 0.18 and 0.02, or a larger --steps"
            )
        holes = self.mask_spec(size)
        return self.model_copy(update={"t_c": t_c, "t_d": t_d, "hole_min": holes.smallest, "hole_max": holes.largest})

    def mask_spec(self, size: Size) -> MaskSpec:
        """The holes in images of this size; a `ValueError` for holes that do not fit."""
        shorter = min(size)
        smallest = self.hole_min or round(shorter * 3 / 8)
        largest = self.hole_max or max(shorter // 2, smallest)
        if not smallest <= largest < shorter:
            raise ValueError(
                f"--method.hole-min {smallest} --method.hole-max {largest}: sides of holes in pixels, the smaller first "
                f"and both below --size {size} on its shorter side, are expected"
            )
        return MaskSpec(self.holes, smallest, largest)


class GLCIC(Method):
    """`C: (x, M_c) -> x` with the hole filled, against D, with the image and the window around the hole as inputs."""

    paper = "Iizuka et al. 2017, Globally and Locally Consistent Image Completion"
    summary = "holes in pictures filled, learnt from whole pictures alone"
    data = DataKind.IMAGES
    validation_metric = "hole-l1"
    players: ClassVar[dict[str, tuple[str, ...]]] = {"completion": ("C",), "discriminator": ("D",)}
    metrics: ClassVar[tuple[str, ...]] = ("hole-l1", "hole-psnr", "hole-ssim", *Method.metrics)
    snapshots: ClassVar[tuple[str, ...]] = ("completion",)
    Settings = GLCICSettings

    def __init__(self, settings: GLCICSettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        self.settings, self.shape = settings, shape
        smallest = 2 * context_discriminator.SMALLEST
        if min(shape.size) < smallest or any(side % completion.STRIDE for side in shape.size):
            raise ValueError(
                f"--size {shape.size}: the networks take multiples of {completion.STRIDE} from {smallest} on, such as "
                "64, 128, 160, 256 or 512x256"
            )
        self.mask_spec = settings.mask_spec(shape.size)
        self.T_C, self.T_D = int(settings.t_c), int(settings.t_d)  # steps, once the settings are `resolved`
        self.window = min(shape.size) // 2  # 128 of 256 (section 3.3)
        self.C = CompletionNetwork(shape.x_channels, width=settings.width, form=settings.network)
        self.D = ContextDiscriminator(shape.x_channels, size=shape.size, window=self.window, width=settings.width)
        self.register_buffer("balanced_alpha", torch.tensor(settings.alpha))
        self.register_buffer("discriminator_loss_sum", torch.zeros(()))
        self.joint_from: int | None = None
        """The step at which joint training began, if D's loss ended its phase early."""

    balanced_alpha: Tensor
    discriminator_loss_sum: Tensor

    def get_extra_state(self) -> Tensor:
        """`joint_from` as a tensor, -1 for None."""
        return torch.tensor(-1 if self.joint_from is None else self.joint_from)

    def set_extra_state(self, state: Tensor) -> None:
        """Restores `joint_from`."""
        self.joint_from = None if state.item() < 0 else int(state.item())

    def optimizer(self, player: str, lr: float, beta1: float) -> torch.optim.Optimizer:
        """Adadelta, which needs no learning rate (Zeiler 2012): `lr` scales its step, and is 1."""
        if self.settings.optimizer == "adam":
            return super().optimizer(player, lr, beta1)
        return Adadelta(self._parameters_of(player), lr=lr)

    def fit_statistics(self, training: Iterable[Tensor]) -> None:
        """Computes the mean pixel of the training set, the initial content of holes (section 3.4)."""
        means = [image.double().mean(dim=(-2, -1)) for image in training]
        self.C.mean_pixel.copy_((torch.stack(means).mean(dim=0) / EIGHT_BIT.half - 1).view(1, -1, 1, 1))

    # ---- algorithm 1

    def phase(self, step: int) -> str:
        """The phase of a step."""
        if step < self.T_C:
            return "completion (T_C)"
        return "discriminator (T_D)" if step < self._first_joint_step() else "joint"

    def _first_joint_step(self) -> int:
        return self.T_C + self.T_D if self.joint_from is None else self.joint_from

    def snapshot_at(self, done: int) -> str | None:
        """C before any influence of D, for comparison."""
        return self.snapshots[0] if done == self.T_C else None

    def after_step(self, done: int, mean: Mean) -> None:
        """Ends the phase of D alone if its mean loss over CHECK_EVERY steps is low enough."""
        steps = done - self.T_C
        if not self.settings.t_d_until or steps <= 0 or steps % CHECK_EVERY or self.phase(done - 1) == "joint":
            return
        if mean(self.discriminator_loss_sum).item() / CHECK_EVERY < self.settings.t_d_until:
            self.joint_from = done
        self.discriminator_loss_sum.zero_()

    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """One step of algorithm 1. The batch has a second hole M_d, the window of D on the true image."""
        x, M_c, M_d = batch["y"], batch["mask"], batch["other_mask"]
        phase = self.phase(step)
        if phase == "completion (T_C)":
            loss_mse = self._distance(self.C(x, M_c), x, M_c)
            update("completion", loss_mse)
            return {"C_MSE": loss_mse}

        if phase == "discriminator (T_D)":
            self.C.eval()  # C is fixed, including its batch statistics
            with torch.no_grad():
                output = self.C(x, M_c)
            self.C.train()
        else:
            output = self.C(x, M_c)
        completed = composite(output, x, M_c)
        loss_D_real = VANILLA.discriminator(self._logits(x, M_d), True)  # equation 3, first term
        loss_D_fake = VANILLA.discriminator(self._logits(completed.detach(), M_c), False)  # and its second
        loss_D = self.settings.alpha * (loss_D_real + loss_D_fake)  # equation 4: alpha weights both terms
        update("discriminator", loss_D)
        scalars = {"D_real": loss_D_real, "D_fake": loss_D_fake}
        if phase == "discriminator (T_D)":
            self.discriminator_loss_sum += (loss_D_real + loss_D_fake).detach()
            return scalars

        loss_mse = self._distance(output, x, M_c)  # equation 2
        with frozen(self.D):
            # "maximize log D(C(x, M_c), M_c)": the gradient of the paper's log(1 - D) vanishes for a confident D
            loss_C_GAN = VANILLA.generator(self._logits(completed, M_c))
        alpha = self._balanced(loss_mse, loss_C_GAN, output, step) if self.settings.balance else self.settings.alpha
        update("completion", loss_mse + alpha * loss_C_GAN)  # equation 5
        return scalars | {"C_MSE": loss_mse, "C_GAN": loss_C_GAN}

    def _distance(self, output: Tensor, x: Tensor, M_c: Tensor) -> Tensor:
        """Equation 2: mean squared difference in the holes alone, of images in [0, 1], for which alpha is chosen."""
        squares = ((output - x) / 2).square() * M_c
        return squares.sum() / (M_c.sum() * x.shape[1])

    def _logits(self, x: Tensor, mask: Tensor) -> Tensor:
        """D's logits for images and the windows around their holes."""
        logits: Tensor = self.D(x, cut(x, *window(mask, self.window), self.window))
        return logits

    def _balanced(self, loss_mse: Tensor, loss_C_GAN: Tensor, output: Tensor, step: int) -> Tensor:
        """The weight of C's adversarial term: the ratio of gradient norms at C's output, at the first joint step."""
        if step == self._first_joint_step():
            norms = [
                torch.autograd.grad(loss, output, retain_graph=True)[0].float().norm()
                for loss in (loss_mse, loss_C_GAN)
            ]
            self.balanced_alpha.copy_(norms[0] / norms[1].clamp(min=1e-12))
        return self.balanced_alpha

    def adversaries(self) -> list[Adversary]:
        """D, with the true image and the completed one, around the same hole."""

        def scores(batch: Batch) -> Scores:
            x, M_c = batch["y"], batch["mask"]
            return self._logits(x, M_c), self._logits(composite(self.C(x, M_c), x, M_c), M_c)

        return [Adversary("D", VANILLA, ("D_real", "D_fake"), "C_GAN", scores)]

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """C."""
        spec = self.shape.x_spec
        return {direction: Completer(self.C, completion.STRIDE, spec, self.mask_spec, completion.RECEPTIVE_RADIUS)}
