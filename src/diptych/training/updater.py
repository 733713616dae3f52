"""The optimiser step of all methods: learning rate, gradients, check for NaN, moving average."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from diptych import distributed
from diptych.methods.base import Method, deployed
from diptych.training.doctor import GRADIENT_SETTINGS, remedies
from diptych.training.settings import Settings


def learning_rate(step: int, settings: Settings) -> float:
    """Constant until `decay_start`; then, by default, linear to 0 at the end of the run (CycleGAN, section 4).

    >>> settings = Settings(steps=200, lr=1.0)
    >>> [learning_rate(step, settings) for step in (0, 99, 100, 150, 199)]
    [1.0, 1.0, 1.0, 0.5, 0.01]
    >>> settings = Settings(steps=200, lr=1.0, decay_start=0.25, lr_policy="step")
    >>> [round(learning_rate(step, settings), 3) for step in (0, 50, 100)]
    [1.0, 0.1, 0.01]
    """
    constant = settings.steps * settings.decay_start
    if settings.lr_policy == "constant" or step < constant or settings.decay_start == 1:
        return settings.lr
    if settings.lr_policy == "step":
        return settings.lr * 0.1 ** int(step / constant) if constant else settings.lr
    left = (settings.steps - step) / (settings.steps - constant)
    return settings.lr * (left if settings.lr_policy == "linear" else (1 - math.cos(math.pi * left)) / 2)


class Updater:
    """`update(player, loss)`: one step of the player's optimiser, by the mean gradient of all processes.

    It never synchronises with the device. After a loss or gradient that is not finite, this step and all later ones leave
    the weights unchanged, on the device; `require_finite`, called from time to time, raises an error then.
    """

    def __init__(self, method: Method, settings: Settings, device: torch.device) -> None:
        self.settings = settings
        self.step = 0
        self.optimizers = {p: method.optimizer(p, settings.lr, settings.beta1) for p in method.players}
        names = deployed(method).keys()
        self.deployed_by = {player: names & {*networks} for player, networks in method.players.items()}
        self.weights = {
            name: p for name, p in method.named_parameters() if name.split(".")[0] in names and settings.ema
        }
        self.ema = {name: p.detach().clone() for name, p in self.weights.items()}
        self.norms: dict[str, list[Tensor]] = {}
        """Norms of each player's gradients since the last call of `mean_norms`."""
        self.broken = torch.zeros((), device=device)
        self.broken_step = torch.zeros((), dtype=torch.long, device=device)

    def begin(self, step: int) -> None:
        """Sets the learning rate of a step."""
        self.step = step
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, self.settings)

    def __call__(self, player: str, loss: Tensor) -> None:
        """Updates the networks of `player` by the gradient of `loss`."""
        optimizer = self.optimizers[player]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(loss.device.type, enabled=False):
            loss.float().backward()  # type: ignore[no-untyped-call]
        loss = loss.detach().clone()
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        distributed.average([loss, *gradients])  # so that a NaN in one process is one in all
        norm = torch.nn.utils.get_total_norm(gradients)
        self.norms.setdefault(player, []).append(norm)
        if self.settings.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.settings.clip, norm)
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        self.broken_step = torch.where((self.broken == 0) & ~finite, self.step, self.broken_step)
        self.broken = torch.maximum(self.broken, (~finite).float())
        if optimizer.defaults.get("fused"):  # skips the step if this is 1, without synchronising with the device
            optimizer.found_inf = self.broken  # type: ignore[attr-defined]
        else:  # zero gradients change no weights; the optimiser's state is lost, but no further checkpoint is written
            for p in parameters:
                p.grad = torch.where(self.broken > 0, 0.0, p.grad)
        optimizer.step()
        if self.ema and self.deployed_by[player]:
            self._average(player)

    @torch.no_grad()
    def _average(self, player: str) -> None:
        names = [name for name in self.ema if name.split(".")[0] in self.deployed_by[player]]
        torch._foreach_lerp_(
            [self.ema[name] for name in names], [self.weights[name] for name in names], 1 - self.settings.ema
        )

    def mean_norms(self) -> dict[str, float]:
        """The mean norm of each player's gradient since the last call."""
        means = {player: torch.stack(norms).mean() for player, norms in self.norms.items()}
        self.norms.clear()
        return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True)) if means else {}

    def require_finite(self, state: str) -> None:
        """Raises a `ValueError` with the step if a loss or gradient was not finite; `state` is about the checkpoint."""
        if self.broken.item():
            raise ValueError(
                f"training stopped before step {int(self.broken_step.item()) + 1}: a loss or gradient is not finite "
                f"(NaN or infinite); {state}; try {', '.join([*remedies(self.settings, GRADIENT_SETTINGS), 'a lower --lr'])}"
            )

    @contextmanager
    def deployed_weights(self) -> Iterator[None]:
        """Inside, the method has the weights of the deployed model: the moving average, if the run has one."""
        own = {name: self.weights[name].data for name in self.ema}
        for name, average in self.ema.items():
            self.weights[name].data = average
        try:
            yield
        finally:
            for name, value in own.items():
                self.weights[name].data = value
