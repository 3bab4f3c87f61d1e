"""An image on its way to a prediction, before anything of it is decoded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fer_dist.data.images import MOST_FILE_BYTES
from fer_dist.data.sources.reading import as_stored, read_image
from fer_dist.data.sources.source import EncodedImage
from fer_dist.storage.paths import folder_at, is_url
from fer_dist.storage.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Photograph:
    """An image to be looked at: a file that is not read yet, encoded content, or the pixels of a frame.

    file: as its rows name it; of a sample of shards, tar/key. time: of a frame, in seconds.
    fault: why it cannot be looked at; empty where it can.
    """

    file: str
    path: str = ""
    content: "NDArray[np.uint8] | None" = None
    image: "Image | None" = None
    frame: int | None = None
    time: float | None = None
    fault: str = ""


def read_at(path: str) -> EncodedImage:
    """The image file at a path or a URL, as `read_image`. Raises WorkError where a store does not answer."""
    if not is_url(path):
        return read_image(path)
    folder, _, name = path.rpartition("/")
    content = Store(folder_at(folder)).read_if_there(name, MOST_FILE_BYTES)
    if content is None:
        raise FileNotFoundError(path)
    return as_stored(content, name)
