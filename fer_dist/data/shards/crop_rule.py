"""How the faces of a set were cut: what its manifest says, and a checkpoint of the set that it was trained on."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from annotated_types import Ge, Interval

from fer_dist.storage.untrusted import Number

CROP_RULE = "crop_rule"
"""Its name in a manifest's `built`."""

NO_BOX, RELEASE = "none", "release"
"""Where no box comes from, and where boxes are the release's; another word is a detector's name."""


@dataclass(frozen=True)
class CropRule:
    """box: where boxes come from: NO_BOX for images as the release has them, RELEASE, or a detector and its weights.

    margin: added on each side, as a share of the box's longer side. is_upright: turned by the roll of the eyes.
    size: pixels of a side to which all were resized; 0: none was.
    """

    box: str = NO_BOX
    margin: Annotated[Number, Ge(0)] = 0.0
    is_upright: bool = False
    size: Annotated[int, Interval(ge=0, le=1 << 16)] = 0

    def __str__(self) -> str:
        """In words, as a column or a sentence has it."""
        if self.box == NO_BOX:
            words = ["as released"]
        else:
            words = ["box of the release" if self.box == RELEASE else self.box, f"margin {100 * self.margin:g} %"]
            words += ["upright"] if self.is_upright else []
        return ", ".join([*words, *([f"{self.size} px"] if self.size else [])])


def stated(built: dict[str, Any]) -> CropRule | None:
    """What a manifest's `built` says, as it was checked when it was read; None where it says nothing."""
    found = built.get(CROP_RULE)
    return (
        CropRule(**{item.name: found[item.name] for item in fields(CropRule) if item.name in found}) if found else None
    )


def difference(trained: CropRule | None, found: CropRule | None) -> str:
    """How the faces of a set are cut otherwise than those that a model was trained on, in words; empty where they are
    not, or where nobody knows."""
    if trained is None or found is None or trained == found:
        return ""
    return f"faces are cut otherwise ({found}) than those of the training ({trained})"
