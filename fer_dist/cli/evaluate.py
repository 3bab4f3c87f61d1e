"""fer-dist evaluate."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fer_dist import api
from fer_dist.config.flags import Arguments, flat, parse, write_json
from fer_dist.progress import Terminal
from fer_dist.storage.paths import Output


def evaluate_command(arguments: Arguments) -> None:
    from fer_dist.config.settings import CropSettings, EvaluateConfig, RobustnessSettings

    @dataclass(frozen=True)
    class Evaluate:
        """Score every model on every set. Writes predictions, scores and confusion matrices into the run folders."""

        config: Annotated[EvaluateConfig, flat()]
        robustness: bool = False
        """Test each model also under image corruptions and occlusions of the face. Writes robustness/ and a figure."""

        robustness_samples: int = RobustnessSettings.samples
        """Images of each set for that, at most, the same ones each time; each goes through 96 times. 0: all."""

        crops: bool = False
        """Cut the faces wider, narrower and turned as well, and say what that costs; for sets of whole images with
        boxes."""

        crops_samples: int = CropSettings.samples
        """Images of each set for that, at most, the same ones each time; each goes through 14 times. 0: all."""

        json: Output = ""
        """File for the table of scores as JSON as well."""

    flags = parse(Evaluate, arguments, "evaluate")
    robustness = RobustnessSettings(samples=flags.robustness_samples)
    crop_settings = CropSettings(samples=flags.crops_samples)
    from fer_dist.data.loading.shard_set import each_split

    config = replace(flags.config, data=each_split(flags.config.data))
    terminal = Terminal()
    measured: list[Any] = []
    costs: list[Any] = []
    if flags.crops:
        from fer_dist.evaluate.given import check_whole, open_given

        check_whole(open_given(config))
    with closing(terminal):
        results = api.evaluate(**vars(config), show=terminal)
        from fer_dist.evaluate.crops import crops_table, evaluate_crops
        from fer_dist.evaluate.robustness.measure import evaluate_robustness, robustness_table

        if flags.robustness:
            measured = evaluate_robustness(config, robustness, terminal.count("perturbed batches"))
            for model in config.models:
                # That of the evaluation says that this was not measured.
                api.write_card(model, checkpoint=config.checkpoint, show=terminal)
        if flags.crops:
            costs = evaluate_crops(config, crop_settings, terminal.count("batches of other crops"))
    for line in _left_out(results):
        terminal.say(line)
    terminal.table(*_scores_table(results))
    if measured:
        terminal.table(*robustness_table(measured))
    if costs:
        terminal.table(*crops_table(costs), text_columns=3)
    if flags.json:
        of = {(cost.model, cost.dataset): {"crops": cost.values} for cost in costs}
        more = [of.get((r.model, r.dataset), {}) for r in results]
        rows_of = [{"model": r.model, "data": r.dataset, "scores": r.scores} for r in results]
        write_json(flags.json, [row | crops for row, crops in zip(rows_of, more, strict=True)])


def _left_out(results: Sequence[api.Evaluation]) -> Iterator[str]:
    """What of the sets has no score, a line for each reason."""
    from fer_dist.data.loading.loader import name_bad

    for result in results:
        start = f"{result.model} on {result.dataset}: left out"
        if result.bad:
            yield f"{start} {len(result.bad)} that did not decode: {name_bad(result.bad)}"
        if extra := result.scores["extra"]:
            named = ", ".join(f"{count:,} of {name}" for name, count in extra.items())
            yield f"{start} {named}, which the model does not have"


def _scores_table(results: Sequence[api.Evaluation]) -> tuple[list[str], list[list[str]]]:
    """Header and rows, one for each model on each set."""
    measures = ("accuracy", "mean_over_classes", "macro_f1", "expected_calibration_error")
    rows = []
    for result in results:
        low, high = result.scores["accuracy_interval"]
        interval = f"{100 * low:.2f} to {100 * high:.2f}"
        numbers = [f"{100 * result.scores[name]:.2f}" for name in measures]
        masked = ", ".join(result.scores["masked"]) or "-"
        rows.append(
            [result.model, result.dataset, str(result.scores["samples"]), numbers[0], interval, *numbers[1:], masked]
        )
    header = ["model", "data", "images", "accuracy %", "95 %", "balanced accuracy %", "macro F1 %", "ECE %", "masked"]
    return header, rows
