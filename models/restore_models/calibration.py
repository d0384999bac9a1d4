"""Intervals with a guarantee: by how much the learned interval is scaled, and for which pictures.

Risk-controlling prediction sets (Bates, Angelopoulos, Lei, Malik and Jordan 2021; for images Angelopoulos et
al. 2022, "Image-to-image regression with distribution-free uncertainty quantification"). The learned interval
[point - below, point + above] becomes, around the stored sample of the result,

    [sample - scale * below / 64 - 1/2, sample + scale * above / 64 + 1/2]   in 8-bit levels,

with one whole number `scale` for each class of pictures. The half level is there for two reasons. The sample
is the point rounded to whole levels, up to half a level away from it. And where a picture is clean the
network says an interval of width zero, which no factor widens; with the half level a sample that is right to
the last level lies in its interval whatever the network says.

The class of a picture follows from whole-number estimates alone, so that the class that a picture gets here
is the one that it gets when it is restored: the program's own, or, where another one restored the picture
before it was enlarged, that one's. A program has a calibration for each such predecessor beside its own. This
module is about a finished calibration and loads no network; `calibration_images` makes one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from restore_manifests.errors import ModelError
from restore_models.architecture import ESTIMATES
from restore_models.program import Program

__all__ = [
    "ALPHA",
    "DELTA",
    "HALF_LEVELS_ADDED",
    "NOTE",
    "NOTE_AFTER",
    "SCALE_LIMIT",
    "SCALE_ONE",
    "CalibratedClass",
    "Calibration",
    "CalibrationImage",
    "calibrations_after",
    "choose_scale",
    "read_calibration",
    "risk_upper_bound",
]

ALPHA = 0.1
"""The share of samples that may lie outside, on average over pictures."""
DELTA = 0.05
"""How often, over draws of the set of pictures, a stated upper bound of the risk may be wrong."""
NOTE = "calibration"
"""The key of a program's notes."""
NOTE_AFTER = "calibration_after"
"""The key of the calibrations for pictures that another program has restored before they were enlarged, by
the `program_sha256` of that."""
SCALE_ONE = 64
"""The scale that leaves the learned interval as it is."""
SCALE_LIMIT = 64 * SCALE_ONE
"""Above it no scale is tried: an interval 64 times as wide says nothing."""
HALF_LEVELS_ADDED = 2
"""Half an 8-bit level on each side, in the units of the confidence map."""

Share = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class CalibrationImage(_Model):
    """A clean picture that took part: file name, SHA-256 of the file, where it is from, its licence."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    sha256: Sha256
    source: Annotated[str, Field(max_length=500)]
    licence: Annotated[str, Field(max_length=200)]


class CalibratedClass(_Model):
    """Pictures whose estimates reach `at_least` (thousandths of the estimate head's units, by name).

    `scale_64ths` is None where no scale up to `SCALE_LIMIT` keeps the risk: too few images, or the network
    is wrong where it says zero. `risk` is the mean share of samples outside at that scale over the `images`
    (each counts once, whatever number of its damaged forms, `pictures` in all, fell in the class), and
    `risk_upper` its Hoeffding-Bentkus upper bound. `within` are the least and greatest estimate of the
    pictures in the class.
    """

    name: Text
    at_least: dict[Text, Whole]
    images: Annotated[int, Field(ge=0, lt=2**31)]
    pictures: Annotated[int, Field(ge=0, lt=2**31)]
    scale_64ths: Annotated[int, Field(ge=0, le=SCALE_LIMIT)] | None
    risk: Share | None
    risk_upper: Share | None
    within: dict[Text, tuple[Whole, Whole]]


class Calibration(_Model):
    """All classes of one program, in the order in which they are tried; the first that fits is taken."""

    format: Literal["restore.calibration/1"] = "restore.calibration/1"
    program_sha256: Sha256
    alpha: Annotated[float, Field(gt=0, lt=1)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    side: Annotated[int, Field(ge=1, lt=2**31)]
    """Of the part cut from the middle of each image, in pixels."""
    damage: dict[Text, dict[Text, tuple[float, float]]]
    """By kind of damage: least and greatest of each quantity that was drawn, as `degradations.Applied`."""
    classes: Annotated[tuple[CalibratedClass, ...], Field(min_length=1, max_length=32)]
    images: Annotated[tuple[CalibrationImage, ...], Field(max_length=100_000)]
    lone_pixels: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """The most pixels in a million that stood alone in any of the damaged pictures, see `lone_pixels`; None:
    a calibration from before they were counted."""
    small_program_sha256: Sha256 | None = None
    """Of the program that restored the pictures before they were enlarged, and whose estimates say the
    classes; None: no program did."""

    def class_of(self, estimates: Mapping[str, int]) -> CalibratedClass | None:
        """The class of a picture by its estimates; None if none fits."""
        for found in self.classes:
            if all(estimates.get(name, 0) >= least for name, least in found.at_least.items()):
                return found
        return None

    def scale(self, estimates: Mapping[str, int]) -> int | None:
        """What the learned interval of a picture is multiplied by, in 64ths; None: there is no guarantee."""
        found = self.class_of(estimates)
        return found.scale_64ths if found else None

    def outside(self, found: CalibratedClass, estimates: Mapping[str, int]) -> list[str]:
        """Estimates of a picture of the class `found` above everything that it was calibrated on, by name.

        What is less than any class asks for counts as absent: estimates near nothing are mostly noise. Below
        the range counts as inside: a picture damaged less is easier.
        """
        limits = {}
        for name, (_, greatest) in found.within.items():
            asked = [one.at_least[name] for one in self.classes if name in one.at_least]
            limits[name] = max(greatest, min(asked, default=greatest))
        return [name for name in ESTIMATES if name in limits and estimates.get(name, 0) > limits[name]]

    def to_notes(self) -> dict[str, Any]:
        """JSON values for `Program.notes`; a None of later versions is left out, as it was before."""
        later = ("lone_pixels", "small_program_sha256")
        return self.model_dump(mode="json", exclude={name for name in later if getattr(self, name) is None})

    def has_impulses(self, lone: int) -> bool:
        """Whether more pixels in a million stand alone than in any picture of the calibration."""
        return self.lone_pixels is not None and lone > self.lone_pixels


def read_calibration(program: Program, small_program_sha256: str | None = None) -> Calibration | None:
    """The calibration in a program's notes; None if it has none.

    Args:
        program: the one whose intervals are scaled.
        small_program_sha256: of the program that restored the picture before it was enlarged; None: none did.

    Raises:
        ModelError: if it is damaged or was made for another program.
    """
    everything = program.notes if isinstance(program.notes, dict) else {}
    notes = everything.get(NOTE)
    if small_program_sha256 is not None:
        after = everything.get(NOTE_AFTER)
        notes = after.get(small_program_sha256) if isinstance(after, dict) else None
    if notes is None:
        return None
    hint = "Calibrate the model again (restore models calibrate), or reinstall it."
    try:
        found = Calibration.model_validate_json(json.dumps(notes), strict=True)
    except (ValidationError, ValueError, TypeError) as problem:
        raise ModelError("The calibration in the model file is damaged.", hint=hint) from problem
    made_for = found.program_sha256, found.small_program_sha256
    if made_for != (program.program_sha256(), small_program_sha256):
        raise ModelError("The calibration in the model file is that of another program.", hint=hint)
    return found


def calibrations_after(program: Program) -> list[Calibration]:
    """All calibrations of a program for what others have restored before.

    Raises:
        ModelError: as `read_calibration`.
    """
    after = program.notes.get(NOTE_AFTER) if isinstance(program.notes, dict) else None
    found = [read_calibration(program, name) for name in after] if isinstance(after, dict) else []
    return [one for one in found if one is not None]


def choose_scale(
    mean_risk: Callable[[int], float], images: int, alpha: float, delta: float
) -> tuple[int, float, float] | None:
    """The least scale from which on the upper bound of the risk stays below `alpha`; with risk and bound.

    Bates et al. 2021, equation 4: lam = inf{l : R+(l') < alpha for all l' >= l}. `mean_risk` gives the mean
    loss of `images` pictures at a scale. Intervals are nested, so that it never rises with the scale, nor
    does its bound: bisection finds what a walk down from the top would.

    Returns:
        None if not even `SCALE_LIMIT` does.
    """
    if not images or risk_upper_bound(mean_risk(SCALE_LIMIT), images, delta) >= alpha:
        return None
    low, high = -1, SCALE_LIMIT  # `high` keeps the bound, `low` does not
    while high - low > 1:
        middle = (low + high) // 2
        if risk_upper_bound(mean_risk(middle), images, delta) < alpha:
            high = middle
        else:
            low = middle
    risk = mean_risk(high)
    return high, risk, risk_upper_bound(risk, images, delta)


def risk_upper_bound(risk: float, images: int, delta: float = DELTA) -> float:
    """The Hoeffding-Bentkus upper bound of the expected loss, for losses in [0, 1].

    Bates et al., Distribution-free, risk-controlling prediction sets (2021), 3.1: the largest R at which
    min(exp(-n h1(min(r, R), R)), e P[Bin(n, R) <= ceil(n r)]) is at least `delta`; `risk` r is the mean of n
    independent losses.
    """
    from scipy.stats import binom  # type: ignore[import-untyped]  # noqa: PLC0415 -- slow; scipy has no types

    def tail(bound: float) -> float:
        """The p-value of the true risk being `bound` or more."""
        low = min(risk, bound)
        divergence = low * math.log(low / bound) if low else 0.0
        if low < 1:
            divergence += (1 - low) * math.log((1 - low) / (1 - bound))
        hoeffding = math.exp(-images * divergence)
        return min(hoeffding, math.e * float(binom.cdf(math.ceil(images * risk), images, bound)))

    if risk >= 1:
        return 1.0
    low, high = risk, 1.0
    for _ in range(60):  # the tail falls as the bound rises
        middle = (low + high) / 2
        if middle >= 1:
            break
        low, high = (middle, high) if tail(middle) >= delta else (low, middle)
    return high
