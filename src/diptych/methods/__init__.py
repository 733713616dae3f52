"""One paper = one file. A new method is its file, its line here, its recipe and its page in the docs."""

from diptych.methods.base import Method
from diptych.methods.cgan import CGAN
from diptych.methods.colorize import Colorize
from diptych.methods.cyclegan import CycleGAN
from diptych.methods.glcic import GLCIC
from diptych.methods.pix2pix import Pix2Pix

METHODS: dict[str, type[Method]] = {
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
    "colorize": Colorize,
    "glcic": GLCIC,
    "cgan": CGAN,
}
