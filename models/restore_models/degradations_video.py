"""What video coding leaves in a frame: a short clip of the picture, moved a little, coded and decoded again.

`hybrid_coded` is our own coder, always there: the scheme that MPEG-2, MPEG-4 Part 2 and H.264 share (blocks
of a discrete cosine transform of what motion compensation left over, with a dead zone), without their
intra prediction, loop filter and rate control. It is an approximation and its name says no standard.
`codec_coded` runs a real encoder and decoder through PyAV (extra `video`). OpenCV's own writer is not used:
it takes no quantiser, so that the strength could be neither drawn nor told, and it writes to files only.

Images are float32 (height, width, 3), RGB, sRGB-encoded, in [0, 1]; the clip ends with the picture itself, in
its place, so that the result lies on the clean picture pixel by pixel.
"""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import UsageError

__all__ = ["CODECS", "codec_coded", "has_codecs", "hybrid_coded", "require_codecs"]

FloatImage = NDArray[Any]

CODECS = {"h264": ("libx264", 18, 40), "mpeg4": ("mpeg4", 2, 20), "mpeg2": ("mpeg2video", 2, 20)}
"""Encoder of FFmpeg, and the finest and the coarsest quantiser that training draws: H.264's QP, which doubles
the step every six, and the quantiser_scale of MPEG-2 and MPEG-4 Part 2, which is proportional to it."""

_BLOCK = 16
"""A macroblock: sides are padded to whole ones, and the coder's grid lies anywhere within one."""


def has_codecs() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def require_codecs() -> None:
    """Raises UsageError if PyAV is not installed."""
    if not has_codecs():
        raise UsageError(
            "The degradation video_codec needs PyAV, which is not installed.",
            hint="Install it with pip install 'forensic-restore[video]', or use the degradation video.",
        )


def hybrid_coded(
    image: FloatImage, step: float, rng: np.random.Generator, *, frames: int = 3, transform: int = 8
) -> FloatImage:
    """The last of `frames` frames: the first coded by itself, each other from the one before.

    `step` is that of all coefficients of an orthonormal transform of `transform` x `transform` samples, in
    8-bit levels. Dead zones are those of H.264's reference encoder: rounding starts at 1/3 (intra) and 1/6
    (inter) of a step. Colour is Y'CbCr of BT.601, full range, 4:2:0; motion is a whole number of pixels.
    """
    clip, moves, place = _clip(image, frames, rng)
    planes: list[FloatImage] = []
    for number, frame in enumerate(clip):
        sources = _planes(frame)
        if number == 0:
            planes = [_coded(p - 128, step, transform, 1 / 3) + 128 for p in sources]
        else:
            dy, dx = moves[number]
            shifts = [(dy, dx), (dy // 2, dx // 2), (dy // 2, dx // 2)]
            predicted = [np.roll(p, shift, (0, 1)) for p, shift in zip(planes, shifts, strict=True)]
            planes = [
                p + _coded(s - p, step, transform, 1 / 6) for s, p in zip(sources, predicted, strict=True)
            ]
        planes = [np.clip(np.rint(p), 0, 255) for p in planes]
    luma, red, blue = planes
    size = (luma.shape[1], luma.shape[0])
    chroma = [cv2.resize(p, size, interpolation=cv2.INTER_LINEAR) for p in (red, blue)]
    decoded = cv2.cvtColor(np.dstack([luma, *chroma]).astype(np.uint8), cv2.COLOR_YCrCb2RGB)
    return _cut(decoded, place, image)


def codec_coded(
    image: FloatImage, codec: str, quantiser: int, rng: np.random.Generator, *, frames: int = 3
) -> FloatImage:
    """The last of `frames` frames through a real codec, a key of `CODECS`, at a constant `quantiser`.

    One thread, no B-frames, 4:2:0. Raises UsageError if PyAV is not installed, or has not this encoder.
    """
    require_codecs()
    import av  # noqa: PLC0415 -- an extra
    import av.error  # noqa: PLC0415

    clip, _, place = _clip(image, frames, rng)
    name = CODECS[codec][0]
    try:
        encoder: Any = av.CodecContext.create(name, "w")
    except (av.error.FFmpegError, ValueError) as problem:
        raise UsageError(
            f"PyAV was built without the encoder {name}.",
            hint="Use PyAV's own wheels, or the degradation video.",
        ) from problem
    encoder.height, encoder.width = clip[0].shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuv420p", Fraction(1, 25), 1
    encoder.options = (
        {"preset": "veryfast", "tune": "zerolatency", "qp": str(quantiser)}
        if codec == "h264"
        else {"qmin": str(quantiser), "qmax": str(quantiser), "bf": "0"}
    )
    packets = []
    for number, pixels in enumerate(clip):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create(codec.replace("mpeg2", "mpeg2video"), "r")
    decoder.thread_count, decoder.extradata = 1, encoder.extradata
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return _cut(decoded[-1].to_ndarray(format="rgb24"), place, image)


def _clip(
    image: FloatImage, frames: int, rng: np.random.Generator
) -> tuple[list[NDArray[np.uint8]], list[tuple[int, int]], tuple[int, int]]:
    """8-bit frames, the motion into each from the one before, and where in them the picture lies.

    The scene moves by up to four pixels a frame and a fraction, which motion of whole pixels cannot follow.
    """
    height, width = image.shape[:2]
    top, left = (int(v) for v in rng.integers(0, _BLOCK, 2))
    below, right = -(height + top) % _BLOCK, -(width + left) % _BLOCK
    levels = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    last = cv2.copyMakeBorder(levels, top, below, left, right, cv2.BORDER_REFLECT_101)
    speed = rng.uniform(-4.0, 4.0, 2)
    size = (last.shape[1], last.shape[0])
    clip, moves = [], []
    for number in range(frames):
        dy, dx = -speed * (frames - 1 - number)
        moved = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
        clip.append(
            last
            if number == frames - 1
            else cv2.warpAffine(last, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        )
        moves.append((round(float(speed[0])), round(float(speed[1]))))
    return [np.ascontiguousarray(frame).astype(np.uint8, copy=False) for frame in clip], moves, (top, left)


def _planes(frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Y', Cr and Cb, the latter two at half the resolution, in 8-bit levels."""
    full = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    half = (full.shape[1] // 2, full.shape[0] // 2)
    chroma = [cv2.resize(full[:, :, c], half, interpolation=cv2.INTER_AREA) for c in (1, 2)]
    return [full[:, :, 0], *(p.astype(np.float32, copy=False) for p in chroma)]


def _coded(plane: NDArray[np.float32], step: float, side: int, offset: float) -> NDArray[np.float32]:
    """Through transform, quantiser and back."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    basis = _cosines(side)
    blocks: FloatImage = plane.reshape(rows, side, columns, side).transpose(0, 2, 1, 3)
    scaled = basis @ blocks @ basis.T / np.float32(step)
    kept = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(offset)) * np.float32(step)
    back: FloatImage = basis.T @ kept @ basis
    return back.transpose(0, 2, 1, 3).reshape(plane.shape)


def _cosines(side: int) -> NDArray[np.float32]:
    """The orthonormal DCT-II."""
    k, n = np.mgrid[:side, :side]
    basis = np.sqrt(2 / side) * np.cos(np.pi * (2 * n + 1) * k / (2 * side))
    basis[0] /= np.sqrt(2)
    result: NDArray[np.float32] = basis.astype(np.float32)
    return result


def _cut(decoded: NDArray[Any], place: tuple[int, int], like: FloatImage) -> FloatImage:
    top, left = place
    inner = decoded[top : top + like.shape[0], left : left + like.shape[1]]
    return inner.astype(np.float32) / np.float32(255.0)
