"""The settings of one training phase, typed and readable from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from restore_manifests.errors import UsageError
from restore_models.fonts import FontSource
from restore_models.optimiser import OptimiserKind

__all__ = ["DegradationKind", "TrainingConfig", "load_config"]

DegradationKind = Literal[
    "gaussian",
    "light_gaussian",
    "light_clipped_gaussian",
    "strong_gaussian",
    "strong_clipped_gaussian",
    "faint_gaussian",
    "jpeg",
    "strong_jpeg",
    "double_jpeg",
    "blur",
    "soft",
    "reduced",
    "reduced_mixed",
    "enlarged",
    "enlarged2",
    "enlarged4",
    "worn_enlarged2",
    "worn_enlarged4",
    "mixed",
    "low_light",
    "video",
    "video_codec",
    "none",
]
"""The keys of `degradation_kinds.degrade`."""


class TrainingConfig(BaseModel):
    """Everything that decides what a training run computes. Stored in every checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str = "fine"
    """A key of `architecture.PRESETS`."""
    scale: Literal[1, 2, 4] = 1
    """What `restore run --scale` has enlarged the pictures by that the network is for."""
    grey: bool = False
    """The network is for grey pictures: all patches are, and are damaged as files with one channel are."""
    residual_scale: float = Field(default=0.1, ge=0)
    """How large the last weights of a residual branch begin, against other weights."""
    seed: int = 1
    steps: int = Field(default=20_000, ge=1)
    batch: int = Field(default=8, ge=1)
    patch: int = Field(default=128, ge=32)
    """Side of a training patch in pixels; rounded up to what the network needs."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a process does its share of a batch in, one after the other, for memory; gradients are
    added up, so that the step is that of the whole batch."""
    gradient_checkpointing: bool = False
    """Compute each block again in the backward pass instead of remembering it, for memory."""
    workers: int = Field(default=0, ge=0, le=128)
    """Processes that make the patches ahead; 0: threads. The patches are the same."""
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=200, ge=1)
    schedule: Literal["cosine", "constant_then_cosine"] = "cosine"
    """`constant_then_cosine` holds the rate until the last `decay_share` of the steps, so that a run can
    be lengthened or shortened while it runs."""
    decay_share: float = Field(default=0.3, gt=0, le=1)
    optimiser: OptimiserKind = "muon"
    """`muon` steps the hidden convolutions by Muon; see `optimiser.ParameterOptimiser`."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=0.2, gt=0)
    outlier: float = Field(default=4.0, ge=0)
    """A step whose gradient is more than this many times as long as usual is left out: one such gradient
    can undo a run. 0: none is."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    loss: Literal["charbonnier", "l1", "l2", "psnr"] = "charbonnier"
    balance: float = Field(default=0.0, ge=0, le=1)
    """0: every pixel counts alike; 1: every image counts by its relative gain; see `losses.fidelity_loss`."""
    ssim_weight: float = Field(default=0.0, ge=0)
    """Weight of one minus the structural similarity; 0.1 is a usual one."""
    frequency_weight: float = Field(default=0.0, ge=0)
    """Weight of the loss on the Fourier transform; 0.05 is a usual one."""
    lpips_weight: float = Field(default=0.0, ge=0)
    """Weight of LPIPS, where its backbone is present; see `losses_learned`. The result may invent detail."""
    adversarial_weight: float = Field(default=0.0, ge=0)
    """Weight of an adversary's judgement; 0.005 is a usual one, from trained weights on. As above."""
    interval_weight: float = Field(default=0.05, ge=0)
    """Weight of the pinball loss of the 5 % and 95 % quantiles."""
    estimate_weight: float = Field(default=0.01, ge=0)
    views: Literal[1, 8] = 1
    """In how many views the exported program looks at an image, see the module `views`; training knows one.
    Eight take eight times as long, which pays where pictures are small."""
    channels_reordered: bool = False
    """The exported program has the channels in other orders in some of its eight views."""
    quantised: bool = False
    """Train through the rounding of the future integer program, calibrated again at every checkpoint; for
    fine-tuning with `--start`, in float32."""
    bf16: bool | None = None
    """bfloat16 products; None: only where the processor has them."""
    detail_choices: int = Field(default=1, ge=1)
    """How many places are drawn for each patch of a photograph; the most detailed of them is taken."""
    shrunk_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the places in photographs that are shrunk first, up to three times, by averaging areas: more
    in a patch, and sharper, as in pictures that are small."""
    cropped_share: float = Field(default=0.5, ge=0, le=1)
    """Share of patches that begin beside the grid of blocks, as in a picture cropped after it was compressed.
    At 0 a network learns to see compression on one grid only, and leaves it alone on every other."""
    tone_share: float = Field(default=0.0, ge=0, le=1)
    """Share of patches that are exposed, coloured and developed otherwise, see `data.other_tones`: for few
    photographs, which are all of one taste."""
    scan_share: float = Field(default=0.0, ge=0, le=1)
    """Share of patches that are first made as if scanned from film and compressed, see `data.as_scanned`:
    photographs that were made small are sharper than most pictures."""
    film_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the other patches that are made as soft and grainy, but not compressed, see `data.as_film`."""
    page_share: float = Field(default=0.06, ge=0, le=1)
    page_kinds: dict[Literal["letters", "document", "receipt", "plate", "sign"], float] = {"letters": 1.0}
    """What is rendered for `page_share`; the keys are `data.PageKind`."""
    fonts: FontSource = "built_in"
    """`found`: the open fonts that this machine has, which the checkpoint lists; see `fonts`."""
    grey_share: float = Field(default=0.15, ge=0, le=1)
    degradations: dict[DegradationKind, float] = {
        "gaussian": 0.46,
        "jpeg": 0.18,
        "mixed": 0.12,
        "reduced": 0.12,
        "blur": 0.10,
        "none": 0.02,
    }
    checkpoint_every: int = Field(default=500, ge=1)
    evaluate_every: int = Field(default=1000, ge=1)

    def shares(self) -> dict[str, float]:
        """The weights of the kinds of degradation, by plain name."""
        return {str(kind): weight for kind, weight in self.degradations.items()}


def load_config(path: Path | None) -> TrainingConfig:
    """Settings from a TOML file, or the defaults.

    Raises:
        UsageError: if the file cannot be read or says something that is not a setting.
    """
    if path is None:
        return TrainingConfig()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return TrainingConfig.model_validate(values)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise UsageError(f"The configuration {path} cannot be read: {problem}.") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"The configuration {path} is wrong at {place}: {first['msg']}.",
            hint="See the settings in restore_models/training_config.py.",
        ) from problem
