"""Whether a cluster's nodes can hold what is asked for, and what a driver hears of workers that come and go."""

from types import SimpleNamespace

import pytest
import torch

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, RayConfig, to_json
from fer_dist.distributed.cluster import Group, device_in, what_lacks
from fer_dist.distributed.mailbox import Mailbox
from fer_dist.distributed.tasks import _attempt
from fer_dist.distributed.world import pick_device
from fer_dist.train.start import train_worker


def lacks(nodes: list[dict[str, float]], **ray) -> str:
    group = Group(RayConfig(**ray), "cpu")
    return what_lacks(group, group.needs(0), nodes)


def test_a_worker_fits_on_one_node_or_not_at_all():
    two_of_four: list[dict[str, float]] = [{"CPU": 4}, {"CPU": 4}]
    assert not lacks(two_of_four, workers=2, cpus_per_worker=4)
    assert not lacks(two_of_four, workers=8)
    text = lacks(two_of_four, workers=1, cpus_per_worker=8)
    assert text == (
        "--ray.workers 1 needs 8 CPU on one node for each worker, but the cluster's nodes hold 0 of them (4 CPU; 4 CPU)"
    )


def test_too_little_in_all_is_told_as_a_sum():
    text = lacks([{"CPU": 4}, {"CPU": 4}], workers=3, cpus_per_worker=4)
    assert text == "--ray.workers 3 needs 12 CPU (4 CPU each), but the cluster has 8 CPU"


def test_an_elastic_group_needs_its_fewest_workers():
    nodes: list[dict[str, float]] = [{"CPU": 2}]
    assert not lacks(nodes, workers=9, min_workers=2)
    assert "--ray.workers 9, 3 at least, needs 3 CPU" in lacks(nodes, workers=9, min_workers=3)


def test_resources_of_the_clusters_own_names_count():
    nodes: list[dict[str, float]] = [{"CPU": 8}, {"CPU": 8, "accelerator_type:H100": 1.0, "disk": 3}]
    assert not lacks(nodes, workers=3, resources={"accelerator_type:H100": 0.001, "disk": 1.0})
    assert "hold 1 of them" in lacks(nodes, workers=2, cpus_per_worker=5, resources={"disk": 1.0})
    assert "the cluster has 3 disk" in lacks(nodes, workers=4, resources={"disk": 1.0})


@pytest.mark.parametrize(("gpus", "takes"), [(1, False), (2, True), (4, True)])
def test_auto_takes_gpus_where_there_are_enough_for_the_fewest_workers(gpus, takes):
    group = Group(RayConfig(workers=4, min_workers=2), "auto")
    assert ("GPU" in group.needs(gpus)) is takes


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (4, "cuda")])
def test_a_worker_is_told_its_device_whatever_its_node_has(monkeypatch, gpus, device):
    """Ray hides no GPU from a worker that has reserved none, and has chosen one before the worker's work begins."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    given = device_in(Group(RayConfig(workers=2), "auto").needs(gpus))

    def work(payload, device):
        return payload, pick_device(device).type

    assert _attempt(work, "payload", given) == ("result", ("payload", device))
    seen = []

    def enter(payload, world, progress, stop_requested):
        seen.append(world.device.type)

    monkeypatch.setattr("fer_dist.train.start.enter_and_train", enter)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    line = SimpleNamespace(progress=None, stop_requested=None)
    train_worker({"config": to_json(Config())}, line, given)
    assert seen == [device]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--ray.min-workers", "3"], "--ray.min-workers 3 is out of range; it must lie in 0..--ray.workers, 2"),
        (["--ray.resources", "CPU", "1"], "must name others than CPU and GPU"),
        (["--ray.resources", "disk", "0"], "each with an amount above 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_ray_starts(words, line, tmp_path, capsys):
    evaluation = ["evaluate", "--models", str(tmp_path), "--data", str(tmp_path), "--ray.workers", "2"]
    assert main([*evaluation, *words]) == 2
    assert line in capsys.readouterr().err


def test_workers_that_stood_still_are_not_heard_after_others_took_over():
    mailbox = Mailbox()
    old = mailbox.begin(2, None, None)
    mailbox.put(old, "message", "first")
    new = mailbox.begin(1, None, None)
    mailbox.put(old, "work", "an error of the past")
    mailbox.put(new, "message", "second")
    kinds = [kind for kind, _ in mailbox.drain()]
    assert kinds == ["started", "message", "started", "message"]
