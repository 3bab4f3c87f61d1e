"""fer-dist doctor: storage, Ray's token and address, and nodes that differ."""

import socket
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from support.diagnosis import remedies, state
from support.faces import faces, shard_set
from support.stores import s3_endpoint, s3_server

from fer_dist.doctor import cluster, doctor, storage
from fer_dist.doctor.finding import Asked, RayAddress

HERE = Asked()


def test_a_run_root_in_a_store_is_tried_there():
    store = fsspec.filesystem("memory")
    store.mkdirs("/results", exist_ok=True)
    assert state(storage.run_root(Asked(run_root="memory://results/runs"))) == "ok"
    assert store.find("/results") == []
    store.rm("/results", recursive=True)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server("results", {}) as port, s3_endpoint(port, monkeypatch):
        yield "s3://results/runs"


def test_a_bucket_is_tried_and_left_empty_and_one_that_is_not_there_is_a_fault(bucket):
    assert state(storage.run_root(Asked(run_root=bucket))) == "ok"
    assert fsspec.filesystem("s3").find("s3://results") == []
    assert state(storage.run_root(Asked(run_root="s3://another/runs"))) == "fault"


def test_a_store_without_credentials_is_a_fault_that_says_so(bucket, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    fsspec.filesystem("s3").clear_instance_cache()
    found = storage.run_root(Asked(run_root=bucket))
    assert state(found) == "fault"
    assert "credentials" in remedies(found)


def test_a_full_disk_and_a_cache_that_cannot_do_its_work_are_found(tmp_path):
    asked = Asked(run_root=str(tmp_path), cache=str(tmp_path / "cache"))
    assert [state(storage.disk(asked, free)) for free in (10**8, 3 * 10**9, 10**11)] == ["fault", "warning", "ok"]
    assert state(storage.cache(asked, 10**12)) == "ok"
    assert state(storage.cache(asked, 10**9)) == "warning"
    assert state(storage.cache(asked, 10**12, "nfs4")) == "fault"
    (tmp_path / "file").touch()
    assert state(storage.cache(Asked(cache=str(tmp_path / "file" / "cache")))) == "fault"


def test_a_set_that_lacks_a_tar_is_a_fault_that_names_it(tmp_path):
    shards = shard_set(tmp_path / "train", [faces(4), faces(8)[4:]])
    assert state(storage.data(Asked(data=(str(shards),)))) == "ok"
    tar = min(shards.glob("*.tar"))
    tar.unlink()
    found = storage.data(Asked(data=(str(shards),)))
    assert state(found) == "fault"
    assert tar.name in found[0].found


@pytest.fixture
def ray_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token file that is as it should be."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("secret-of-a-cluster")
    path.chmod(0o600)
    return path


def test_a_token_that_others_can_read_or_that_is_empty_or_missing_is_a_fault(ray_settings, monkeypatch):
    asked = Asked(ray=RayAddress("10.0.0.1:6379"))
    assert state(cluster.token(asked)) == "ok"
    ray_settings.chmod(0o644)
    assert f"chmod 600 {ray_settings}" in remedies(cluster.token(asked))
    ray_settings.chmod(0o600)
    ray_settings.write_text("\n")
    assert state(cluster.token(asked)) == "fault"
    ray_settings.unlink()
    assert state(cluster.token(asked)) == "fault"
    assert state(cluster.token(HERE)) == "not here"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert state(cluster.token(HERE)) == "fault"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert state(cluster.token(asked)) == "warning"


def test_the_token_itself_is_never_shown(ray_settings):
    ray_settings.chmod(0o644)
    found = cluster.token(Asked(ray=RayAddress("10.0.0.1:6379")))
    assert "secret-of" not in found[0].found + found[0].remedy


def test_an_address_where_nothing_listens_is_a_fault():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found, nodes = cluster.ask(Asked(ray=RayAddress(address)), doctor.ENTRY)
    assert state(found) == "fault"
    assert f"{address}: nothing answers there" in found[0].found
    assert nodes == {}


def test_a_host_whose_name_leads_to_itself_is_told_how_gloo_finds_the_others(monkeypatch):
    asked = Asked(ray=RayAddress("10.0.0.1:6379"))
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth7")])
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "127.0.1.1")
    assert "eth7" in remedies(cluster.host_name(asked))
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "10.0.0.2")
    assert state(cluster.host_name(asked)) == "ok"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none7")
    assert state(cluster.host_name(asked)) == "fault"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    assert state(cluster.host_name(asked)) == "ok"


def node(skew: float = 0.0, sees_probe: bool | None = True, **versions: str) -> dict[str, object]:
    return {"versions": {"torch": "2.15.0", "python": "3.11.7"} | versions, "skew": skew, "sees_probe": sees_probe}


def test_nodes_that_differ_are_named_with_what_they_have():
    assert state(cluster.compare({"a": node(), "b": node(), "c": node()})) == "ok"
    found = cluster.compare({"a": node(), "b": node(torch="2.14.0"), "c": node()})
    assert [item.found for item in found] == ["torch: 2.15.0 on a, c; 2.14.0 on b"]
    assert state(found) == "fault"
    assert "deepspeed: none on a; 0.19 on b" in cluster.compare({"a": node(), "b": node(deepspeed="0.19")})[0].found


def test_a_node_with_another_disk_or_clock_or_no_answer_is_found():
    assert "b does not see" in cluster.compare({"a": node(), "b": node(sees_probe=False)})[0].found
    assert "b: its clock is -40 s off" in cluster.compare({"a": node(), "b": node(skew=-40.0)})[0].found
    found = cluster.compare({"a": node(), "b": {"error": "No module named 'fer_dist'"}})
    assert state(found) == "fault"
    assert "b: No module named 'fer_dist'" in found[0].found
