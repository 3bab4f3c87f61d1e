"""Files made whole in a folder in which others may write: no link is followed, and nothing of another user is ours."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.disks import fill, small_disk

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError
from fer_dist.runs.folder import RunFolder
from fer_dist.storage.cache import Cache, Entry, default_folder
from fer_dist.storage.writing import free_bytes, one_at_a_time, write_atomically
from fer_dist.study.records import locked

SET = "0123456789abcdef01234567"
STRANGER = 65534


def of_another_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder that belongs to another user than the one who asks."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, STRANGER, STRANGER)
    else:
        monkeypatch.setattr("os.geteuid", lambda: STRANGER)
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


def test_a_file_is_written_under_a_name_that_cannot_be_known_and_through_no_link(tmp_path, victim, monkeypatch):
    target = tmp_path / "scores.json"
    seen: list[set[str]] = []
    fsync = os.fsync
    monkeypatch.setattr("os.fsync", lambda descriptor: (fsync(descriptor), seen.append(set(os.listdir(tmp_path)))))
    for _ in range(2):
        write_atomically(target, b"{}")
    names = [(found - {"victim", "scores.json"}).pop() for found in seen]
    assert names[0] != names[1]
    assert all(str(os.getpid()) not in name.split(".") for name in names)
    # And one that is known all the same leads nowhere.
    monkeypatch.setattr("secrets.token_hex", lambda _: "known")
    (tmp_path / ".scores.json.known.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError, match=r"'.*/scores\.json'"):
        write_atomically(target, b"[]")
    assert (victim.read_text(), target.read_bytes()) == ("precious", b"{}")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_what_is_written_has_the_rights_that_the_umask_gives(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"")
        with one_at_a_time(tmp_path / "file"):
            pass
        build_into(tmp_path / "out")
    finally:
        os.umask(before)
    built = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    written = [tmp_path / "file", tmp_path / ".file.lock", *built]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o666 & ~mask}
    assert len(written) > 6


def test_where_a_folder_is_tried_nothing_is_made_that_a_link_could_lead_elsewhere(tmp_path: Path) -> None:
    for name in (".run.probe", "new"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    assert free_bytes(tmp_path / "new" / "run", "--run.root") > 0
    assert sorted(os.listdir(tmp_path)) == [".run.probe", "new"]


def enter_folder_of_a_study(folder: Path) -> None:
    with locked(folder):
        pass


def build_into(folder: Path) -> None:
    build_shards(open_source("synthetic", "wild", count=8, test_count=1, pixels=16), folder, BuildOptions(workers=1))


def lock_scores(folder: Path) -> None:
    with one_at_a_time(folder / "scores.json"):
        pass


def fetch_into(folder: Path) -> None:
    Cache(folder, 100).fetch(Entry(f"{SET}/a.tar", 1), lambda part: part.write_bytes(b"x") and None, False)


LOCKS: list[tuple[str, Callable[[Path], None]]] = [
    (".scores.json.lock", lock_scores),
    ("jobs/.lock", enter_folder_of_a_study),
    (".building/lock", build_into),
    (".in-use", fetch_into),
    (".room", fetch_into),
    (f"{SET}/.a.tar.1.claim", fetch_into),
]


@pytest.mark.parametrize(("name", "act"), LOCKS, ids=[name for name, _ in LOCKS])
def test_a_lock_that_is_a_link_is_refused_and_its_target_keeps_what_it_holds(tmp_path, victim, name, act):
    lock = tmp_path / "shared" / name
    lock.parent.mkdir(parents=True)
    lock.symlink_to(victim)
    with pytest.raises((OSError, InputError), match="a link, where a file to lock is needed"):
        act(tmp_path / "shared")
    assert victim.read_text() == "precious"
    lock.unlink()
    act(tmp_path / "shared")


def test_a_build_takes_up_no_work_of_another_user(tmp_path, monkeypatch):
    of_another_user(tmp_path / "out" / ".building", monkeypatch)
    with pytest.raises(InputError, match=r"out: cannot be written \(made by another user, \d+\); choose another OUT"):
        build_into(tmp_path / "out")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where the cache may lie: the user's cache folder, and the one for temporary files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache" / "fer-dist", tmp_path / f"fer-dist-{os.getuid()}"


def test_the_cache_is_a_folder_of_this_user_alone(places):
    assert default_folder() == places[0] / "shards"
    assert stat.S_IMODE(default_folder().stat().st_mode) == 0o700
    places[0].chmod(0o777)
    assert default_folder() == places[1] / "shards", "every user can write in the first"


@pytest.mark.parametrize("how", ["theirs", "theirs below", "a link of theirs", "writable by all"])
def test_a_folder_of_another_user_is_not_taken_for_the_cache(places, tmp_path, monkeypatch, how):
    places[0].parent.write_text("no folder")
    place = places[1]
    if how == "writable by all":
        place.mkdir()
        place.chmod(0o777)
    elif how == "a link of theirs":
        place.symlink_to(of_another_user(tmp_path / "other", monkeypatch))
    else:
        of_another_user(place if how == "theirs" else place / "shards", monkeypatch)
    with pytest.raises(InputError, match=rf"{place}.*: no place for the cache \(.*user.*\); choose one: --data\.cache"):
        default_folder()


def test_the_copy_of_a_run_in_a_store_is_not_made_in_a_folder_of_another_user(tmp_path, monkeypatch):
    folder = RunFolder("memory://runs/one", str(tmp_path))
    of_another_user(folder.path.parent, monkeypatch)
    with pytest.raises(InputError, match=r"--run\.scratch: .*: made by another user, \d+; choose another"):
        folder.enter()


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path):
    with small_disk(tmp_path / "small"):
        fill(tmp_path / "small")
        with pytest.raises(OSError, match=r"No space left on device: '.*/small/a\.json'"):
            write_atomically(tmp_path / "small" / "a.json", bytes(2**16))
        assert os.listdir(tmp_path / "small") == ["filler"]


def test_where_a_mount_has_no_locks_the_work_goes_on_without(tmp_path, monkeypatch):
    def unknown(descriptor: int, how: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr("fer_dist.storage.writing.fcntl.flock", unknown)
    with one_at_a_time(tmp_path / "scores.json"):
        write_atomically(tmp_path / "scores.json", b"{}")
    assert (tmp_path / "scores.json").read_bytes() == b"{}"
