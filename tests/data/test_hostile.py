"""Hostile bytes: each has one outcome, at each command that meets it. The table of them is launch/HOSTILE.md."""

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support import hostile
from support.faces import Face, encoded, environment, faces, shard_set, tree, write
from support.hostile import EMOTIONS, member, relabelled, sample, tar_at
from support.runs import SMALL, ledger, two_processes

from fer_dist.config.settings import Config, DataConfig, ModelConfig, TrainConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import SEVEN
from fer_dist.data.images import MAX_PIXELS, MOST_SCANS, fault_in, has_endless_scans, pixel_count
from fer_dist.data.inspection.verify import verify_shards
from fer_dist.data.loading.loader import Batch, Loader, Placement, evaluation_loader, training_loader
from fer_dist.data.loading.order import Order, Positions
from fer_dist.data.loading.reader import Reader, Samples
from fer_dist.data.shards.index import index_shards
from fer_dist.data.shards.manifest import index_path
from fer_dist.data.shards.tar import is_member_at, read_members
from fer_dist.data.sources.source import open_source
from fer_dist.distributed.world import World
from fer_dist.errors import InputError, WorkError
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.network import build, network_of
from fer_dist.train.engine import Engine

PLAIN = DataConfig(
    size=48, crop=48, views="centre", rotate_degrees=0, brightness=0, contrast=0, saturation=0, hue=0,
    mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255),
)  # fmt: skip
CPU = torch.device("cpu")


def opened(folder: Path, command: str, on_bad: str = "stop") -> Loader:
    """The loader of train (one epoch) or evaluate."""
    data, reader, place = replace(PLAIN, on_bad=on_bad), Reader(folder, SEVEN), Placement(0, 1, CPU, False, 1)
    if command == "evaluate":
        return evaluation_loader(data, reader, place, 64)
    order = Order(reader.counts, int(reader.counts.sum()), seed=0)
    return training_loader(data, reader, order, place, 0, 1)


def read(folder: Path, command: str = "evaluate") -> list[Batch]:
    return list(opened(folder, command))


def labels(batches: list[Batch]) -> dict[str, str]:
    found = [
        (key, int(label)) for batch in batches for key, label in zip(batch.samples.keys, batch.labels, strict=True)
    ]
    assert len(dict(found)) == len(found)
    return {key: SEVEN[label] for key, label in found}


def with_image(root: Path, stored: bytes, extension: str = "jpg") -> Path:
    """A set of six good images and this one, in the middle."""
    made = faces(7, form="JPEG")
    made[3] = Face("hostile", 3, {**made[3].members, "jpg": stored})
    return shard_set(root / "train", [made])


# Images.


def built(root: Path, stored: bytes) -> tuple[dict[str, int], Path]:
    """What shards build leaves out of a folder of two images, and the set."""
    write(root / "raw" / "train" / "happy" / "good.jpg", encoded(1))
    write(root / "raw" / "train" / "sad" / "hostile.jpg", stored)
    (manifest,) = build_shards(open_source("folder", str(root / "raw")), root / "out", BuildOptions(workers=1))
    return manifest.left_out, root / "out" / "train"


@pytest.mark.parametrize("name", hostile.unusual())
def test_an_unusual_image_is_built_verified_and_read_as_pillow_reads_it(tmp_path: Path, name: str) -> None:
    stored = hostile.unusual()[name]
    left_out, folder = built(tmp_path, stored)
    assert (left_out, verify_shards(folder).faults) == ({}, ())
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(stored)))
    deep = image.mode.startswith("I;16")
    expected = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if deep else image
    side = np.asarray(expected.convert("RGB").resize((48, 48), Image.Resampling.BILINEAR), dtype=np.float64)
    handed = with_image(tmp_path / "handed", stored)
    for place, key in ((folder, "sad/hostile"), (handed, "hostile")):
        (batch,) = read(place)
        found = batch.crops[batch.samples.keys.index(key)].permute(1, 2, 0).double().numpy()
        # Where nothing is resized, both are equal; the turned ones are twice as wide.
        assert np.abs(found - side).mean() < 0.6


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("name", hostile.broken() | hostile.bombs())
def test_an_image_that_does_not_decode_stops_or_is_skipped_and_named(tmp_path: Path, name: str, command: str) -> None:
    stored = (hostile.broken() | hostile.bombs())[name]
    folder = with_image(tmp_path, stored)
    fault = "is too large to decode, with more than 67108864 pixels" if name in hostile.bombs() else "does not decode"
    with pytest.raises(WorkError, match=rf"^drawn-train-000000\.tar: hostile: the image {fault}; .* skip$"):
        list(opened(folder, command))
    loader = opened(folder, command, "skip")
    found = labels(list(loader))
    assert found == {face.key: SEVEN[face.label] for face in faces(7) if face.label != 3}
    assert loader.bad == {"hostile": "drawn-train-000000.tar"}


@pytest.mark.parametrize("name", hostile.broken() | hostile.bombs())
def test_an_image_that_does_not_decode_is_left_out_of_a_build_and_found_by_verify(tmp_path: Path, name: str) -> None:
    stored = (hostile.broken() | hostile.bombs())[name]
    reason = "too large to decode" if name in hostile.bombs() else "does not decode"
    left_out, folder = built(tmp_path, stored)
    assert left_out == {reason: 1}
    assert set(labels(read(folder))) == {"happy/good"}
    (fault,) = verify_shards(with_image(tmp_path / "handed", stored)).faults
    assert f"drawn-train-000000.tar: hostile: its .jpg {'is ' * (name in hostile.bombs())}{reason}" == str(fault)


def test_a_gif_under_jpg_becomes_a_png_in_a_build_and_is_no_image_for_training(tmp_path: Path) -> None:
    stored = encoded(5, "GIF")
    left_out, folder = built(tmp_path, stored)
    assert (left_out, verify_shards(folder).faults) == ({}, ())
    with pytest.raises(WorkError, match=r"hostile: the image does not decode"):
        read(with_image(tmp_path / "handed", stored))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_bound_for_images_is_one_for_build_and_training(form: str) -> None:
    side = int(MAX_PIXELS**0.5)
    for extra in (0, 1):
        stored = hostile.with_sides(encoded(1, form, mode="RGB"), side + extra)
        assert fault_in(stored) == ("is too large to decode, with more than 67108864 pixels" if extra else "")
        assert pixel_count(np.frombuffer(stored, np.uint8)) == (side + extra) ** 2


@pytest.mark.parametrize("made", [hostile.in_scans, hostile.in_plain_scans])
def test_scans_are_counted_before_a_decoder_makes_a_pass_for_each(made: Callable[[int], bytes]) -> None:
    for scans in (1, MOST_SCANS, MOST_SCANS + 1, 20_000):
        stored = made(scans)
        assert has_endless_scans(stored) == (scans > MOST_SCANS)
        assert fault_in(stored) == ("does not decode" if scans > MOST_SCANS else "")
        assert pixel_count(np.frombuffer(stored, np.uint8)) == (0 if scans > MOST_SCANS else hostile.SIDE**2)


def test_no_segment_between_the_scans_hides_them_and_none_behind_the_end_adds_to_them() -> None:
    notes = [b"\xff\xfe\0\4\xff\xd9", b"\xff\xff\xff", b"\0garbage\xff\0", b"\xff\xd0\xff\x01", b"\xff\xfe\0\0"]
    for note in notes:
        assert has_endless_scans(hostile.in_scans(MOST_SCANS + 1, between=note))
        assert not has_endless_scans(hostile.in_scans(MOST_SCANS, between=note))
    assert not has_endless_scans(hostile.in_scans(9, behind=hostile.in_scans(20_000)))
    thumbnail = hostile.in_scans(1000)
    head, rest = hostile.in_scans(9)[:2], hostile.in_scans(9)[2:]
    assert not has_endless_scans(head + b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail + rest)


BOMBS_IN_BOUNDS = """
import resource, sys
from pathlib import Path
root, here = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, here)
import test_hostile
from support import hostile
test_hostile.labels(test_hostile.read(test_hostile.with_image(root / "warm", hostile.unusual()["a grey JPEG"])))
bombs = hostile.bombs()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number, image in enumerate(bombs.values()):
    test_hostile.built(root / str(number), image)
    handed = test_hostile.with_image(root / f"handed-{number}", image)
    for command in ("train", "evaluate"):
        list(test_hostile.opened(handed, command, "skip"))
    assert test_hostile.verify_shards(handed).faults
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_images_that_ask_for_gigabytes_get_none(tmp_path: Path) -> None:
    words = [sys.executable, "-c", BOMBS_IN_BOUNDS, str(tmp_path), str(Path(__file__).parent)]
    ended = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=120)
    assert ended.returncode == 0, ended.stderr
    # One decoded would be 2,700 or 4,800 MB. verify imports webdataset, which takes some tens.
    assert int(ended.stdout) < 200


# Tars.

GOOD = [part for number in range(6) for part in sample(f"face-{number}", number % 3)]
LABELS = {f"face-{number}": EMOTIONS[number % 3] for number in range(6)}

NEGATIVE = b"\xff" * 10 + b"\xf0\0"
"""-4096 in GNU's binary form."""

LINK = member("face-0.jpg", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")


def headed(name: str, size: bytes) -> bytes:
    """A member of five bytes whose header says another size."""
    return relabelled(member(name, b"12345"), size=size)


TARS = {
    "cut in a member": (b"".join(GOOD)[:2600], rb"cut short"),
    "cut between two members": (b"".join(GOOD[:9]), rb"cut short"),
    "cut in a header": (b"".join(GOOD[:9]) + GOOD[9][:300], rb"cut short|seems to end"),
    "a damaged header": (
        b"".join(GOOD[:9]) + bytes([GOOD[9][0] ^ 1]) + b"".join(GOOD[9:])[1:], rb"seems to end at byte"
    ),
    "zeros in the middle": (b"".join([*GOOD[:9], bytes(2048), *GOOD[9:]]), rb"seems to end at byte"),
    "one tar behind another": (b"".join([*GOOD[:9], bytes(1024), *GOOD[9:], bytes(1024)]), rb"seems to end at byte"),
    "an empty file": (b"", rb"empty file"),
    "garbage": (b"garbage " * 500, rb"not a whole, uncompressed tar"),
    "an absolute name": (b"".join(sample("/etc/face", 1)), rb"/etc/face: the name leads out"),
    "a name that climbs": (b"".join(sample("a/../../face", 1)), rb"a/\.\./\.\./face: the name leads out"),
    "a size beyond the end": (b"".join([*GOOD[:9], headed("face-3.txt", b"00007777777\0"), *GOOD[9:]]), rb"cut short"),
    "a size of 8 GiB": (headed("a.txt", b"\x80" + bytes(6) + b"\x02" + bytes(4)), rb"cut short"),
    "a size beyond all files": (headed("a.txt", b"\x80" + b"\x7f" * 11), rb"cut short|makes no sense"),
    "a negative size": (headed("a.txt", NEGATIVE), rb"cut short"),
    "a size that is no number": (headed("a.txt", b"12:4 ...\0\0\0\0"), rb"not a whole, uncompressed tar"),
    "a size that swallows the next header": (
        b"".join([*GOOD[:3], relabelled(GOOD[3], size=b"00000001000\0"), *GOOD[4:]]), rb"not a number|seems to end"
    ),
    "a folder of a negative size": (
        relabelled(member("d", b""), kind=b"5", size=NEGATIVE) + b"".join(GOOD), rb"cut short"
    ),
    "a PAX header of 1 GiB": (
        relabelled(member("a", b"12345"), kind=b"x", size=b"10000000000\0") + b"".join(GOOD), rb"16384 are the most"
    ),
    "a PAX header of a negative size": (
        relabelled(member("a", b"12345"), kind=b"x", size=NEGATIVE) + b"".join(GOOD), rb"16384 are the most"
    ),
    "three thousand long names in a row": (
        relabelled(member("a", b"12345"), kind=b"L") * 3000 + b"".join(GOOD), rb"makes no sense"
    ),
    "two images of one key": (
        b"".join([*GOOD[:2], member("face-0.png", encoded(1, "PNG")), *GOOD[2:]]), rb"face-0: 2 images"
    ),
    "a sparse file": (relabelled(member("a.jpg", b"12345"), kind=b"S") + b"".join(GOOD), rb"sparse|not a whole"),
    "a link in place of an image": (
        b"".join([GOOD[0], LINK, *GOOD[2:]]),
        rb"face-0: no image",
    ),
    "a hard link in place of a label": (
        b"".join([member("a.cls", b"", type=tarfile.LNKTYPE, linkname="face-0.cls"), member("a.jpg", encoded(1))]),
        rb"a: no label",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TARS)
def test_a_hostile_tar_stops_its_indexing_with_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    content, message = TARS[name]
    folder = tmp_path / "set" / "train"
    write(tmp_path / "set" / "train" / "b.tar", content if "cut" in name or "empty" in name else content + bytes(1024))
    before = tree(tmp_path)
    began = time.monotonic()
    with pytest.raises(InputError, match=rf"b\.tar: .*(?:{message.decode()})") as caught:
        index_shards(folder, EMOTIONS)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 10
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_became_hostile_after_its_indexing_stops_every_reader(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set" / "train"
    tar = tar_at(folder / "b.tar", GOOD)
    index_shards(folder, EMOTIONS)
    size = tar.stat().st_size
    content = TARS[name][0]
    tar.write_bytes(content + bytes(512 * (len(content) == size)))
    with pytest.raises(InputError, match=rf"b\.tar: \d+ bytes, but the manifest says {size}; "):
        read(folder)
    faults = [str(fault) for fault in verify_shards(folder).faults]
    assert f"b.tar: {tar.stat().st_size} bytes, but the manifest says {size}" in faults
    # Cut or filled to the size that it had.
    tar.write_bytes(content[:size].ljust(size, b"\0"))
    for command in ("train", "evaluate"):
        with pytest.raises(InputError, match=r"b\.idx: face-\d\.\w+ does not lie where it says; .*shards index"):
            read(folder, command)
    with pytest.raises(InputError, match=r"b\.tar: "):
        index_shards(folder)
    assert verify_shards(folder).faults


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_devices_and_fifos_beside_the_samples_are_passed_over(tmp_path: Path, kind: bytes) -> None:
    folder = tmp_path / "set" / "train"
    odd = member("face-0.npy", b"", type=kind, linkname="/dev/zero")
    tar_at(folder / "b.tar", [*GOOD[:3], odd, *GOOD[3:], member("lost+found", b"", type=tarfile.DIRTYPE)])
    index_shards(folder, EMOTIONS)
    assert labels(read(folder)) == LABELS
    assert not verify_shards(folder).faults


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names_are_read_with_their_labels(tmp_path: Path, form: int) -> None:
    keys = ["d" * 60 + "/" + "x" * 80 + str(number) for number in range(3)]
    if form != tarfile.USTAR_FORMAT:
        keys += ["y" * 150 + str(number) for number in range(3)] + ["frö hlich", "z" * 600]
    folder = tmp_path / "set" / "train"
    tar_at(folder / "b.tar", [part for i, key in enumerate(keys) for part in sample(key, i % 3, form)])
    index_shards(folder, EMOTIONS)
    expected = {key.replace(" ", "%20"): EMOTIONS[i % 3] for i, key in enumerate(keys)}
    assert labels(read(folder)) == expected
    # Names that are equal in what their headers hold, and files of one size: only the long names tell them apart.
    lines = index_path(folder / "b.tar").read_text().splitlines()
    first, second = lines[1].split(), lines[2].split()
    first, second = first[4:] + first[:4], second[4:] + second[:4]
    first[-3], second[-3] = second[-3], first[-3]
    lines[1:3] = " ".join(first), " ".join(second)
    index_path(folder / "b.tar").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"b\.idx: d+/x+\d\.cls does not lie where it says"):
        read(folder)


def test_names_without_an_extension_and_with_blanks_in_it_leave_the_index_whole(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "train"
    extra = [member("face-0", b"x"), member("face-0.a b", b"y"), *GOOD[:3], member("README", b"z"), *GOOD[3:]]
    tar_at(folder / "b.tar", extra)
    index_shards(folder, EMOTIONS)
    assert labels(read(folder)) == LABELS
    assert not verify_shards(folder).faults


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
            st.binary(max_size=600),
        )
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_each_member_that_is_read_is_found_at_its_place_and_nowhere_else(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], form: int
) -> None:
    import mmap

    path = tmp_path_factory.mktemp("tar") / "a.tar"
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    members = list(read_members(path))
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for found in members:
            for other in members:
                fits = is_member_at(content, other.offset, other.size, found.name)
                assert fits == (other.name == found.name)
    with tarfile.open(path) as tar:
        expected = [(info.offset_data, info.size) for info in tar if info.isreg()]
    assert {(found.offset, found.size) for found in members} <= set(expected)


# Indexes.


def swapped(lines: list[list[str]]) -> None:
    """The labels of two samples change places, and their names do not."""
    for line in lines[:2]:
        line[:] = line[4:] + line[:4]
    lines[0][-3], lines[1][-3] = lines[1][-3], lines[0][-3]


def swapped_with_names(lines: list[list[str]]) -> None:
    for line in lines[:2]:
        line[:] = line[4:] + line[:4]
    lines[0][-4:], lines[1][-4:] = lines[1][-4:], lines[0][-4:]


def shifted(lines: list[list[str]]) -> None:
    lines[2][5] = str(int(lines[2][5]) + 512)


def overlapping(lines: list[list[str]]) -> None:
    lines[2][6] = str(int(lines[2][6]) + 2048)


def repeated(lines: list[list[str]]) -> None:
    lines[2] = lines[1]


def repeated_in_disguise(lines: list[list[str]]) -> None:
    """A sample comes again, beginning with another of its files."""
    lines[2] = [*lines[1][4:8], *lines[1][:4]]


def exchanged(lines: list[list[str]]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def renamed(lines: list[list[str]]) -> None:
    lines[2] = [word.replace("face-2", "face-9") for word in lines[2]]


def other_extension(lines: list[list[str]]) -> None:
    """The json is taken for the label."""
    lines[2][0], lines[2][8] = "json", "cls"


def incomplete(lines: list[list[str]]) -> None:
    lines[2].pop()


def negative(lines: list[list[str]]) -> None:
    lines[2][6] = "-1"


def huge(lines: list[list[str]]) -> None:
    lines[2][1] = str(10**30)


def of_thousands_of_digits(lines: list[list[str]]) -> None:
    lines[2][5] = "9" * 5000


def climbing(lines: list[list[str]]) -> None:
    lines[2][7] = "../face-2.jpg"


INDEXES = {
    swapped: r"face-[01]\.cls does not lie where it says",
    swapped_with_names: r"face-\d\.\w+ stands among the files of face-\d",
    shifted: r"face-2\.jpg does not lie where it says",
    overlapping: r"face-2\.jpg does not lie where it says",
    repeated: r"samples stand twice or out of their order",
    repeated_in_disguise: r"face-1 reaches beyond the next sample",
    exchanged: r"samples stand twice or out of their order",
    renamed: r"face-9\.\w+ does not lie where it says",
    other_extension: r"face-2\.\w+ stands among the files of face-2",
    incomplete: r"the line of sample 2 is not whole",
    negative: r"face-2\.jpg does not lie inside the tar",
    huge: r"a line is not whole",
    of_thousands_of_digits: r"face-2\.jpg does not lie inside the tar",
    climbing: r"\.\./face-2\.jpg does not lie where it says",
}


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("change", INDEXES)
def test_an_index_that_does_not_fit_its_tar_stops_the_reader_and_is_made_anew(tmp_path: Path, change, command) -> None:
    folder = tmp_path / "set" / "train"
    tar_at(folder / "b.tar", GOOD)
    index_shards(folder, EMOTIONS)
    before = tree(folder)
    head, *lines = index_path(folder / "b.tar").read_text().splitlines()
    words = [line.split() for line in lines]
    change(words)
    index_path(folder / "b.tar").write_text("\n".join([head, *map(" ".join, words)]) + "\n")
    with pytest.raises(InputError, match=rf"b\.idx: (?:{INDEXES[change]}).*; make it anew with: fer-dist shards index"):
        read(folder, command)
    assert any("its index is" in str(fault) for fault in verify_shards(folder).faults)
    index_shards(folder)
    assert tree(folder) == before
    assert labels(read(folder, command)) == LABELS


def test_the_index_of_another_build_stops_the_reader(tmp_path: Path) -> None:
    """The same keys in the same tar name, in another order and with other labels."""
    folder, other = tmp_path / "set" / "train", tmp_path / "other" / "train"
    tar_at(folder / "b.tar", GOOD)
    tar_at(other / "b.tar", [part for n in reversed(range(6)) for part in sample(f"face-{n}", (n + 1) % 3)])
    for place in (folder, other):
        index_shards(place, EMOTIONS)
    index_path(folder / "b.tar").write_bytes(index_path(other / "b.tar").read_bytes())
    with pytest.raises(InputError, match=r"b\.idx: .* it is the index of another tar; make it anew"):
        read(folder)


# Labels.

CLASSES: dict[str, tuple[bytes | None, str]] = {
    "a line break": (b"2\n", ""),
    "a zero before it": (b"02", ""),
    "absent": (None, "no label"),
    "empty": (b"", "''|b''"),
    "a word": (b"x", "'x'"),
    "out of range": (b"99", "99"),
    "negative": (b"-1", "-1"),
    "a sign": (b"+2", r"'\+2'"),
    "an underscore": (b"0_2", "'0_2'"),
    "a fraction": (b"2.0", r"'2\.0'"),
    "another alphabet's": ("٢".encode(), "label|not a number"),
    "of thousands of digits": (b"0" * 5000 + b"2", "'0{20}'"),
    "of megabytes": (b"2" + b" " * (17 << 20), "too many for a label"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_a_label_is_read_or_named_with_its_shard_and_key_at_every_command(tmp_path: Path, name: str) -> None:
    content, message = CLASSES[name]
    members = {"jpg": encoded(1), "json": b"{}"} | ({} if content is None else {"cls": content})
    folder = shard_set(tmp_path / "handed", [[*faces(3, form="JPEG", emotions=3), Face("odd", 2, members)]], EMOTIONS)
    indexed = tmp_path / "set" / "train"
    write(indexed / "b.tar", (folder / "drawn-train-000000.tar").read_bytes())
    if not message:
        assert index_shards(indexed, EMOTIONS).counts == {"surprise": 1, "fear": 1, "disgust": 2}
        for place in (indexed, folder):
            for command in ("train", "evaluate"):
                assert labels(read(place, command))["odd"] == "disgust"
            assert not verify_shards(place).faults
        return
    with pytest.raises(InputError, match=rf"b\.tar: odd: .*(?:{message})"):
        index_shards(indexed, EMOTIONS)
    for command in ("train", "evaluate"):
        for on_bad in ("stop", "skip"):
            with pytest.raises(InputError, match=rf"drawn-train-000000\.tar: odd: .*(?:{message})"):
                list(opened(folder, command, on_bad))
    assert any("odd: " in str(fault) for fault in verify_shards(folder).faults)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (b'{"emotion": "Disgusted"}', ""),
        (b"{}", "no label"),
        (b"{", r"its \.json (does not parse|is not an object)"),
        (b"[" * 100_000, r"its \.json (does not parse|is not an object)"),
        (b"[]", "its .json is not an object"),
        (b'{"emotion": 3}', "the emotion '3' is not among surprise, fear, disgust"),
        (b'{"emotion": "happy"}', "the emotion 'happy' is not among surprise, fear, disgust"),
    ],
)
def test_where_there_is_no_cls_the_json_gives_the_emotion_at_every_command(
    tmp_path: Path, facts: bytes, message: str
) -> None:
    odd = Face("odd", 2, {"jpg": encoded(1), "json": facts})
    folder = shard_set(tmp_path / "handed", [[*faces(3, form="JPEG", emotions=3), odd]], EMOTIONS)
    indexed = tmp_path / "set" / "train"
    write(indexed / "b.tar", (folder / "drawn-train-000000.tar").read_bytes())
    if not message:
        index_shards(indexed, EMOTIONS)
        assert labels(read(indexed))["odd"] == labels(read(folder, "train"))["odd"] == "disgust"
        assert not verify_shards(indexed).faults
        return
    with pytest.raises(InputError, match=f"odd: {message}"):
        index_shards(indexed, EMOTIONS)
    with pytest.raises(InputError, match=f"odd: {message}"):
        read(folder)


def test_emotions_that_only_a_json_names_are_dropped_on_request(tmp_path: Path) -> None:
    made = [Face(f"f-{i}", i % 2, {"jpg": encoded(i), "json": json.dumps({"emotion": word}).encode()})
            for i, word in enumerate(["fear", "contempt"] * 3)]  # fmt: skip
    folder = shard_set(tmp_path / "train", [made], ("fear", "contempt"))
    reader = Reader(folder, SEVEN, drop_extra=True)
    assert labels(list(evaluation_loader(PLAIN, reader, Placement(0, 1, CPU, False, 1), 8))) == {
        "f-0": "fear", "f-2": "fear", "f-4": "fear",
    }  # fmt: skip


# A worker whose share of a step does not decode.


def test_a_step_without_images_moves_no_weight_and_no_statistic(tmp_path: Path) -> None:
    """So the gradient that the other workers add to theirs is exactly zero."""
    settings = Config(
        data=replace(PLAIN, crop=20, size=24),
        model=ModelConfig(width=16),
        train=TrainConfig(precision="fp32", momentum=0, weight_decay=0),
    )
    engine = Engine(settings, build(network_of(settings)), World(0, 1, CPU))
    before = {name: value.clone() for name, value in engine.model.state_dict().items()}
    none = np.zeros(0, dtype=np.int64)
    samples, positions = Samples([], none, [], []), Positions(none, none)
    engine.step(Batch(0, torch.zeros(0, 3, 20, 20), torch.from_numpy(none), None, samples, positions, 0), lr=1)
    assert all(torch.equal(value, before[name]) for name, value in engine.model.state_dict().items())
    assert engine.totals().loss == 0


def test_a_loader_of_one_worker_among_several_gives_the_steps_of_which_nothing_decodes_in_their_turn(
    tmp_path: Path,
) -> None:
    made = faces(24, form="JPEG")
    for number in (3, 4, 5, 11, 23):
        made[number] = replace(made[number], members={**made[number].members, "jpg": b"" if number % 2 else b"garbage"})
    reader = Reader(shard_set(tmp_path / "train", [made]), SEVEN)
    order = Order(reader.counts, 2, seed=1)
    bad = {made[number].key for number in (3, 4, 5, 11, 23)}
    for rank in range(2):
        loader = training_loader(replace(PLAIN, on_bad="skip"), reader, order, Placement(rank, 2, CPU, False, 1), 0, 24)
        batches = list(loader)
        assert [batch.step for batch in batches] == list(range(24))
        for batch in batches:
            (key,) = reader.keys(order.batch(batch.step, rank, 2))
            assert batch.samples.keys == [key] * (key not in bad)
            assert len(batch.crops) == len(batch.labels) == len(batch.positions) == len(batch.samples)


def test_a_worker_of_which_nothing_decodes_for_long_stops(tmp_path: Path) -> None:
    made = [replace(face, members={**face.members, "jpg": b"garbage"}) for face in faces(40, form="JPEG")]
    reader = Reader(shard_set(tmp_path / "train", [made]), SEVEN)
    order = Order(reader.counts, 2, seed=1)
    loader = training_loader(replace(PLAIN, on_bad="skip"), reader, order, Placement(0, 2, CPU, False, 1), 0, 20)
    with pytest.raises(WorkError, match=r"none of this worker's images of 16 steps in a row decodes"):
        list(loader)


def test_two_processes_train_to_the_end_where_one_has_steps_without_an_image(tmp_path: Path) -> None:
    made = faces(16, form="JPEG")
    for number in (2, 7, 12):
        made[number] = replace(made[number], members={**made[number].members, "jpg": b"garbage"})
    folder = shard_set(tmp_path / "train", [made])
    data = ["--data.train", str(folder), "--data.on-bad", "skip"]
    # A share of one image needs more than one pixel at the end of the network.
    small = [*SMALL, "--data.size", "48", "--data.crop", "40", "--train.batch-size", "2"]
    ended = two_processes("demo", *data, *small, "--run.root", str(tmp_path), "--run.name", "two")
    assert "left out 3 images that did not decode" in ended.stderr + ended.stdout
    steps = ledger(tmp_path / "two")
    assert sorted(steps) == list(range(16))
    for epoch in (range(8), range(8, 16)):
        found = sorted(key for step in epoch for key in steps[step])
        assert found == [face.key for number, face in enumerate(made) if number not in (2, 7, 12)]
    _, model = load_model(tmp_path / "two")
    assert all(weight.isfinite().all() for weight in model.parameters())
