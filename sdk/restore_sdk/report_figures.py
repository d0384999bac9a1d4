"""What the figures of a record are, in words for people; an auditor finds them by their names beside."""

from __future__ import annotations

__all__ = ["in_words"]

_WORDS = {
    "edit": {
        "mean": "mean change of a pixel, CIEDE2000",
        "p95": "change that 95 % of the pixels stay below, CIEDE2000",
        "p99": "change that 99 % of the pixels stay below, CIEDE2000",
        "max": "largest change of a pixel, CIEDE2000",
        "share_above_1": "share of pixels changed by more than 1",
        "share_above_2_3": "share of pixels changed by more than 2.3, noticeably",
        "share_above_5": "share of pixels changed by more than 5, plainly",
    },
    "confidence": {
        "mean": "mean width of the interval, 8-bit levels",
        "share_above_20_levels": "share of pixels with an interval wider than 20 levels",
    },
    "consistency": {
        "residual_rms": "difference from the source, root mean square, levels of luma",
        "residual_bound": "largest that is allowed of that",
        "block_worst": "largest difference in the mean of an 8 x 8 block",
        "block_bound": "difference that blocks should stay below",
        "blocks_outside": "share of blocks above it",
    },
    "estimate": {
        "noise_sigma": "noise, standard deviation",
        "blur_sigma": "blur, standard deviation of a Gaussian",
        "jpeg_quality": "JPEG quality",
        "downscale_factor": "reduced in size before, factor",
    },
}


def in_words(kind: str, name: str) -> str:
    """What the figure `name` of a map, the estimates or the consistency check says, with its name."""
    words = _WORDS.get(kind, {}).get(name)
    return f"{words} ({name})" if words else name.replace("_", " ")
