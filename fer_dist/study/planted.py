"""Whether attribution methods find what is known to be there: networks trained on drawn faces whose emotion is in the
mouth, the eyes (with brows) or the left half of the image alone, and explained."""

from dataclasses import replace
from typing import Any

from fer_dist.config.presets import preset
from fer_dist.config.settings import ExplainConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.shards.manifest import MANIFEST
from fer_dist.data.sources.source import open_source
from fer_dist.distributed.world import pick_device
from fer_dist.explain.control_networks import RANDOM_LABELS, RANDOM_WEIGHTS, trained_on_random_labels
from fer_dist.explain.explain import explain
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.network import on_device
from fer_dist.study.jobs import PLANTED, Job
from fer_dist.study.running import Running
from fer_dist.study.setup import on_random_labels
from fer_dist.train.start import start

PIXELS, CROP, TEST_IMAGES, WIDTH, EPOCHS, BATCH = 48, 44, 400, 32, 24, 50
"""Of the drawn faces and of the networks: as small as they are, they learn the emotion from the mouth alone."""


def planted(running: Running, job: Job) -> dict[str, Any]:
    """Draw the faces of a cue, train a network on them and one on random labels, and see how often each method finds
    the cue.

    Drawn and trained in OUT/planted; what stands there is gone on with. Returns what is recorded: accuracy, how often
    (share of the images) each map gives the cue's regions the most for their size, and the same of hiding.
    """
    cue, plan, where = job.other, running.setup.plan, running.setup.where
    out = running.setup.out / "planted"
    shards = out / "shards" / f"{cue}-{job.key[:8]}"
    if not (shards / "test" / MANIFEST).is_file():
        source = open_source(
            "synthetic", "wild", count=plan.explain.planted, test_count=TEST_IMAGES, pixels=PIXELS, cue=cue
        )
        build_shards(
            source, shards, BuildOptions(command="fer-dist study"), running.terminal.count(f"{cue} faces drawn")
        )
    base = preset("demo")
    config = replace(
        base,
        # Mirrored, the left half would be no cue.
        data=replace(base.data, train=str(shards / "train"), size=PIXELS, crop=CROP, flip=False, threads=where.threads),
        model=replace(base.model, width=WIDTH),
        train=replace(base.train, epochs=EPOCHS, batch_size=BATCH),
        run=replace(base.run, root=str(out / "runs"), name=f"{cue}-{job.key[:8]}", device=where.device),
    )
    network, model = load_model(start(config, "demo", True, running.terminal, running.stop))
    control = start(on_random_labels(config), "demo", True, running.terminal, running.stop)
    reader = open_reader(str(shards / "test"), network.emotions, config.data, "planted")
    settings = ExplainConfig((), samples=0, methods=plan.explain.methods, threads=where.threads, control=control)
    model, beside = on_device(model, pick_device(where.device)), trained_on_random_labels(network, settings)
    found = explain(model, network, reader, settings, control=beside).values
    return {
        "planted": {"cue": cue, "images": found["images"], "accuracy": found["accuracy"]} | _found(found, PLANTED[cue])
    }


def _found(values: dict[str, Any], regions: tuple[str, ...]) -> dict[str, Any]:
    """How often each map, and hiding, gives these regions the most."""

    def rate(parts: dict[str, Any]) -> float:
        return float(sum(parts[region]["first"] for region in regions))

    maps = {name: rate(parts) for name, parts in values["regions"].items() if name != "area"}
    return {
        "methods": {
            name: {
                "found": maps[name],
                "random_weights": maps[f"{name}, {RANDOM_WEIGHTS}"],
                "random_labels": maps[f"{name}, {RANDOM_LABELS}"],
                "believed": values["believed"][name],
            }
            for name in values["methods"]
        },
        "controls": {name: found for name, found in maps.items() if name.partition(",")[0] not in values["methods"]},
        "hiding": rate(next(iter(values["hidden"].values()))),
    }
