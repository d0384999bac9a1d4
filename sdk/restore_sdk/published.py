"""Figures that others have published under the protocols of `restore evaluate`: never measured here.

PSNR in dB. `gaussian`: colour, told the noise level unless said otherwise; `jpeg`: grey for Classic5, RGB for
LIVE1; `sr`: luma, borders cut. From the papers of the methods and their successors' comparison tables. Only
rows of the very same set of pictures may stand beside ours.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GMACS", "Published", "published_for"]


@dataclass(frozen=True)
class Published:
    """One method on one set: PSNR in dB by setting, as the settings of the suite are called."""

    method: str
    psnr: dict[str, float]


GMACS = {
    "FFDNet": 13.9,
    "DnCNN": 43.7,
    "DRUNet": 138.8,
    "SwinIR": 800.0,
    "SCUNet": 78.7,
    "Restormer": 154.9,
}
"""Billions of multiply-adds for 256 x 256 pixels, products of attention included, as published.

FFDNet's are counted from its layers (Zhang et al. 2018, colour): twelve 3x3 convolutions of 96 channels at
half the resolution, from 13 channels (four pixels and the noise level, which it is told) to 12.
"""

_SIGMAS = ("sigma 15", "sigma 25", "sigma 50")
_QUALITIES = ("quality 10", "quality 20", "quality 30", "quality 40")

_GAUSSIAN_SETS = {"CBSD68": 68, "Kodak24": 24, "McMaster": 18, "Urban100": 100}
_GAUSSIAN = """
CBM3D      33.52/30.71/27.38 34.28/32.15/28.46 34.06/31.66/28.51 33.93/31.36/27.93
DnCNN      33.90/31.24/27.95 34.60/32.14/28.95 33.45/31.52/28.62 32.98/30.81/27.59
FFDNet     33.87/31.21/27.96 34.63/32.13/28.98 34.66/32.35/29.18 33.83/31.40/28.05
DRUNet     34.30/31.69/28.51 35.31/32.89/29.86 35.40/33.14/30.08 34.81/32.60/29.61
SwinIR     34.42/31.78/28.56 35.34/32.89/29.79 35.61/33.20/30.22 35.13/32.90/29.82
SCUNet     34.40/31.79/28.61 35.34/32.92/29.87 35.60/33.34/30.29 35.18/33.03/30.14
Restormer  34.40/31.79/28.60 35.35/32.93/29.87 35.61/33.34/30.30 35.13/32.96/30.02
Xformer    34.43/31.82/28.63 35.39/32.99/29.94 35.68/33.44/30.38 35.29/33.21/30.36
"""
_SR_SETS = {"Set5": 5, "Set14": 14, "BSD100": 100, "Urban100": 100}
_SR = """
bicubic         x2 33.66/30.24/29.56/26.88
bicubic         x4 28.42/26.00/25.96/23.14
SAFMN           x4 32.18/28.60/27.58/25.97
SwinIR-light    x2 38.14/33.86/32.31/32.76
SwinIR-light    x4 32.44/28.77/27.69/26.47
MambaIRv2-light x2 38.26/34.09/32.36/33.26
HAT             x4 33.04/29.23/28.00/27.97
"""
_JPEG_SETS = {"Classic5": 5, "LIVE1": 29}
_JPEG = """
Classic5 DnCNN-3 29.40/31.63/32.91/33.77
Classic5 FBCNN   30.12/32.31/33.54/34.35
Classic5 SwinIR  30.27/32.52/33.73/34.52
LIVE1    SwinIR  28.06/30.45/31.82/32.75
"""


def published_for(suite: str, dataset: str, images: int) -> list[Published]:
    """What others published on this set, best known last; nothing unless name and number of images agree."""
    if suite == "gaussian" and _GAUSSIAN_SETS.get(dataset) == images:
        column = list(_GAUSSIAN_SETS).index(dataset)
        rows = (line.split() for line in _GAUSSIAN.split("\n") if line)
        return [
            Published(method, dict(zip(_SIGMAS, _numbers(sets[column]), strict=True)))
            for method, *sets in rows
        ]
    if suite == "jpeg" and _JPEG_SETS.get(dataset) == images:
        lines = (line.split() for line in _JPEG.split("\n") if line)
        return [
            Published(method, dict(zip(_QUALITIES, _numbers(figures), strict=True)))
            for name, method, figures in lines
            if name == dataset
        ]
    if suite == "sr" and _SR_SETS.get(dataset) == images:
        column = list(_SR_SETS).index(dataset)
        found: dict[str, dict[str, float]] = {}
        for method, factor, figures in (line.split() for line in _SR.split("\n") if line):
            found.setdefault(method, {})[factor] = _numbers(figures)[column]
        return [Published(method, psnr) for method, psnr in found.items()]
    return []


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split("/")]
