"""What hiding each region of the face costs, beside the same area elsewhere."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fer_dist.scores.figures.dots import Marks, Scale, dots_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hidden_figure(hidden: dict[str, dict[str, Any]], title: str) -> "Figure":
    """Falls of p, in points, with their 95 % intervals. hidden: region -> as explain.explain gives it."""
    regions = list(hidden)
    series = [_marks("the region hidden", [hidden[name]["p"] for name in regions])]
    for where in dict.fromkeys(where for name in regions for where in hidden[name]["more_than"]):
        found = [hidden[name]["more_than"].get(where, {}).get("p") for name in regions]
        series.append(_marks(f"more than {where}", found))
    return dots_figure(regions, series, Scale("fall of p, points", reference=0), title)


def _marks(name: str, found: Sequence[dict[str, Any] | None]) -> Marks:
    values = [None if one is None else 100 * one["mean"] for one in found]
    ends = [None if one is None or one["interval"] is None else [100 * end for end in one["interval"]] for one in found]
    return Marks(name, values, ends)
