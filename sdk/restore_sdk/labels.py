"""How results are labelled, by what the model behind them was trained for.

The words are those of IPTC's digital source types. What was trained to be right is an enhancement; what was
trained to look right too, or by others for who knows what, may have added what was not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from restore_manifests.schema import Label

if TYPE_CHECKING:
    from restore_models.program import Program

__all__ = ["EXTERNAL_LABEL", "INVENTING_DOUBT", "STATEMENT", "label_of", "training_doubts"]

STATEMENT = (
    "Enhanced image: pixels were estimated by a neural network. Not for identification on its own; "
    "compare it with the original, the edit map and the confidence map."
)
_LABEL = Label(digital_source_type="algorithmicallyEnhanced", statement=STATEMENT)
EXTERNAL_LABEL = Label(
    digital_source_type="compositeWithTrainedAlgorithmicMedia",
    statement=(
        "Enhanced image: pixels were estimated by a neural network made by others, which may have added what "
        "was not there. Not for identification on its own; compare it with the original and the edit map."
    ),
)
_INVENTING_LABEL = Label(
    digital_source_type="compositeWithTrainedAlgorithmicMedia",
    statement=(
        "Enhanced image: pixels were estimated by a neural network that was trained to make pictures look "
        "right, not only to be right, and may have added what was not there. Not for identification on its "
        "own; compare it with the original, the edit map and the confidence map."
    ),
)
INVENTING_DOUBT = "the model was trained with a loss that rewards looking right (LPIPS or an adversary)"


def label_of(*programs: Program) -> Label:
    """The label of what programs make together, by the losses that their notes say they were trained with."""
    return _INVENTING_LABEL if training_doubts(*programs) else _LABEL


def training_doubts(*programs: Program) -> list[str]:
    """Why the tool abstains whatever the image; empty for programs that were trained to be right only."""
    from restore_models.losses_learned import invents  # noqa: PLC0415 -- keeps torch out of light commands

    configs = [program.notes.get("training_config", {}) for program in programs]
    return [INVENTING_DOUBT] if any(isinstance(one, dict) and invents(one) for one in configs) else []
