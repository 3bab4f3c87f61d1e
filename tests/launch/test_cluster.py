"""The files that start runs on clusters, held against the references of those who read them."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from fer_dist.config.settings import Config

TOP = Path(__file__).parents[2]
MANIFESTS = ("kuberay-cluster.yaml", "kuberay-job.yaml")
DOCKERFILE = (TOP / "cluster/Dockerfile").read_text().replace("\\\n", " ")
CONSTRAINTS = dict(
    re.findall(r"^([\w.-]+)==([\w.+-]+)", (TOP / "cluster/constraints.txt").read_text(), flags=re.MULTILINE)
)
FIELDS = json.loads((Path(__file__).parent / "kubernetes_fields.json").read_text())["types"]
QUANTITIES = {"limits", "requests", "sizeLimit"}
"""Amounts, for which Kubernetes takes a number as well as a text."""
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((TOP / "cluster" / name).read_text()))


def ray_object(name: str) -> dict[str, Any]:
    return next(content for content in manifests(name) if content["apiVersion"] == "ray.io/v1")


def cluster_spec(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = ray_object(name)["spec"]
    return spec.get("rayClusterSpec", spec)


def pods(name: str) -> Iterator[dict[str, Any]]:
    spec = cluster_spec(name)
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    templates = [group["template"] for group in groups]
    yield from (template["spec"] for template in [*templates, *_submitter(name)])


def _submitter(name: str) -> list[dict[str, Any]]:
    spec = ray_object(name)["spec"]
    return [spec["submitterPodTemplate"]] if "submitterPodTemplate" in spec else []


def faults(value: Any, kind: str, place: str) -> list[str]:
    """What does not fit a type of the reference, by its place."""
    if kind.startswith("List["):
        if not isinstance(value, list):
            return [f"{place} is no list"]
        return [fault for i, item in enumerate(value) for fault in faults(item, kind[5:-1], f"{place}[{i}]")]
    if kind == "Dict[str, str]":
        allowed = (str, int) if place.rsplit(".", 1)[-1] in QUANTITIES else str
        return [f"{place}.{key}: {item!r} is no text" for key, item in value.items() if not isinstance(item, allowed)]
    if "|" in kind:
        return [] if value in kind.split("|") else [f"{place}: {value!r} is none of {kind}"]
    if kind in PLAIN:
        right = isinstance(value, PLAIN[kind]) and isinstance(value, bool) == (kind == "bool")
        return [] if right else [f"{place}: {value!r} is no {kind}"]
    if kind == "ObjectMeta":
        return [] if re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", value["name"]) else [f"{place}: {value['name']}"]
    found = []
    for name, item in value.items():
        inner = f"{place}.{name}"
        found += faults(item, FIELDS[kind][name], inner) if name in FIELDS[kind] else [f"{inner} is unknown"]
    return found


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_knows_every_field_of_a_manifest_and_its_type(name: str):
    contents = manifests(name)
    assert contents
    assert [fault for content in contents for fault in faults(content, content["kind"], content["kind"])] == []


@pytest.mark.parametrize("name", MANIFESTS)
def test_no_pod_runs_as_root_or_can_become_it(name: str):
    for pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert cluster_spec(name)["autoscalerOptions"]["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_pod_mounts_only_what_it_has_and_shared_memory_in_it(name: str):
    spec = cluster_spec(name)
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert set(mounts.values()) == set(volumes)
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"] == "fer-dist"
        assert pod["terminationGracePeriodSeconds"] > 30


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_cluster_on_kubernetes_wants_a_token_and_is_not_reached_from_outside(name: str):
    spec = cluster_spec(name)
    assert spec["authOptions"] == {"mode": "token", "secretName": "fer-dist-ray-token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    # The token is a secret that the reader makes; none stands in a manifest.
    assert {content["kind"] for content in manifests(name)} <= {"PersistentVolumeClaim", "RayCluster", "RayJob"}


@pytest.mark.parametrize("name", MANIFESTS)
def test_workers_have_gpus_come_and_go_and_the_head_trains_nothing(name: str):
    spec = cluster_spec(name)
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        resources = group["template"]["spec"]["containers"][0]["resources"]
        assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == 1
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["minReplicas"] < group["maxReplicas"]


def test_a_job_that_fails_goes_on_as_the_same_run_on_a_new_cluster():
    spec = ray_object("kuberay-job.yaml")["spec"]
    words = spec["entrypoint"].split()
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert "--resume" in words
    assert words[words.index("--run.name") + 1]


def test_the_words_of_a_job_are_flags_of_this_version():
    words = ray_object("kuberay-job.yaml")["spec"]["entrypoint"].split()
    known = {f"--{section.name}.{setting.name.replace('_', '-')}" for section in fields(Config) for setting in
             fields(getattr(Config(), section.name))}  # fmt: skip
    assert words[:3] == ["python", "-m", "fer_dist.train"]
    assert {word for word in words if word.startswith("--")} <= known | {"--resume"}


def test_ray_takes_the_file_of_its_launcher():
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load((TOP / "cluster/ray-up.yaml").read_text()))
    validate_config(prepared)
    nodes = prepared["available_node_types"]
    assert nodes["gpu_worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in nodes["head"]["node_config"]
    # Ray's defaults for AWS install another version of Ray.
    assert prepared["setup_commands"] == prepared["head_setup_commands"] == prepared["worker_setup_commands"] == []


def test_images_and_manifests_name_the_ray_that_is_pinned():
    assert CONSTRAINTS["ray"] == version("ray")
    for name in MANIFESTS:
        assert cluster_spec(name)["rayVersion"] == CONSTRAINTS["ray"]
    images = re.findall(r"registry\.example\.com/[^\s]+", "".join(p.read_text() for p in (TOP / "cluster").iterdir()))
    assert len(images) > 5
    assert set(images) == {f"registry.example.com/fer-dist:ray-{CONSTRAINTS['ray']}"}


def test_every_dependency_is_pinned():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # The other half of a pair that cannot stand in one place: the pinned torch is built for CUDA 13.
    asked = project["dependencies"] + [line for name, lines in extras.items() if name != "cuda12" for line in lines]
    pinned = {name.lower().replace("_", "-") for name in CONSTRAINTS}
    assert {Requirement(line).name.lower() for line in asked} <= pinned
    for line in asked:
        requirement = Requirement(line)
        assert CONSTRAINTS[requirement.name.lower()] in requirement.specifier, line


def stages() -> list[str]:
    return re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def test_the_image_is_built_in_stages_from_files_that_are_there_and_runs_as_a_person():
    first, last = stages()
    sources = [word for line in re.findall(r"^COPY (.+)$", first, flags=re.MULTILINE) for word in line.split()[:-1]]
    assert sources
    assert [source for source in sources if not (TOP / source).exists()] == []
    # What .dockerignore leaves out does not reach the daemon.
    sent = {line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) <= sent
    assert re.findall(r"^COPY --from=(\w+)", last, flags=re.MULTILINE) == ["build"]
    users = re.findall(r"^USER (\d+)$", last, flags=re.MULTILINE)
    assert users
    assert int(users[-1]) == next(pod["securityContext"]["runAsUser"] for pod in pods(MANIFESTS[0])) > 0


def test_the_image_installs_only_what_is_pinned():
    installs = re.findall(r"pip install (.+?)(?:&&|$)", DOCKERFILE, flags=re.MULTILINE)
    extras = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert len(installs) == 2
    for words in (line.split() for line in installs):
        assert {"-c", "--no-deps"} & set(words), "neither pinned nor alone"
        if "-c" in words:
            assert words[words.index("-c") + 1] == "cluster/constraints.txt"
        named = [word.strip("'") for word in words if not word.startswith("-") and word != "cluster/constraints.txt"]
        own = next(word for word in named if word.startswith("."))
        assert set(own[2:-1].split(",")) <= set(extras) | {""}
        assert {word for word in named if word != own} <= set(CONSTRAINTS)
    assert not re.search(r"^ENV .*(SECRET|PASSW|AWS_|RAY_AUTH_TOKEN)", DOCKERFILE, flags=re.MULTILINE)
