"""What an export is given, looked at without torch, which takes seconds to import: a wrong path is answered at once."""

from collections.abc import Sequence

from fer_dist.config.settings import ExportConfig
from fer_dist.data.loading.shard_set import ShardSet, each_split, open_set
from fer_dist.errors import InputError, naming
from fer_dist.evaluate.given import check_different
from fer_dist.runs.architecture import check_architecture, check_onnx
from fer_dist.runs.folder import ONNX, find_run


def open_given(run: str, config: ExportConfig) -> tuple[Sequence[ShardSet], ShardSet | None]:
    """Open the sets of data and that of calibration, and look for the run, but not into it.

    Raises InputError where one is not there or not whole, a number makes no sense, settings do not go together, or the
    extra is not installed.
    """
    for flag, value, least in (
        ("--batch-size", config.batch_size, 1),
        ("--threads", config.threads, 0),
        ("--calibration-samples", config.calibration_samples, 0),
    ):
        if value < least:
            raise InputError(f"{flag} {value} is too small; it must be at least {least}")
    if config.int8 and config.format != "onnx":
        raise InputError(f"--int8 --format {config.format}: only onnx is quantised; leave one of them out")
    if config.int8 and not (config.data and config.calibration):
        raise InputError("--int8: wants --calibration, and --data to say what it costs")
    if config.format == "onnx":
        check_onnx("--format onnx", ("onnxscript",))
    for name in config.network:
        check_architecture(name, "--network")
    if find_run(run).path.suffix == ONNX:
        raise InputError(f"{run}: is exported already; give the run")
    places = each_split(config.data)
    with naming("--data"):
        sets = [open_set(place, config.reading) for place in places]
    check_different([found.manifest.name for found in sets], places)
    if not config.calibration:
        return sets, None
    with naming("--calibration"):
        calibration = open_set(config.calibration, config.reading)
        if calibration.manifest.split == "test":
            raise InputError(f"{calibration.manifest.name} is a test split; give one of train or val")
    return sets, calibration
