"""Turn a release into shard sets: list it, sort it, write the tars in parallel, publish each split in one step.

All work lies in OUT/.building until it is whole, so that a killed build can go on and OUT never holds half a set.
Checking finished sets is in verify.py, indexing tars that others made in index.py.
"""

import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import PIL

import fer_dist
from fer_dist.data.build.holdout import cut_validation
from fer_dist.data.build.listing import Listing, NothingLeftError, list_samples, reasons
from fer_dist.data.build.pack import Packed, PackTask, pack
from fer_dist.data.faces.fit import FaceFlags, check_faces
from fer_dist.data.processes import core_count, in_processes
from fer_dist.data.shards.crop_rule import CROP_RULE
from fer_dist.data.shards.manifest import MANIFEST, Manifest, Shard, index_path, load_manifest, save_manifest
from fer_dist.data.sources.source import Source
from fer_dist.errors import InputError, counted
from fer_dist.progress import Tally
from fer_dist.storage.folders import names_found
from fer_dist.storage.writing import check_owner, free_on, is_full, open_lock, take_lock, write_atomically

BUILDING = ".building"
LEFT_OUT = "left_out.jsonl"
MENDED = "mended.jsonl"

SMALLEST_SHARD, LARGEST_SHARD = 256, 4096  # of FER2013's 48x48 faces the largest is a tar of 18 MB

SAMPLE_OVERHEAD = 2560
"""Bytes of a sample in a tar beside its image: three headers, the label and a short json."""


@dataclass(frozen=True)
class BuildFlags(FaceFlags):
    """How a release becomes shards, as far as a user says."""

    shard_samples: int = 0
    """Images in a shard. 0: a sixteenth of the split, from 256 to 4,096, so that small sets use all cores too."""

    val_fraction: float = 0.0
    """Share of train that becomes val, by emotion and never through a subject; for releases without a val split."""

    workers: int = 0
    """Processes that read, check and write images; 0 means one for each core. The bytes do not depend on it."""

    overwrite: bool = False
    """Replace the finished splits that OUT already holds, each in one step once the new one is whole."""


@dataclass(frozen=True)
class BuildOptions(BuildFlags):
    """The flags, and the command line for the manifest's record of how the set was made."""

    command: str = ""


def build_shards(source: Source, out: Path, options: BuildOptions, progress: Tally | None = None) -> list[Manifest]:
    """Write one shard set for each split of a release, as OUT/<split>/.

    progress: called with the files listed (total None), then with the samples written and their total.
    Returns the manifests, train first. A killed build that is started again goes on from its finished shards.
    Raises InputError for options that do not fit, an empty split, a set that is there already, and a full OUT.
    """
    _check_options(options)
    options = replace(options, workers=options.workers or core_count())
    with _building(out) as building:
        splits = _publish(out, building, _plan(source, options))
        if splits is None:
            try:
                listing = list_samples(source, _empty(building / "runs"), progress)
                if options.val_fraction:
                    cut_validation(listing, options.val_fraction)
                _check_room(out, building, listing, options)
                _check_targets(out, source.dataset, list(listing.samples), options.overwrite)
                packed = _pack_all(source, building, listing, options, progress)
            except NothingLeftError as error:
                for book, name in ((error.listing.left_out, LEFT_OUT), (error.listing.mended, MENDED)):
                    book.save(out / name, set(book.lines))
                raise InputError(f"{error}; all of them are listed in {out / LEFT_OUT}") from None
            _stage(source, building, listing, packed, options)
            splits = _publish(out, building, _plan(source, options)) or []
            # What an earlier build left, of which nothing became a set.
            for name in (LEFT_OUT, MENDED):
                (out / name).unlink(missing_ok=True)
        return [load_manifest(out / split) for split in splits]


def _check_options(options: BuildOptions) -> None:
    if options.shard_samples < 0:
        raise InputError(f"--shard-samples {options.shard_samples}: a shard holds at least 1 image; 0 is the default")
    if not 0 <= options.val_fraction < 1:
        raise InputError(f"--val-fraction {options.val_fraction}: give a share from 0 to less than 1, such as 0.1")
    if options.workers < 0:
        raise InputError(f"--workers {options.workers}: give a number of processes, or 0 for one on each core")
    check_faces(options)


@contextmanager
def _building(out: Path) -> Iterator[Path]:
    """The folder of the work, held by this process alone; removed where the build is done or its input was wrong."""
    building = out / BUILDING
    made = [path for path in (building, out) if not path.exists()]
    try:
        building.mkdir(parents=True, exist_ok=True)
        check_owner(building)
        lock = os.fdopen(open_lock(building / "lock"))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another OUT") from error
    with lock:
        if not take_lock(lock.fileno()):
            raise InputError(f"{out}: another build is writing here; wait for it or choose another OUT")
        try:
            yield building
        except InputError:
            # A killed build's finished shards outlive a mistyped second command.
            _remove(made if building in made else [building / "runs"])
            raise
        except OSError as error:
            if is_full(error):
                _remove([building, *made])
                raise InputError(
                    f"{out}: the disk is full ({error.strerror}); nothing of this build was kept: "
                    "make room or choose another OUT"
                ) from error
            path = error.filename or out
            raise InputError(f"{path}: cannot be read or written ({error.strerror})") from error
        _remove([building])


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        if folder.name in (BUILDING, "runs"):
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _plan(source: Source, options: BuildOptions) -> dict[str, Any]:
    """What tells one build from another: a build that was killed while it published is finished only by the same."""
    return {"source": repr(source), **asdict(replace(options, workers=0, overwrite=False))}


def _in_order(splits: list[str]) -> list[str]:
    return sorted(splits, key=lambda split: (split != "train", split != "val", split))


def _check_room(out: Path, building: Path, listing: Listing, options: BuildOptions) -> None:
    # Of faces that are cut out of photographs nobody knows how large they are.
    image_bytes = 0 if options.detect or options.crop_faces else listing.image_bytes
    samples = sum(lines.count for lines in listing.samples.values())
    finished = sum(path.stat().st_size for path in building.glob("shards/*/*.tar"))
    needed = image_bytes + SAMPLE_OVERHEAD * samples - finished
    free = free_on(out)
    if needed > free:
        raise InputError(
            f"{out}: {counted(samples, 'image')} would take about {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free; make room or choose another OUT"
        )


def _check_targets(out: Path, dataset: str, splits: list[str], overwrite: bool) -> None:
    """Nothing but a finished set may stand where a split goes, and that only where it shall be overwritten."""
    for split in _in_order(splits):
        folder = out / split
        if (folder / MANIFEST).is_file():
            if not overwrite:
                raise InputError(f"{folder}: holds a finished set already; add --overwrite to replace it")
            shards = load_manifest(folder).shards
            own = {
                MANIFEST,
                LEFT_OUT,
                MENDED,
                *(s.file for s in shards),
                *(index_path(Path(s.file)).name for s in shards),
            }
        else:
            own = set()
        if folder.exists() and (not folder.is_dir() or set(os.listdir(folder)) - own):
            found = names_found(folder) if folder.is_dir() else "a file"
            raise InputError(f"{folder}: holds what no build wrote ({found}); move it away or choose another OUT")
    if overwrite:
        # A val that an earlier build cut from train would overlap with the new train.
        for folder in sorted({path.parent for path in out.glob(f"*/{MANIFEST}")} - {out / split for split in splits}):
            if load_manifest(folder).dataset == dataset:
                raise InputError(
                    f"{folder}: left from another build of {dataset}, and this one writes {', '.join(splits)} only; "
                    "remove it first"
                )


def _pack_all(
    source: Source, building: Path, listing: Listing, options: BuildOptions, progress: Tally | None
) -> dict[str, list[Packed]]:
    """Write all shards of all splits; returns them by split, in order."""
    total = sum(lines.count for lines in listing.samples.values())
    done = 0
    packed: dict[str, list[Packed]] = {split: [] for split in _in_order(list(listing.samples))}
    tasks = (task for split in packed for task in _tasks(source, building, listing, split, options))
    with closing(in_processes(_pack_split, tasks, options.workers)) as results:
        for split, tried, result in results:
            packed[split].append(result)
            for book, rows in ((listing.left_out, result.left_out), (listing.mended, result.mended)):
                for row in rows:
                    book.add(split, *row)
            done += tried
            if progress:
                progress(done, total)
    for split, shards in packed.items():
        if not any(result.shard.samples for result in shards):
            raise NothingLeftError(
                f"{source.dataset}: the split {split!r} is empty; {reasons(listing, split)}", listing
            )
    return packed


def _tasks(source: Source, building: Path, listing: Listing, split: str, options: BuildOptions) -> Iterator[PackTask]:
    folder = building / "shards" / split
    folder.mkdir(parents=True, exist_ok=True)
    # What a build was writing when it was killed; a release's tars are large.
    for unfinished in folder.glob(".*.tmp"):
        unfinished.unlink()
    lines = listing.unique(split)
    faces = FaceFlags(**{item.name: getattr(options, item.name) for item in fields(FaceFlags)})
    number = 0
    while batch := list(islice(lines, _shard_samples(listing, split, options))):
        yield PackTask(source, split, folder / f"{number:06d}", batch, faces, _versions(options))
        number += 1


def _shard_samples(listing: Listing, split: str, options: BuildOptions) -> int:
    """Images in a shard of this split. The number of workers plays no part: the bytes must not depend on it."""
    return options.shard_samples or min(max(-(-listing.samples[split].count // 16), SMALLEST_SHARD), LARGEST_SHARD)


def _pack_split(task: PackTask) -> tuple[str, int, Packed]:
    """The split, the images that were tried, and the shard."""
    return task.split, len(task.lines), pack(task)


def _versions(options: BuildOptions) -> dict[str, str]:
    """Of what the bytes of a shard depend on."""
    detector = {"onnxruntime": importlib.metadata.version("onnxruntime")} if options.detect else {}
    return {
        "fer_dist": fer_dist.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
        **detector,
    }


def _stage(
    source: Source, building: Path, listing: Listing, packed: dict[str, list[Packed]], options: BuildOptions
) -> None:
    """Give every split its final form under .building/ready, and say last which splits stand there."""
    ready = _empty(building / "ready")
    splits = list(packed)
    for split, results in packed.items():
        folder = ready / split
        folder.mkdir()
        shards: list[Shard] = []
        for result in results:
            # A shard whose images were all left out does not take a number.
            if result.shard.samples:
                tar = building / "shards" / split / result.shard.file
                shard = replace(result.shard, file=f"{source.dataset}-{split}-{len(shards):06d}.tar")
                tar.rename(folder / shard.file)
                index_path(tar).rename(index_path(folder / shard.file))
                shards.append(shard)
        # What belongs to no split in particular is told with the first.
        told = {split} | ({""} | set(listing.left_out.counts) - set(splits) if split == splits[0] else set())
        left_out, mended = listing.left_out.told(told), listing.mended.told({split})
        listing.left_out.save(folder / LEFT_OUT, told)
        listing.mended.save(folder / MENDED, {split})
        built = {
            "command": options.command,
            "variant": source.variant,
            "remarks": list(source.remarks),
            "versions": _versions(options),
            "shard_samples": _shard_samples(listing, split, options),
            "val_fraction": options.val_fraction,
            CROP_RULE: asdict(options.crop_rule),
            "decoding_warnings": sum(result.warned for result in results),
            "mended": mended,
        }
        save_manifest(folder, Manifest(source.dataset, split, source.emotions, tuple(shards), built, left_out))
    write_atomically(ready / "plan.json", json.dumps({"splits": splits, "plan": _plan(source, options)}).encode())


def _publish(out: Path, building: Path, plan: dict[str, Any]) -> list[str] | None:
    """Move every staged split to its folder; also those of a build that was killed in the middle of it.

    Returns the splits where they are of this very plan, else None: then there is something to build.
    """
    ready = building / "ready"
    try:
        staged = json.loads((ready / "plan.json").read_text())
    except (OSError, ValueError):
        return None
    for split in staged["splits"]:
        if (ready / split).is_dir():
            if (out / split).exists():
                (out / split).rename(_empty(building / "replaced") / split)
            (ready / split).rename(out / split)
    handle = os.open(out, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    shutil.rmtree(ready)
    splits: list[str] = staged["splits"]
    return splits if staged["plan"] == plan else None
