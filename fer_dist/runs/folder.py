"""Where the files of a run lie: in a local folder, or in a store, to which a local copy is sent beside the work.

Of a run in a store everything is written to the local copy first, as if that were the run folder. The files of a
checkpoint are sent before the list that names them, so that the store never lists what it does not hold.
"""

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

from fer_dist.errors import InputError, WorkError
from fer_dist.runs.listing import MOST_BYTES, MOST_FILE_BYTES, NO_CHECKPOINT, Entry, parsed
from fer_dist.storage.paths import folder_at, is_url, user_cache, without_secrets
from fer_dist.storage.store import Store
from fer_dist.storage.untrusted import read_or_nothing, read_regular
from fer_dist.storage.writing import make_own, one_at_a_time, write_atomically

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
LIST = f"{CHECKPOINTS}/list.json"
OWNER = f"{CHECKPOINTS}/owner"
LEDGER = "ledger"
SCORES = "scores.json"
ONNX = ".onnx"
"""Ending of a file that find_run finds beside .safetensors."""

EXPORT = "export"
CARD = "README.md"
RESULTS = {"predictions", "figures", "robustness", EXPORT, CARD, SCORES}
"""What an evaluation or an export leaves in a run folder."""


class RunFolder:
    """One run's folder, as one rank sees it.

    address: what a user calls it. path: the local folder, in which everything is read and written.
    """

    def __init__(self, address: str, scratch: str = "", rank: int = 0, trains: bool = True) -> None:
        """address: a path, or a URL that fsspec can write. scratch: local folder for the copies of runs in stores.

        trains: whether checkpoints are written; else what is sent are results of an evaluation.
        """
        self.address = without_secrets(address)
        self.rank = rank
        self.trains = trains
        self.warn: Callable[[str], None] = lambda text: None
        self.store: Store | None = None
        self.path = Path(address)
        if is_url(address):
            location = folder_at(address)
            folder = location.folder
            self.store = Store(location)
            number = hashlib.sha256(without_secrets(folder).encode()).hexdigest()[:16]
            self.path = Path(scratch or Path(user_cache(), "runs")) / number / folder.rpartition("/")[2]
        self.lost = f"{self.address}: another process goes on with this run; this one stops, and saves no more"
        """What a user reads where it does."""
        self._owner = ""
        self._is_lost = False
        self._sent: dict[str, tuple[int, int]] = {}
        self._list_there = b""
        self._stored: set[str] = set()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="send")
        self._sending: Future[str] | None = None

    @property
    def ledger(self) -> str:
        """The name of this rank's ledger."""
        return f"{LEDGER}/{self.rank}.tsv"

    def read(self, name: str) -> bytes | None:
        """A file as the store, or else the folder, has it; None where it is not there."""
        if self.store:
            return self.store.read_if_there(name)
        path = self.path / name
        return read_regular(path, MOST_BYTES) if path.is_file() else None

    def is_empty(self) -> bool:
        if self.store:
            return not self.store.names()
        return not self.path.exists() or not any(self.path.iterdir())

    def put(self, name: str, content: bytes) -> None:
        """Write a file at once to the store, or else to the folder."""
        if self.store:
            self.store.put(name, content)
        else:
            self._write(name, content)

    def enter(self) -> None:
        """Make the local folder ready to go on in: what the store has and a resumed run reads comes here.

        A copy of another run under the same name goes away. Rank 0 enters before the others do. Raises InputError
        where another user made the copy's folder.
        """
        if not self.store:
            self.path.mkdir(parents=True, exist_ok=True)
            return
        try:
            make_own(self.path.parent)
        except OSError as error:
            raise InputError(f"--run.scratch: {self.path.parent}: {error.strerror}; choose another") from None
        self.path.mkdir(exist_ok=True)
        with one_at_a_time(self.path):
            known = self.store.read_if_there(CONFIG)
            if known is None or known != read_or_nothing(self.path / CONFIG, MOST_BYTES):
                shutil.rmtree(self.path)
                self.path.mkdir()
            if known is not None:
                self._write(CONFIG, known)
        if self.rank == 0:
            self._stored = self.store.names()
            self._take_list()
            self.bring(SCORES)
        if not (self.path / self.ledger).exists():
            self.bring(self.ledger)

    def bring(self, name: str) -> bool:
        """Fetch a file from the store into the local folder. Whether there was one."""
        content = self.store.read_if_there(name, MOST_FILE_BYTES) if self.store else None
        if content is None:
            return False
        self._write(name, content)
        self._sent[name] = _stamp(self.path / name)
        return True

    def claim(self) -> str:
        """Become the one that saves here: a process that did so before, and lives or wakes again, changes no more.

        Returns the owner's name, by which the other ranks `adopt` it. The folder was entered.
        """
        self._owner = uuid.uuid4().hex
        with one_at_a_time(self.path / CHECKPOINTS):
            self._write(OWNER, self._owner.encode())
        if self.store:
            self.store.put(OWNER, self._owner.encode())
            self._take_over_list(self.store)
        return self._owner

    def adopt(self, owner: str) -> None:
        """Belong to the process that has claimed the run: as another rank of it."""
        self._owner = owner

    def is_ours(self) -> bool:
        """Whether no other process is known to have claimed the run since. Asks no store: sending does."""
        self._is_lost = self._is_lost or self._is_other(read_or_nothing(self.path / OWNER, MOST_BYTES))
        return not self._is_lost

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Whether the run is still ours, which stays so meanwhile: on the same disk a claim waits for the end."""
        with one_at_a_time(self.path / CHECKPOINTS) if self._owner else nullcontext():
            yield self.is_ours()

    def send_ledger(self) -> None:
        """Have this rank's ledger in the store before a checkpoint that it goes up to: it is kept as a proof."""
        if self.store and (self.path / self.ledger).exists():
            try:
                self._send_file(self.ledger)
            except WorkError as error:
                if not self._is_lost:
                    self.warn(str(error))

    def send(self) -> None:
        """Have what changed go to the store, beside the work. Where the store refuses, a later call tries again."""
        if not self.store or (self._sending and not self._sending.running() and not self._sending.done()):
            return
        self._sending = self._worker.submit(self._send)

    def close(self) -> None:
        """Wait until the store has everything.

        Raises WorkError where it refuses, and the local copy has it; and where the run is another process's.
        """
        if not self.store:
            return
        self.send()
        self._worker.shutdown(wait=True)
        problem = self._sending.result() if self._sending else None
        if self._is_lost:
            raise WorkError(self.lost)
        if problem:
            raise WorkError(f"{problem}. All is in {self.path}: start again here with --resume once the store answers")

    def _send(self) -> str:
        """Send what changed; the complaint of a store that refuses, or an empty text."""
        try:
            if self.rank == 0 and self.trains:
                while not self._send_checkpoints():
                    pass
            for name in sorted(self._mine()):
                self._send_file(name)
            return ""
        except WorkError as error:
            if self._is_lost:
                return ""
            self.warn(f"{error}; the run goes on, and tries again later")
            return str(error)

    def _send_checkpoints(self) -> bool:
        """Send the listed checkpoints, then their list, then drop what it no longer names.

        False where a file went away meanwhile, since a later checkpoint took its place: to be done again.
        """
        assert self.store
        listing = read_or_nothing(self.path / LIST, MOST_BYTES)
        if not listing:
            return True
        entries = _entries(listing)
        names = {f"{CHECKPOINTS}/{step}/{name}" for step, entry in entries.items() for name in entry.files}
        try:
            for name in sorted(names):
                # The best checkpoint of an attempt on another node stands in the store alone.
                if (self.path / name).exists() or name not in self._stored:
                    self._send_file(name)
        except FileNotFoundError:
            return False
        if self._list_there != listing:
            self._put(LIST, listing)
            self._list_there = listing
        dropped = {name for name in self._stored - names if name.startswith(f"{CHECKPOINTS}/") and name.count("/") == 2}
        self.store.remove(dropped)
        self._stored -= dropped
        return True

    def _send_file(self, name: str) -> None:
        assert self.store
        path = self.path / name
        stamp = _stamp(path)
        if self._sent.get(name) != stamp:
            self._put(name, path.read_bytes())
            self._sent[name] = stamp
            self._stored.add(name)

    def _put(self, name: str, content: bytes) -> None:
        """Write a file to the store, where the run is still ours: else raise WorkError, and nothing is sent any more.

        The owner is asked between a look at the file and its writing, which the store refuses where the file is another
        by then: so a new owner's file is never written over, however long this process slept in between.
        """
        assert self.store
        if not self._owner:
            # Results of an evaluation, which claims nothing.
            self.store.put(name, content)
            return
        written = False
        while not written:
            version = self.store.version(name)
            if self._is_lost or self._is_other(self.store.read_if_there(OWNER)):
                self._is_lost = True
                raise WorkError(self.lost)
            written = self.store.put_over(name, content, version)

    def _mine(self) -> Iterator[str]:
        """The names of the files, beside checkpoints, that this rank sends: its ledger, and rank 0 everything else."""
        for path in self.path.rglob("*"):
            name = path.relative_to(self.path).as_posix()
            room = name.split("/")[0]
            is_ours = name == self.ledger if room == LEDGER else self.rank == 0
            # A training that goes on meanwhile has newer curves and checkpoints than the copy here.
            is_ours &= room not in (CHECKPOINTS, CONFIG) if self.trains else room in RESULTS
            if is_ours and not path.name.startswith(".") and path.is_file():
                yield name

    def _take_list(self) -> None:
        """The list of checkpoints, from the store unless the local one goes further: a store may have refused it.

        Nor is it from here where another process has claimed the run since this copy was made.
        """
        assert self.store
        theirs, ours = self.store.read_if_there(LIST) or b"", read_or_nothing(self.path / LIST, MOST_BYTES)
        is_our_copy = (self.store.read_if_there(OWNER) or b"") == read_or_nothing(self.path / OWNER, MOST_BYTES)
        further = max(_entries(ours), default=-1) > max(_entries(theirs), default=-1)
        if theirs and not (is_our_copy and further):
            self._write(LIST, theirs)
        self._list_there = theirs

    def _take_over_list(self, store: Store) -> None:
        """Make the store's list another one, so that the store refuses one that the owner before us is just writing.

        Its content stays: a line's end is added, or taken away.
        """
        while True:
            version, listing = store.version(LIST), store.read_if_there(LIST)
            if listing is None:
                return
            turned = listing[:-1] if listing.endswith(b"\n") else listing + b"\n"
            if store.put_over(LIST, turned, version):
                break
        if listing != self._list_there:
            self._write(LIST, listing)
        self._list_there = turned

    def _write(self, name: str, content: bytes) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)

    def _is_other(self, owner: bytes | None) -> bool:
        return bool(self._owner and owner and owner != self._owner.encode())


def check_can_write(folder: RunFolder) -> None:
    """Raises InputError where the store of a run cannot be written and read, with what it answered."""
    if folder.store:
        try:
            is_sound = folder.store.probe()
        except WorkError as error:
            raise InputError(f"--run.root: {error}") from None
        if not is_sound:
            raise InputError(
                f"--run.root: {folder.address}: what is read back is not what was written; look at the store"
            )


def find_run(address: str) -> RunFolder:
    """The folder of a run, or a file of weights, that is to be read; nothing of it is fetched.

    Raises InputError where there is none, or it has no checkpoint.
    """
    folder = RunFolder(address, trains=False)
    if folder.store:
        try:
            if folder.read(CONFIG) is None:
                raise InputError(f"{folder.address}: not a run folder (no {CONFIG})")
        except WorkError as error:
            raise InputError(str(error)) from None
    elif folder.path.is_dir():
        if not (folder.path / LIST).is_file():
            raise InputError(f"{folder.path}: {NO_CHECKPOINT}")
    elif not folder.path.is_file():
        raise InputError(f"{folder.address}: no such run folder or .safetensors file")
    return folder


def entered(address: str, warn: Callable[[str], None] = lambda text: None) -> RunFolder:
    """The folder of a run that is read: a local one, or the local copy of one in a store. Raises as `find_run`.

    warn: called with what is wrong with it and does not end the work, as a damaged checkpoint that is passed over.
    """
    folder = find_run(address)
    folder.warn = warn
    if folder.store:
        try:
            folder.enter()
        except WorkError as error:
            raise InputError(str(error)) from None
    return folder


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _entries(listing: bytes) -> dict[int, Entry]:
    """Each listed checkpoint by its step; none of a list that does not parse."""
    try:
        return {entry.step: entry for entry in parsed(listing, LIST)}
    except InputError:
        return {}
