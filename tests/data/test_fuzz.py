"""Mutated tars, indexes and images, through index, reader and loader: an error, a skip, or the label that was meant.

Run by itself, this file is the process that takes them in, so that a crash is a failure that names its seed.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator
from support import hostile
from support.faces import encoded, environment
from support.hostile import EMOTIONS, relabelled, sample, tar_at

SAMPLES = 60
"""More than four times the decoder's threads and one, so that it reads the headers of a batch on all of them."""

FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
SECONDS = 30
"""That one input may take; it takes some hundredths."""


def run(seed: int, count: int, folder: Path) -> Counter[str]:
    """Take in `count` inputs in another process. Returns how many had each outcome."""
    inside = folder / "inside"
    inside.mkdir(parents=True)
    (folder / "sentinel").write_text("untouched")
    words = [sys.executable, "-X", "faulthandler", __file__, str(seed), str(count), str(inside)]
    more = {"TMPDIR": str(inside), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(words, capture_output=True, text=True, env=environment() | more, timeout=60 + count)
    last = (inside / "last").read_text()
    assert ended.returncode == 0, f"seed and number {last}: exit {ended.returncode}\n{ended.stderr[-3000:]}"
    assert {path.name for path in folder.iterdir()} == {"inside", "sentinel"}
    assert (folder / "sentinel").read_text() == "untouched"
    assert {path.name for path in inside.iterdir()} == {"last"}
    return Counter(json.loads(ended.stdout))


def run_all(seeds: range, count: int, folder: Path) -> Counter[str]:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        parts = pool.map(lambda seed: run(seed, count, folder / str(seed)), seeds)
        return sum(parts, Counter())


def test_two_hundred_mutated_inputs_give_an_error_a_skip_or_the_right_labels(tmp_path: Path) -> None:
    outcomes = run_all(range(2), 100, tmp_path)
    assert outcomes.total() == 200
    assert len(outcomes) >= 6, outcomes


# Two minutes and more on two cores.
@pytest.mark.slow
def test_twelve_hundred_mutated_inputs_give_an_error_a_skip_or_the_right_labels(tmp_path: Path) -> None:
    outcomes = run_all(range(100, 108), 150, tmp_path)
    assert outcomes.total() == 1200
    print(json.dumps(outcomes, indent=1))


# What one process does.


@dataclass(frozen=True)
class Drawn:
    """A set before anything happens to it: label and image of each key, and the members of its tar."""

    labels: dict[str, int]
    images: dict[str, bytes]
    members: list[bytes]


def drawn(rng: Generator, form: int, spoil: int) -> Drawn:
    """spoil: how many of the images are damaged."""
    stem = "face-" if form == tarfile.USTAR_FORMAT or rng.random() < 0.5 else "n" * 120
    labels = {f"{stem}{number}": int(rng.integers(3)) for number in range(SAMPLES)}
    images = {key: encoded(number, ("JPEG", "PNG")[number % 2], 16, "RGB") for number, key in enumerate(labels)}
    for key in rng.choice(list(labels), spoil, replace=False):
        images[key] = damaged(rng, images[key])
    members = [part for key, label in labels.items() for part in sample(key, label, form, images[key])]
    return Drawn(labels, images, members)


def damaged(rng: Generator, image: bytes) -> bytes:
    odd = list((hostile.broken() | hostile.bombs() | hostile.unusual()).values())
    content = bytearray(image)
    head = content.index(b"\xff\xda") if content[:2] == b"\xff\xd8" else 60
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(head if rng.random() < 0.5 else len(content)))
        until = at + int(rng.integers(1, 200))
        match rng.integers(8):
            case 0:
                content[at] ^= 1 << int(rng.integers(8))
            case 1:
                content[at:until] = bytes(len(content[at:until]))
            case 2:
                content[at:until] = rng.bytes(len(content[at:until]))
            case 3:
                del content[at:until]
            case 4:
                content[at:at] = content[at:until]
            case 5:
                return bytes(content[:at])
            case 6:
                return bytes(content[:at]) + image[-12:]
            case 7:
                return odd[rng.integers(len(odd))]
        if len(content) < 80:
            break
    return bytes(content)


def mutated_tar(rng: Generator, members: list[bytes]) -> bytes:
    """Damage that may reach any byte, and headers that lie with a checksum that is right."""
    members = list(members)
    for _ in range(rng.integers(1, 3)):
        one, other = (int(number) for number in rng.integers(len(members), size=2))
        match rng.integers(6):
            case 0:
                sizes = (
                    b"%011o\0" % rng.integers(20_000),
                    b"\xff" * 10 + b"\xf0\0",
                    b"\x80" + rng.bytes(11),
                    b"77777777777\0",
                )
                members[one] = relabelled(members[one], size=sizes[rng.integers(4)])
            case 1:
                members[one] = relabelled(members[one], kind=b"0123456LKxgSV\0"[(k := rng.integers(14)) : k + 1])
            case 2:
                names = (
                    members[other][:100],
                    b"../escaped.jpg",
                    b"/tmp/escaped.jpg",
                    b".hidden",
                    members[one][:8] + b"png",
                    b"a\0",
                )
                members[one] = relabelled(members[one], name=names[rng.integers(6)])
            case 3:
                members[one], members[other] = members[other], members[one]
            case 4:
                members.insert(one, members[other])
            case 5:
                # Contents of one length change places.
                if len(members[one]) == len(members[other]):
                    members[one], members[other] = (
                        members[one][:512] + members[other][512:], members[other][:512] + members[one][512:]
                    )  # fmt: skip
    content = bytearray(b"".join(members) + bytes(1024))
    at = int(rng.integers(len(content)))
    until = at + int(rng.integers(1, 3000))
    match rng.integers(8):
        case 0:
            content[at] ^= 1 << int(rng.integers(8))
        case 1:
            content[at:until] = bytes(len(content[at:until]))
        case 2:
            del content[at:]
        case 3:
            at, until = at // 512 * 512, until // 512 * 512
            content[at:at] = content[at:until]
        case 4:
            del content[at // 512 * 512 : until // 512 * 512]
    return bytes(content)


def mutated_index(rng: Generator, text: str, stale: str) -> bytes:
    """stale: the index of another build."""
    if rng.random() < 0.1:
        return stale.encode()
    head, *rest = text.splitlines()
    lines = [line.split() for line in rest]
    for _ in range(rng.integers(1, 4)):
        one, other = (lines[number] for number in rng.integers(len(lines), size=2))
        part, field = 4 * int(rng.integers(len(one) // 4)), int(rng.integers(4))
        match rng.integers(7):
            case 0:
                one[part + field], other[part + field] = other[part + field], one[part + field]
            case 1:
                one[part : part + 4], other[part : part + 4] = other[part : part + 4], one[part : part + 4]
            case 2:
                numbers = (int(rng.integers(-2000, 100_000)), 2**63, -1, int(rng.integers(60)) * 512)
                one[part + 1 + field % 2] = str(numbers[rng.integers(4)])
            case 3:
                one[0], one[8] = one[8], one[0]
            case 4:
                one[:] = other
            case 5:
                del one[part + field]
                one += ["x"] * (-len(one) % 4)
            case 6:
                one[part + 3] = other[part + 3]
    content = bytearray("\n".join([head, *map(" ".join, lines)]).encode() + b"\n")
    if rng.random() < 0.2:
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return bytes(content[: int(rng.integers(len(content)))] if rng.random() < 0.05 else content)


def take_in(rng: Generator, root: Path) -> str:
    """Make a set, mutate it, read it with every check. Returns its outcome."""
    from fer_dist.data.shards.index import index_shards
    from fer_dist.data.shards.manifest import index_path
    from fer_dist.errors import InputError

    kind = ("tar", "index", "image")[rng.integers(3)]
    form = FORMS[rng.integers(3)]
    made = drawn(rng, form, spoil=int(rng.integers(1, 9)) if kind == "image" else 0)
    folder = root / "set" / "train"
    if kind == "tar":
        tar = tar_at(folder / "b.tar", [mutated_tar(rng, made.members)], end=b"")
    else:
        tar = tar_at(folder / "b.tar", made.members)
    try:
        index_shards(folder, EMOTIONS)
    except InputError as error:
        check_message(str(error))
        # Every other set is as its index wants it.
        if kind != "tar":
            raise
        return "tar: not indexed"
    if kind == "index":
        other = tar_at(root / "other" / "train" / "b.tar", drawn(rng, form, 0).members)
        index_shards(other.parent, EMOTIONS)
        path = index_path(tar)
        path.write_bytes(mutated_index(rng, path.read_text(), index_path(other).read_text()))
    return f"{kind}: {delivered(rng, kind, made, folder)}"


def check_message(text: str) -> None:
    """One line, which names the shard or its index."""
    assert "\n" not in text, text
    assert "b.tar" in text or "b.idx" in text, text


def delivered(rng: Generator, kind: str, made: Drawn, folder: Path) -> str:
    import torch

    from fer_dist.config.settings import DataConfig
    from fer_dist.data.loading.loader import Placement, evaluation_loader, training_loader
    from fer_dist.data.loading.order import Order
    from fer_dist.data.loading.reader import Reader
    from fer_dist.errors import InputError, WorkError

    data = DataConfig(size=24, crop=20, on_bad="skip" if rng.random() < 0.7 else "stop")
    place = Placement(0, 1, torch.device("cpu"), half=False, threads=2)
    try:
        reader = Reader(folder, EMOTIONS)
        if rng.random() < 0.5:
            loader = evaluation_loader(data, reader, place, SAMPLES)
        else:
            order = Order(reader.counts, int(reader.counts.sum()), seed=0)
            loader = training_loader(data, reader, order, place, 0, 1)
        batches = list(loader)
    except InputError as error:
        check_message(str(error))
        return "the reader stops"
    except WorkError as error:
        check_message(str(error))
        if data.on_bad == "skip":
            raise
        return "the loader stops at an image"
    seen = []
    for batch in batches:
        for key, label, content in zip(batch.samples.keys, batch.labels.tolist(), batch.samples.content, strict=True):
            assert made.labels[key] == label, f"{key}: label {label}"
            assert kind == "tar" or content.tobytes() == made.images[key], f"{key}: another image"
            seen.append(key)
        assert bool(torch.isfinite(batch.crops).all())
    assert len(set(seen)) == len(seen)
    assert len(seen) + len(loader.bad) == reader.counts.sum()
    assert not set(seen) & set(loader.bad)
    return "some are skipped" if loader.bad else "all are read"


def main(seed: int, count: int, folder: Path) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(count):
        (folder / "last").write_text(f"{seed} {number}")
        signal.alarm(SECONDS)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            outcomes[take_in(np.random.default_rng([seed, number]), Path(scratch))] += 1
    signal.alarm(0)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
