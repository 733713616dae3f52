"""Steps a second of Diptych's training step, and how that compares with the plain step of research code.

Both run in turns in one process, from the same weights, on the same batch, which lies on the device already. The plain
step is eager float32 in the contiguous layout, one forward pass for each picture, Adam as `torch.optim.Adam` comes, and
`.item()` on every loss at every step. Like junyanz/pytorch-CycleGAN-and-pix2pix, it does freeze D while G learns.

    python benchmarks/train_step.py --size 256
"""

import argparse
import copy
import math
import os
import random
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.cli import process
from diptych.devices import choose_device, computing, memory_format, training_precision
from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.methods.cut import CUT, STAGES, CUTSettings
from diptych.training.settings import Settings, settings_from
from diptych.training.state import LossMeans
from diptych.training.updater import Updater
from interleave import interleave, provenance, times_as_fast

Batch = dict[str, Tensor]
Step = Callable[[Batch], dict[str, float]]  # gives the losses, named as the method names them

TURN_SECONDS = 0.25  # a turn has as many steps as fit: one on a CPU, many on a GPU, whose queue should stay filled


# ---- the plain steps: networks and settings -> a step


def plain_pix2pix(method: Method, settings: Settings) -> Step:
    """Isola et al. 2017 at the paper's losses: D on real and fake, then G on cross-entropy + 100 L1."""
    G, D = method.get_submodule("G"), method.get_submodule("D")
    optimizer_G, optimizer_D = _adam(G, settings), _adam(D, settings)

    def step(batch: Batch) -> dict[str, float]:
        x, y = batch["x"], batch["y"]
        fake_y = G(x)

        _set_requires_grad(D, True)
        optimizer_D.zero_grad()
        fake = D(torch.cat((x, fake_y.detach()), 1))
        loss_D_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        real = D(torch.cat((x, y), 1))
        loss_D_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        _backward((loss_D_fake + loss_D_real) * 0.5)
        optimizer_D.step()

        _set_requires_grad(D, False)
        optimizer_G.zero_grad()
        judged = D(torch.cat((x, fake_y), 1))
        loss_G_GAN = F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
        loss_G_L1 = F.l1_loss(fake_y, y)
        loss_G = loss_G_GAN + loss_G_L1 * 100.0
        _backward(loss_G)
        optimizer_G.step()
        named = {"D_real": loss_D_real, "D_fake": loss_D_fake, "G_GAN": loss_G_GAN, "G_L1": loss_G_L1, "G": loss_G}
        return {name: loss.item() for name, loss in named.items()}

    return step


def plain_cyclegan(method: Method, settings: Settings) -> Step:
    """Zhu et al. 2017 at the paper's losses: G and F on every picture by itself, then D_X, then D_Y; pools are lists."""
    G, F_, D_X, D_Y = (method.get_submodule(name) for name in ("G", "F", "D_X", "D_Y"))
    optimizer_G = _adam(nn.ModuleList([G, F_]), settings)
    optimizer_D = _adam(nn.ModuleList([D_X, D_Y]), settings)
    pool_X, pool_Y = PlainPool(), PlainPool()

    def loss_D(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        judged_real, judged_fake = D(real), D(fake)
        loss_real = F.mse_loss(judged_real, torch.ones_like(judged_real))
        loss = (loss_real + F.mse_loss(judged_fake, torch.zeros_like(judged_fake))) * 0.5
        _backward(loss)
        return loss

    def step(batch: Batch) -> dict[str, float]:
        x, y = batch["x"], batch["y"]
        fake_y, fake_x = G(x), F_(y)
        rec_x, rec_y = F_(fake_y), G(fake_x)

        _set_requires_grad(D_X, False)
        _set_requires_grad(D_Y, False)
        optimizer_G.zero_grad()
        identity_Y, identity_X = F.l1_loss(G(y), y), F.l1_loss(F_(x), x)
        judged_y, judged_x = D_Y(fake_y), D_X(fake_x)
        loss_G_GAN = F.mse_loss(judged_y, torch.ones_like(judged_y))
        loss_F_GAN = F.mse_loss(judged_x, torch.ones_like(judged_x))
        cycle_X, cycle_Y = F.l1_loss(rec_x, x), F.l1_loss(rec_y, y)
        _backward(loss_G_GAN + loss_F_GAN + (cycle_X + cycle_Y) * 10.0 + (identity_X + identity_Y) * 5.0)
        optimizer_G.step()

        _set_requires_grad(D_X, True)
        _set_requires_grad(D_Y, True)
        optimizer_D.zero_grad()
        loss_D_X = loss_D(D_X, x, pool_X(fake_x.detach()))
        loss_D_Y = loss_D(D_Y, y, pool_Y(fake_y.detach()))
        optimizer_D.step()
        named = {"G_GAN": loss_G_GAN, "F_GAN": loss_F_GAN, "cycle_X": cycle_X, "cycle_Y": cycle_Y}
        named |= {"identity_X": identity_X, "identity_Y": identity_Y, "D_X": loss_D_X, "D_Y": loss_D_Y}
        return {name: loss.item() for name, loss in named.items()}

    return step


def plain_cut(method: Method, settings: Settings) -> Step:
    """Park et al. 2020 at the paper's losses: every pass by itself, and the keys with a graph that is thrown away."""
    own = settings.method
    assert isinstance(method, CUT)
    assert isinstance(own, CUTSettings)
    if own.flip_equivariance:
        raise ValueError("--set variant=fastcut: the plain step does not mirror, so the two would not be equal work")
    G, D, H = method.G, method.D, method.H
    optimizer_G, optimizer_D, optimizer_H = (_adam(network, settings) for network in (G, D, H))

    def nce(source: Tensor, output: Tensor) -> Tensor:
        queries, keys = encoded(output), encoded(source)
        places = [torch.randperm(layer[0, 0].numel(), device=layer.device)[: own.patches] for layer in keys]
        losses = []
        for query, key in zip(H(queries, places), H(keys, places), strict=True):
            key = key.detach()
            positive = (query * key).sum(dim=2)[:, :, None]
            others = torch.bmm(query, key.transpose(1, 2))
            others = others.masked_fill(torch.eye(len(others[0]), dtype=torch.bool, device=others.device), -10.0)
            logits = (torch.cat((positive, others), dim=2) / own.temperature).flatten(0, 1)
            losses.append(F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device)))
        return torch.stack(losses).mean()

    def encoded(image: Tensor) -> list[Tensor]:
        features = [image]
        for name, stage in G.stages.items():
            image = stage(image)
            if name in STAGES:
                features.append(image)
            if name == STAGES[-1]:
                return features
        raise AssertionError(STAGES)

    def step(batch: Batch) -> dict[str, float]:
        x, y = batch["x"], batch["y"]
        fake_y = G(x)
        same_y = G(y) if own.lambda_y else fake_y

        _set_requires_grad(D, True)
        optimizer_D.zero_grad()
        fake = D(fake_y.detach())
        loss_D_fake = F.mse_loss(fake, torch.zeros_like(fake))
        real = D(y)
        loss_D_real = F.mse_loss(real, torch.ones_like(real))
        _backward((loss_D_fake + loss_D_real) * 0.5)
        optimizer_D.step()

        _set_requires_grad(D, False)
        optimizer_G.zero_grad()
        optimizer_H.zero_grad()
        judged = D(fake_y)
        loss_G_GAN = F.mse_loss(judged, torch.ones_like(judged))
        loss_NCE_X = nce(x, fake_y)
        named = {"D_real": loss_D_real, "D_fake": loss_D_fake, "G_GAN": loss_G_GAN, "NCE_X": loss_NCE_X}
        loss_NCE = loss_NCE_X * own.lambda_x
        if own.lambda_y:
            named["NCE_Y"] = nce(y, same_y)
            loss_NCE = (loss_NCE + named["NCE_Y"] * own.lambda_y) * 0.5
        _backward(loss_G_GAN + loss_NCE)
        optimizer_G.step()
        optimizer_H.step()
        return {name: loss.item() for name, loss in named.items()}

    return step


class PlainPool:
    """The pool of 50 as research code has it: a Python list and Python's choice."""

    def __init__(self) -> None:
        self.pictures: list[Tensor] = []

    def __call__(self, new: Tensor) -> Tensor:
        given = []
        for picture in new.split(1):  # type: ignore[no-untyped-call]
            if len(self.pictures) < 50:
                self.pictures.append(picture)
                given.append(picture)
            elif random.random() > 0.5:
                place = random.randint(0, 49)
                given.append(self.pictures[place].clone())
                self.pictures[place] = picture
            else:
                given.append(picture)
        return torch.cat(given)


PLAIN: dict[str, Callable[[Method, Settings], Step]] = {
    "pix2pix": plain_pix2pix,
    "cyclegan": plain_cyclegan,
    "cut": plain_cut,
}


def _adam(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=settings.lr, betas=(settings.beta1, 0.999))


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def _set_requires_grad(network: nn.Module, requires_grad: bool) -> None:
    for parameter in network.parameters():
        parameter.requires_grad = requires_grad


# ---- Diptych's step


class DiptychStep:
    """One turn of the loop in `diptych.training.loop`, in the same order, without pictures, log and samples."""

    def __init__(self, method: Method, settings: Settings, device: torch.device) -> None:
        self.method = method.to(memory_format=memory_format(device))  # type: ignore[call-overload]
        self.settings, self.device = settings, device
        self.precision, _ = training_precision(settings.precision, device)
        self.updater = Updater(self.method, settings, device)
        self.done = 0
        self.losses = LossMeans()

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        torch.manual_seed(self.done)
        self.updater.begin(self.done)
        with computing(self.precision, self.device):
            scalars: dict[str, Tensor] = self.method.train_step(batch, self.updater, self.done)
        self.losses.add(scalars)
        self.done += 1
        if self.done % self.settings.log_every == 0:  # the only wait for the device
            self.updater.require_finite("nothing was kept")
            self.losses.take()
            self.updater.mean_norms()
        return scalars


def require_same_losses(name: str, method: Method, settings: Settings, batch: Batch, device: torch.device) -> float:
    """The largest relative difference of the first step's losses; raises a `ValueError` when it is not equal work."""
    ours, theirs = copy.deepcopy(method), copy.deepcopy(method)
    for layer in (*ours.modules(), *theirs.modules()):
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # two steps that draw in another order cannot be compared
    exact = settings.model_copy(update={"precision": "fp32"})
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        got = {key: value.item() for key, value in DiptychStep(ours, exact, device)(batch).items()}
        torch.manual_seed(0)  # as DiptychStep does before its first step: what both draw, they draw alike
        expected = PLAIN[name](theirs, exact)(batch)
    if got.keys() != expected.keys() or any(not math.isclose(got[k], expected[k], rel_tol=1e-4) for k in got):
        raise ValueError(f"{name}: the two steps differ, so their times mean nothing: {got} and {expected}")
    return max(abs(got[key] - expected[key]) / abs(expected[key]) for key in got)


def measure(arguments: argparse.Namespace) -> None:
    name, device = arguments.method, choose_device(arguments.device)
    asked = {key: getattr(arguments, key) for key in ("size", "batch_size", "precision")}
    own = {"width": arguments.width, **dict(pair.split("=") for pair in arguments.set)}
    settings = settings_from(name, {**asked, "steps": 1_000_000, "method": own})
    torch.manual_seed(0)
    method = METHODS[name](settings.method, settings.shape).to(device)
    sides = {"x": settings.shape.x_channels, "y": settings.shape.y_channels}
    batch = {
        side: torch.rand(settings.batch_size, c, *settings.size, device=device) * 2 - 1 for side, c in sides.items()
    }
    difference = require_same_losses(name, method, settings, batch, device)
    print(f"equal work: losses of the first step, dropout off, differ by at most {difference:.1e} of their value")

    plain = PLAIN[name](copy.deepcopy(method), settings)
    ours = DiptychStep(method, settings, device)

    def turn(step: Callable[[Batch], object], steps: int) -> None:
        for _ in range(steps):
            step(batch)
        if device.type != "cpu":
            torch.accelerator.synchronize()

    for step in (plain, ours):
        turn(step, 3)  # the first steps choose kernels and allocate
    began = time.perf_counter()
    turn(plain, 3)
    per_turn = max(1, round(TURN_SECONDS * 3 / (time.perf_counter() - began)))
    turns = max(1, arguments.steps // per_turn)
    seconds = interleave({"plain": partial(turn, plain, per_turn), "Diptych": partial(turn, ours, per_turn)}, turns)
    for way, measured in seconds.items():
        print(
            f"{way}: {per_turn / statistics.median(measured):.2f} steps/s (median of {turns} turns of {per_turn} steps)"
        )
    print(f"ratio: Diptych is {times_as_fast(seconds['plain'], seconds['Diptych'])}")
    described = "".join(f", {pair}" for pair in arguments.set)
    print(
        f"{name}, {settings.size} px, width {arguments.width}{described}, batch {settings.batch_size}, {ours.precision}"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process, which holds both: {peak:.2f} GiB")
    print(provenance(device))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=sorted(PLAIN), default="pix2pix")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a method's setting that is text: generator=resnet6",
    )
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20, help="steps of each kind (default 20; take 1000 on a GPU)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument(
        "--isa", help="the instructions that oneDNN may use at most, such as AVX2: how an older CPU fares"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    if given.isa:
        os.environ["ONEDNN_MAX_CPU_ISA"] = given.isa  # read at the first convolution
    torch.set_num_threads(given.threads)
    process.keep_freed_memory(all_of_it=True)  # as the command does; the plain step gains by it too
    measure(given)
