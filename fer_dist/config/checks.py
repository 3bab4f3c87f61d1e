"""Settings that cannot be meant, each answered with the flag and the remedy."""

from importlib.util import find_spec
from typing import Any

from fer_dist.config.settings import Config, Decoder, RayConfig, TrainConfig
from fer_dist.config.torchrun import launched
from fer_dist.errors import InputError, counted, nearest

LOGGERS = ("mlflow", "wandb")
"""Trackers beside TensorBoard: each is a package, and an extra of this one."""


def check(config: Config) -> None:
    """Look for values that cannot be meant. Raises InputError with the flag and the remedy."""
    data, train = config.data, config.train
    if not data.train:
        raise InputError("--data.train is missing; give the folder of training shards, as shards/train")
    if data.crop > data.size:
        raise InputError(
            f"--data.crop {data.crop} is larger than --data.size {data.size}; choose a crop of at most {data.size}"
        )
    for flag, (value, minimum) in _least(config).items():
        if not value >= minimum:
            raise InputError(f"{flag} {value} is too small; it must be at least {minimum}")
    _obey(_rules(config))
    decoder_on(data.decoder, config.run.device)
    loggers_of(config.run.loggers)
    if config.ray.workers and launched().size > 1:
        raise InputError("--ray.workers under torchrun would start Ray once a process; use the one or the other")
    if train.deepspeed_config and train.strategy != "deepspeed":
        raise InputError("--train.deepspeed-config is of no use without --train.strategy deepspeed; give both or none")
    if config.model.pretrained and train.init_from:
        raise InputError("--model.pretrained and --train.init-from both give the weights to start from; give one")
    if train.schedule == "step" and train.step_epochs <= 0:
        raise InputError(f"--train.step-epochs {train.step_epochs} is too small; it must be above 0")


def rate_remark(config: TrainConfig) -> str:
    """Where the training ends before its learning rate is reached, a line that says so."""
    if config.warmup_epochs < config.epochs:
        return ""
    return (
        f"--train.warmup-epochs {config.warmup_epochs:g} is the whole training of {counted(config.epochs, 'epoch')}, "
        f"which ends before --train.lr {config.lr:g} is reached; warm up for less, or train longer"
    )


def loggers_of(text: str) -> tuple[str, ...]:
    """The names in --run.loggers, but for tensorboard. Raises InputError for one that is unknown or not installed."""
    words = text.replace(" ", "").split(",")
    names = tuple(dict.fromkeys(name for name in words if name not in ("", "tensorboard")))
    for name in names:
        if name not in LOGGERS:
            known = nearest(name, ("tensorboard", *LOGGERS))
            raise InputError(f"--run.loggers {text}: unknown logger {name!r}; {known}")
        if find_spec(name) is None:
            raise InputError(f"--run.loggers {name}: {name} is not installed; pip install 'fer-dist[{name}]'")
    return names


def decoder_on(decoder: Decoder, device: str) -> Decoder:
    """What decodes on a device, never auto. device: cpu or cuda. Raises InputError for what only a GPU has."""
    if device == "cpu" and decoder not in ("auto", "cpu"):
        raise InputError(f"decoder {decoder}: it is a GPU's, and this runs on the CPU; use auto or cpu")
    if decoder == "auto":
        return "cpu" if device == "cpu" else "cuda"
    return decoder


def check_ray(ray: RayConfig) -> None:
    """As `check`, for the settings of Ray alone."""
    if ray.workers < 0:
        raise InputError(f"--ray.workers {ray.workers} is too small; it must be at least 0")
    _obey(_ray_rules(ray))


def _obey(rules: dict[str, tuple[Any, bool, str]]) -> None:
    for flag, (setting, is_right, rule) in rules.items():
        if not is_right:
            raise InputError(f"{flag} {setting} is out of range; it must {rule}")


def _least(config: Config) -> dict[str, tuple[float, float]]:
    """Flag -> its value, and the smallest one that it may have."""
    data, train = config.data, config.train
    return {
        "--data.size": (data.size, 1),
        "--data.crop": (data.crop, 1),
        "--data.block": (data.block, 0),
        "--data.lanes": (data.lanes, 0),
        "--data.threads": (data.threads, 0),
        "--data.prefetch": (data.prefetch, 0),
        "--data.cache-gb": (data.cache_gb, 0.001),
        "--model.width": (config.model.width, config.model.reduction),
        "--model.reduction": (config.model.reduction, 1),
        "--train.epochs": (train.epochs, 1),
        "--train.batch-size": (train.batch_size, 1),
        "--train.micro-batch": (train.micro_batch, 0),
        "--train.lr": (train.lr, 0),
        "--train.log-every": (train.log_every, 1),
        "--train.keep-last": (train.keep_last, 1),
        "--train.save-every-steps": (train.save_every_steps, 0),
        "--train.warmup-epochs": (train.warmup_epochs, 0),
        "--ray.workers": (config.ray.workers, 0),
        "--run.timeout-seconds": (config.run.timeout_seconds, 1),
    }


def _rules(config: Config) -> dict[str, tuple[Any, bool, str]]:
    """Flag -> its value, whether it may have it, and what it must be."""
    data, train = config.data, config.train
    scales = {f"--data.{name}": getattr(data, name) for name in ("brightness", "contrast", "saturation")}
    return {
        **{flag: (scale, 0 <= scale < 1, "lie in 0..1, 1 excluded") for flag, scale in scales.items()},
        "--data.hue": (data.hue, 0 <= data.hue <= 0.5, "lie in 0..0.5, for it is a share of a turn"),
        "--train.momentum": (train.momentum, 0 <= train.momentum < 1, "lie in 0..1, 1 excluded"),
        "--train.nesterov": (train.nesterov, not train.nesterov or train.momentum > 0, "be off at momentum 0"),
        "--train.weight-decay": (train.weight_decay, train.weight_decay >= 0, "be at least 0"),
        "--train.label-smoothing": (train.label_smoothing, 0 <= train.label_smoothing <= 1, "lie in 0..1"),
        "--train.freeze": (train.freeze, 0 <= train.freeze <= 5, "lie in 0..5, for the head itself trains"),
        "--train.layer-decay": (train.layer_decay, 0 < train.layer_decay <= 1, "lie in 0..1, 0 excluded"),
        "--train.gamma": (train.gamma, train.gamma >= 0, "be above 0, or 0 for the schedule's own"),
        "--data.std": (data.std, min(data.std) > 0, "be above 0 for each channel"),
        **_ray_rules(config.ray),
    }


def _ray_rules(ray: RayConfig) -> dict[str, tuple[Any, bool, str]]:
    fewest, resources = ray.min_workers, ray.resources
    named = not {"CPU", "GPU"} & set(resources) and all(amount > 0 for amount in resources.values())
    return {
        "--ray.min-workers": (fewest, 0 <= fewest <= ray.workers, f"lie in 0..--ray.workers, {ray.workers}"),
        "--ray.resize-seconds": (ray.resize_seconds, ray.resize_seconds >= 0, "be at least 0"),
        "--ray.max-failures": (ray.max_failures, ray.max_failures >= 0, "be at least 0"),
        "--ray.cpus-per-worker": (ray.cpus_per_worker, ray.cpus_per_worker >= 0, "be at least 0"),
        "--ray.resources": (resources, named, "name others than CPU and GPU, each with an amount above 0"),
    }
