"""The FCN score (Isola et al. 2017, section 4.1): can what the labels say be read again in the photographs made from them?

The paper reads with a network that others had trained on Cityscapes. Here a small one learns from the real training pairs
at hand, once: it is kept by their content. What it reads in the real held-out photographs says how much can be read at all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.data.loaders import Progress
from diptych.evaluate.learning import learn
from diptych.files import cached, digest
from diptych.images.files import from_bytes
from diptych.images.label_maps import classes_of
from diptych.images.spec import EIGHT_BIT
from diptych.metrics.networks.segmenter import WIDTHS, Segmenter

VERSION = 1  # of what is not among the constants: other segmenters have other names in the cache
STEPS, BATCH, LR = 1600, 8, 6e-3
SHIFT = 16  # a picture moves by up to a sixteenth of its side
AT_ONCE = 16


def taught(
    photos: Tensor, maps: Tensor, palette: Tensor, device: torch.device, progress: Progress | None = None
) -> Segmenter:
    """A segmenter that has learnt to read in `photos`, uint8 `[N, C, S, S]`, what `maps`, uint8 `[N, C', S, S]`, say.

    The first call trains it, in a time that grows with S squared and not with N, and later ones find it in the cache; the
    same pairs in the same order give the same one on the same machine, on a CPU to the last bit.
    """
    constants = f"segmenter {VERSION} {WIDTHS} {STEPS} {BATCH} {LR} {SHIFT}"
    name = f"segmenter-{digest(constants, [palette], map(torch.cat, zip(photos, maps, strict=True)))}"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        segmenter = Segmenter(photos.shape[1], classes=len(palette)).to(device)
        segmenter.load_state_dict(cached(name, lambda: _learn(segmenter, photos, maps, palette, progress)))
    return segmenter.eval()


def _learn(
    segmenter: Segmenter, photos: Tensor, maps: Tensor, palette: Tensor, progress: Progress | None
) -> dict[str, Tensor]:
    true = torch.cat([classes_of(some, palette).byte() for some in torch.split(maps, AT_ONCE)])
    device, shift = next(segmenter.parameters()).device, photos.shape[-1] // SHIFT
    optimizer = torch.optim.AdamW(segmenter.parameters(), fused=True)

    def loss(rows: Tensor) -> Tensor:
        pairs = _moved(torch.cat([photos[rows], true[rows, None]], dim=1).to(device).float(), shift)
        x, y = pairs[:, :-1] / EIGHT_BIT.half - 1, pairs[:, -1].long()
        # All pixels weigh alike (Long et al. 2015, section 4.3). On CMP's facades, weights by the fourth root of a class's
        # rarity gave 0.42 per class for 0.38, and 0.60 per pixel for 0.61.
        return F.cross_entropy(segmenter(x), y)

    learn(optimizer, loss, len(photos), steps=STEPS, batch=BATCH, lr=LR, progress=progress)
    return {name: value.cpu() for name, value in segmenter.state_dict().items()}


def _moved(pairs: Tensor, shift: int) -> Tensor:
    """`[B, C, S, S]`, each moved by up to `shift` pixels either way, and one in two mirrored."""
    size = pairs.shape[-1]
    larger = F.pad(pairs, (shift, shift, shift, shift), mode="reflect")
    moved = []
    for pair, (top, left), flip in zip(
        larger, torch.randint(2 * shift + 1, (len(pairs), 2)).tolist(), torch.rand(len(pairs)) < 0.5, strict=True
    ):
        window = pair[:, top : top + size, left : left + size]
        moved.append(window.flip(-1) if flip else window)
    return torch.stack(moved)


@torch.inference_mode()
def read(segmenter: Segmenter, photos: Tensor) -> Tensor:
    """Which class each pixel shows: uint8 `[N, C, H, W]` -> int64 `[N, H, W]`, on the CPU."""
    device = next(segmenter.parameters()).device
    found = [segmenter(from_bytes(some.to(device))).argmax(dim=1).cpu() for some in torch.split(photos, AT_ONCE)]
    return torch.cat(found)
