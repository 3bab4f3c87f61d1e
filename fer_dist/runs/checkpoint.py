"""Checkpoints that are whole or not there: safetensors and json, written first, listed last. No pickle.

`Saver` writes them beside the training: the loop waits for a copy in memory, not for the disk or a store.

A run's `checkpoints/` holds a folder for each step and `list.json`, which names the complete ones with the sha256 of
each file. What is not listed, or does not match its hash, is passed over for the one before.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from fer_dist.errors import InputError, WorkError, naming
from fer_dist.runs.folder import CHECKPOINTS, RunFolder, entered
from fer_dist.runs.listing import MODEL, MOST_BYTES, MOST_FILE_BYTES, NO_CHECKPOINT, Entry, as_text, parsed
from fer_dist.runs.network import WRITTEN_BY_US, Network, build, check_described, check_weights, described
from fer_dist.storage.untrusted import Count, Number, Value, read_or_nothing, read_regular, record
from fer_dist.storage.writing import flush_folder, is_full, write_atomically

OPTIMIZER, STATE, LIST = "optimizer.safetensors", "state.json", "list.json"

SAFETENSORS_ERRORS = (SafetensorError, AttributeError, KeyError, RuntimeError, TypeError, ValueError)
"""What the library raises of a damaged file, and where torch has no such type of numbers."""

SMALLEST = 32
"""Side of the smallest image that the whole network sees."""


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds. state: plain values (scaler, images that did not decode, ranks)."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any] = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True)
class Newest:
    """A checkpoint to go on from. entry, contents: of its files, from which another rank has the same snapshot."""

    entry: Entry
    contents: dict[str, bytes]
    snapshot: Snapshot


class Checkpoints:
    """The checkpoints of one run folder."""

    def __init__(
        self,
        run_folder: Path,
        keep_last: int = 2,
        warn: Callable[[str], None] | None = None,
        home: RunFolder | None = None,
    ) -> None:
        """home: where the run folder is the local copy of one in a store, or several processes could write to it.

        warn: else that of home.
        """
        self.folder = run_folder / CHECKPOINTS
        self.keep_last = keep_last
        self.home = home or RunFolder(str(run_folder))
        self.warn = warn or self.home.warn

    def save(self, snapshot: Snapshot, network: Network) -> None:
        """Write a checkpoint, list it, and drop those that are neither among the newest nor the best.

        Raises WorkError where the disk is full, or another process goes on with the run.
        """
        contents = {
            MODEL: model_content(snapshot.model, network),
            OPTIMIZER: save_tensors(_whole(snapshot.optimizer)),
            STATE: json.dumps(snapshot.state, indent=1).encode(),
        }
        # A name of its own: a process that lost the run may still be writing the same step.
        temporary = self.folder / f".{snapshot.step}.{uuid4().hex[:8]}.tmp"
        try:
            temporary.mkdir(parents=True)
            for name, content in contents.items():
                write_atomically(temporary / name, content)
            files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
            with self.home.held() as is_ours:
                if not is_ours:
                    raise WorkError(self.home.lost)
                self._enlist(temporary, Entry(snapshot.step, files, snapshot.score))
        except OSError as error:
            if is_full(error):
                raise WorkError(
                    f"{self.folder}: no room for the checkpoint of step {snapshot.step} ({error.strerror}); the ones "
                    "before it are kept. Make room, and go on with --resume"
                ) from None
            if not self.home.is_ours():
                # Its owner clears away what it does not know.
                raise WorkError(self.home.lost) from None
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _enlist(self, written: Path, entry: Entry) -> None:
        """Put a written checkpoint in its place, list it, and drop what need not be kept."""
        # What is listed from this step on is damaged: the run went on from an older checkpoint, and comes here again.
        kept = self._kept([*(known for known in self.entries() if known.step < entry.step), entry])
        target = self.folder / str(entry.step)
        shutil.rmtree(target, ignore_errors=True)
        written.rename(target)
        flush_folder(self.folder)
        write_atomically(self.folder / LIST, as_text(kept))
        self._drop_all_but({entry.step for entry in kept})

    def entries(self) -> list[Entry]:
        """The listed checkpoints, oldest first.

        Where the list does not parse, the folders that stand there, with a warning: each was whole when it was named.
        """
        path = self.folder / LIST
        if not path.is_file():
            return []
        try:
            return parsed(read_regular(path, MOST_BYTES), str(path))
        except (InputError, OSError):
            found = self._standing()
            self.warn(f"{path}: does not parse; the {len(found)} checkpoints beside it are taken as they are")
            return found

    def newest(self) -> Newest | None:
        """The newest checkpoint whose files are what the list says. Damaged ones are passed over with a warning."""
        for entry in reversed(self.entries()):
            try:
                contents = self._verified(entry)
                # Files may be those that are listed, and still not those of a checkpoint.
                return Newest(entry, contents, snapshot_of(entry, contents))
            except InputError as error:
                self.warn(f"{self.folder}/{error}; checkpoint {entry.step} is passed over")
        return None

    def model_file(self, which: str) -> Path:
        """The weights of a checkpoint: last, best or a step; where that is damaged, those before it, with a warning.

        Raises InputError where there is no such one.
        """
        entries = self.entries()
        if not entries:
            raise InputError(f"{self.folder.parent}: {NO_CHECKPOINT}")
        scored = [entry for entry in entries if entry.score is not None]
        if which == "last":
            candidates = entries
        elif which == "best":
            candidates = sorted(scored, key=_by_score)
        else:
            candidates = [entry for entry in entries if str(entry.step) == which]
        if not candidates:
            steps = ", ".join(str(entry.step) for entry in entries)
            raise InputError(
                f"{self.folder.parent}: no checkpoint {which!r}; there are last, best, and the steps {steps}"
            )
        faults = []
        for entry in reversed(candidates):
            try:
                self._verified(entry)
            except InputError as error:
                faults.append(f"{self.folder}/{error}; checkpoint {entry.step} is passed over")
                continue
            if faults:
                self.warn(f"{'; '.join(faults)}, and that of step {entry.step} taken")
            return self.folder / str(entry.step) / MODEL
        raise InputError(f"{self.folder}: every checkpoint that {which!r} could mean is damaged")

    def _standing(self) -> list[Entry]:
        """The whole checkpoints in the folder, oldest first, by what their files hold now."""
        entries = []
        for folder in self.folder.iterdir():
            paths = [folder / name for name in (MODEL, OPTIMIZER, STATE)]
            if folder.name.isdigit() and all(path.is_file() for path in paths):
                files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
                entries.append(Entry(int(folder.name), files))
        return sorted(entries, key=lambda entry: entry.step)

    def _verified(self, entry: Entry) -> dict[str, bytes]:
        """Its files. Raises InputError that names the one that is missing or damaged."""
        contents = {}
        for name, digest in entry.files.items():
            path = self.folder / str(entry.step) / name
            content = read_or_nothing(path, MOST_FILE_BYTES)
            if hashlib.sha256(content).hexdigest() != digest and self.home.bring(f"{CHECKPOINTS}/{entry.step}/{name}"):
                content = read_or_nothing(path, MOST_FILE_BYTES)
            if hashlib.sha256(content).hexdigest() != digest:
                raise InputError(f"{entry.step}/{name}: {'damaged' if content else 'missing'}")
            contents[name] = content
        return contents

    def _kept(self, entries: list[Entry]) -> list[Entry]:
        entries = sorted(entries, key=lambda entry: entry.step)
        best = max((entry for entry in entries if entry.score is not None), key=_by_score, default=None)
        return [entry for entry in entries if entry in entries[-self.keep_last :] or entry is best]

    def _drop_all_but(self, steps: set[int]) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in {str(step) for step in steps}:
                shutil.rmtree(path, ignore_errors=True)


def model_content(model: dict[str, Tensor], network: Network) -> bytes:
    """What a file of weights holds: the same weights and description give the same bytes."""
    # One key only: the format writes several in an order that changes.
    return save_tensors(_whole(model), {"network": json.dumps(asdict(network))})


def weights_file(home: RunFolder, which: str) -> Path:
    """The weights of a run's checkpoint, as `Checkpoints.model_file`; of what is no folder, the file itself."""
    return Checkpoints(home.path, home=home).model_file(which) if home.path.is_dir() else home.path


@dataclass(frozen=True)
class _State:
    """Of a checkpoint's state, what a run goes on with."""

    scaler: dict[str, Number] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    worlds: dict[str, Count] = field(default_factory=dict)


def snapshot_of(entry: Entry, contents: dict[str, bytes]) -> Snapshot:
    """What the files of a checkpoint hold. Raises InputError that names the one that holds something else."""
    for name in (MODEL, OPTIMIZER, STATE):
        if name not in contents:
            raise InputError(f"{entry.step}/{name}: not in the list of checkpoints")
    record(_State, contents[STATE], f"{entry.step}/{STATE}")
    state = record(dict[str, Value], contents[STATE], f"{entry.step}/{STATE}")
    tensors: dict[str, dict[str, Tensor]] = {}
    for name in (MODEL, OPTIMIZER):
        try:
            tensors[name] = load_tensors(contents[name])
        except SAFETENSORS_ERRORS as error:
            raise InputError(f"{entry.step}/{name}: not a safetensors file ({error})") from None
    return Snapshot(entry.step, tensors[MODEL], tensors[OPTIMIZER], state, entry.score)


def load_network(run: str | Path | RunFolder, given: Collection[str] = ()) -> tuple[Network, dict[str, Tensor]]:
    """A network's description and weights. Takes and raises what `load_model` does."""
    network, model = load_model(run, given=given)
    return network, dict(model.state_dict())


def load_model(
    run: str | Path | RunFolder, which: str = "last", given: Collection[str] = ()
) -> tuple[Network, nn.Module]:
    """A trained network in evaluation mode, and its description, from a run folder (also at a URL) or a .safetensors.

    given: the user's own networks that may be imported, as `build`.
    Raises InputError where there is none, or the file is not one of ours: its description, and the name, shape and kind
    of each of its weights; or where they give no numbers.
    """
    path = weights_file(run if isinstance(run, RunFolder) else entered(str(run)), which)
    source = f"{path}: not a model of fer_dist"
    try:
        with safe_open(path, framework="pt") as file:
            network = described((file.metadata() or {}).get("network", ""), source)
            names = file.keys()
            check_described(network, {name: list(file.get_slice(name).get_shape()) for name in names}, source)
            tensors = {name: file.get_tensor(name) for name in names}
    except SAFETENSORS_ERRORS as error:
        raise InputError(f"{source} ({error}); {WRITTEN_BY_US}") from None
    # Not on torch's meta device, for which it imports 900 modules in 7 s; these weights are drawn in 0.2 s.
    with torch.random.fork_rng(devices=[]), naming(str(path)):
        model = build(network, given)
    check_weights(model, tensors, source)
    model.load_state_dict(tensors)
    model.eval()
    with torch.no_grad():
        side = SMALLEST if network.is_ours else network.crop
        if not model(torch.ones(1, 3, side, side)).isfinite().all():
            raise InputError(f"{path}: its weights give no numbers; take another --checkpoint, or train it again")
    return network, model


def description_of(path: Path) -> Network:
    """What a file of weights says of its network, which is not built. Raises InputError where it is none of ours."""
    source = f"{path}: not a model of fer_dist"
    try:
        with safe_open(path, framework="pt") as file:
            return described((file.metadata() or {}).get("network", ""), source)
    except SAFETENSORS_ERRORS as error:
        raise InputError(f"{source} ({error}); {WRITTEN_BY_US}") from None


def _by_score(entry: Entry) -> tuple[float, int]:
    """Higher is better; of equal scores the earlier checkpoint."""
    return (entry.score if entry.score is not None else float("-inf"), -entry.step)


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # The format knows only row-major tensors; channels_last weights are put in order, and back by load_state_dict.
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


class Saver:
    """Writes one checkpoint at a time, in their order. What goes wrong is raised at the next call."""

    def __init__(self, checkpoints: Checkpoints, network: Network, written: Callable[[], None]) -> None:
        """written: called in the writing thread after each checkpoint that is complete."""
        self._checkpoints = checkpoints
        self._network = network
        self._written = written
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._writing: Future[None] | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Copy a checkpoint's tensors and have them written. Waits where the one before is still being written."""
        self.wait()
        held = replace(snapshot, model=_copies(snapshot.model), optimizer=_copies(snapshot.optimizer))
        self._writing = self._worker.submit(self._write, held)

    def wait(self) -> None:
        """Until the checkpoint is on the disk. Raises WorkError where it cannot be."""
        if self._writing:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._worker.shutdown()

    def _write(self, snapshot: Snapshot) -> None:
        self._checkpoints.save(snapshot, self._network)
        self._written()


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Row-major, as they are written: the writing thread must not compute with torch.

    Torch would open a second team of threads for it, and once there are more of them than cores those of the training
    no longer wait for each other awake: each step of a small network then takes half as long again, to the end.
    """
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
