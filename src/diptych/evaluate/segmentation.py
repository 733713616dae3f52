"""The segmenter of the FCN score (Isola et al. 2017, section 4.1): does it find the labels in photographs made from them?

The paper's segmenter was trained on Cityscapes. Here a small one is trained on the real training pairs and cached by their
content. Its score on the real held-out photographs is the ceiling of this measure.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.data.loaders import Progress
from diptych.evaluate.learning import fit
from diptych.files import cached, digest
from diptych.images.files import from_bytes
from diptych.images.label_maps import classes_of
from diptych.images.spec import EIGHT_BIT
from diptych.metrics.networks.segmenter import WIDTHS, Segmenter

VERSION = 1  # of the code that is not in the constants: a new version has a new name in the cache
STEPS, TRAIN_BATCH_SIZE, LR = 1600, 8, 6e-3
SHIFT = 16  # augmentation moves an image by up to a sixteenth of its side
BATCH_SIZE = 16


def trained_segmenter(
    photos: Tensor, maps: Tensor, palette: Tensor, device: torch.device, progress: Progress | None = None
) -> Segmenter:
    """A segmenter trained on photographs, uint8 `[N, C, H, W]`, and their label maps, uint8 `[N, C', H, W]`.

    The first call trains it, in a time that grows with H times W and not with N; later calls load it from the cache. The
    same pairs in the same order give the same segmenter on the same machine, on a CPU to the last bit.
    """
    constants = f"segmenter {VERSION} {WIDTHS} {STEPS} {TRAIN_BATCH_SIZE} {LR} {SHIFT}"
    name = f"segmenter-{digest(constants, [palette], map(torch.cat, zip(photos, maps, strict=True)))}"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        segmenter = Segmenter(photos.shape[1], classes=len(palette)).to(device)
        segmenter.load_state_dict(cached(name, lambda: _train(segmenter, photos, maps, palette, progress)))
    return segmenter.eval()


def _train(
    segmenter: Segmenter, photos: Tensor, maps: Tensor, palette: Tensor, progress: Progress | None
) -> dict[str, Tensor]:
    truth = torch.cat([classes_of(batch, palette).byte() for batch in torch.split(maps, BATCH_SIZE)])
    device, shift = next(segmenter.parameters()).device, min(photos.shape[-2:]) // SHIFT
    optimizer = torch.optim.AdamW(segmenter.parameters(), fused=True)

    def loss_of(indices: Tensor) -> Tensor:
        pairs = _augmented(torch.cat([photos[indices], truth[indices, None]], dim=1).to(device).float(), shift)
        x, y = pairs[:, :-1] / EIGHT_BIT.half - 1, pairs[:, -1].long()
        # All pixels have equal weight (Long et al. 2015, section 4.3). On CMP's facades, weighting by the fourth root of a
        # class's rarity gave 0.42 per class instead of 0.38, and 0.60 per pixel instead of 0.61.
        return F.cross_entropy(segmenter(x), y)

    fit(optimizer, loss_of, len(photos), steps=STEPS, batch_size=TRAIN_BATCH_SIZE, lr=LR, progress=progress)
    return {name: value.cpu() for name, value in segmenter.state_dict().items()}


def _augmented(pairs: Tensor, shift: int) -> Tensor:
    """`[B, C, H, W]`, each shifted by up to `shift` pixels in both directions, and mirrored with probability one half."""
    height, width = pairs.shape[-2:]
    padded = F.pad(pairs, (shift, shift, shift, shift), mode="reflect")
    augmented = []
    for pair, (top, left), flip in zip(
        padded, torch.randint(2 * shift + 1, (len(pairs), 2)).tolist(), torch.rand(len(pairs)) < 0.5, strict=True
    ):
        crop = pair[:, top : top + height, left : left + width]
        augmented.append(crop.flip(-1) if flip else crop)
    return torch.stack(augmented)


@torch.inference_mode()
def segment(segmenter: Segmenter, photos: Tensor) -> Tensor:
    """The class of each pixel: uint8 `[N, C, H, W]` -> int64 `[N, H, W]`, on the CPU."""
    device = next(segmenter.parameters()).device
    batches = torch.split(photos, BATCH_SIZE)
    return torch.cat([segmenter(from_bytes(batch.to(device))).argmax(dim=1).cpu() for batch in batches])
