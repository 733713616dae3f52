"""The methods, one file per paper. A new method needs its file, a line here, a recipe and a page in the docs."""

import torch

from diptych.methods.base import Method
from diptych.methods.cgan import CGAN
from diptych.methods.colorize import Colorize
from diptych.methods.cut import CUT
from diptych.methods.cyclegan import CycleGAN
from diptych.methods.glcic import GLCIC
from diptych.methods.pix2pix import Pix2Pix
from diptych.methods.settings import MethodSettings, Shape

METHODS: dict[str, type[Method]] = {
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
    "cut": CUT,
    "colorize": Colorize,
    "glcic": GLCIC,
    "cgan": CGAN,
}


def sketch(name: str, settings: MethodSettings, shape: Shape) -> Method:
    """A method on the meta device, without weights; a `ValueError` if its networks do not accept the settings.

    >>> from diptych.methods.pix2pix import Pix2PixSettings
    >>> next(sketch("pix2pix", Pix2PixSettings(), Shape(size=256)).parameters()).device
    device(type='meta')
    """
    with torch.device("meta"):
        return METHODS[name](settings, shape)
