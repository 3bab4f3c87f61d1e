"""fer-dist predict."""

import warnings
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

from fer_dist import api
from fer_dist.config.flags import Arguments, flat, parse, positional
from fer_dist.progress import Terminal
from fer_dist.storage.paths import OnDisk, Output, PathOrUrl

MOST_SHOWN = 40
"""Rows of the table on the terminal; a file holds all of them."""


def predict_command(arguments: Arguments) -> None:
    from fer_dist.config.settings import PredictConfig

    @dataclass(frozen=True)
    class Predict:
        """Say which emotion a network sees in each face of images, folders, videos and sets of shards.

        An image without a face, or that does not decode, has a row too, with the reason.
        """

        run: Annotated[PathOrUrl, positional()]
        """Run folder, also at a URL, or a .safetensors file."""

        inputs: Annotated[tuple[str, ...], positional()]
        """Images, folders, patterns in quotes, videos, sets of shards, or - for a list of paths on standard input."""

        config: Annotated[PredictConfig, flat()]

        jsonl: Output = ""
        """File for all rows, a JSON object a line, as they come."""

        csv: Output = ""
        """File for all rows as CSV, as they come."""

        parquet: Output = ""
        """File for all rows as parquet, whole at the end."""

        annotate: OnDisk = ""
        """Folder for the images with boxes and bars drawn on them, contact sheets, and a time line of each video."""

    flags = parse(Predict, arguments, "predict")
    # What Pillow finds odd in an image that decodes would stand between the rows.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    terminal = Terminal()
    with closing(terminal):
        found = api.predict(flags.run, flags.inputs, show=terminal, annotate=flags.annotate, **vars(flags.config))
        from fer_dist.deploy.answers import Prediction
        from fer_dist.deploy.rows import table_of, writing

        first: list[Prediction] = []
        count, said = 0, Counter[str]()
        with writing(flags.jsonl, flags.csv, flags.parquet, found.emotions) as write:
            for predictions in found.images():
                write(predictions)
                first += predictions[: MOST_SHOWN - len(first)]
                count += len(predictions)
                said.update(one.reason for one in predictions if one.reason)
    if not (flags.jsonl or flags.csv or flags.parquet):
        terminal.table(*table_of(first), text_columns=3)
        if count > len(first):
            terminal.say(f"{count - len(first):,} rows more; --csv FILE holds all of them")
    terminal.say(found.summary)
    for reason, times in said.most_common():
        terminal.say(f"  {times:,}: {reason}")
    if flags.annotate:
        terminal.say(f"drawn: {flags.annotate}")
