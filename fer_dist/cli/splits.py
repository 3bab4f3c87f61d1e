"""A folder that holds several sets, given where a command takes sets."""

from collections.abc import Iterable
from pathlib import Path


def each_split(places: Iterable[str]) -> tuple[str, ...]:
    """The places, and for a folder on a disk that is no set itself the sets in it, train and val first."""
    from fer_dist.data.loading.shard_set import split_folders
    from fer_dist.data.shards.manifest import MANIFEST

    found: list[str] = []
    for place in places:
        is_set = Path(place, MANIFEST).is_file()
        found += [place] if is_set else [str(folder) for folder in split_folders(Path(place))] or [place]
    return tuple(found)
