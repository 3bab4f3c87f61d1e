"""The frames of a video, one at a time, by PyAV (FFmpeg)."""

import importlib.util
from collections.abc import Iterator

from fer_dist.data.images import MAX_PIXELS, TOO_LARGE
from fer_dist.deploy.photograph import Photograph
from fer_dist.errors import InputError

NEEDS = "needs PyAV, which is not installed; install it with: pip install 'fer-dist[video]'"


def check_video(name: str) -> None:
    """Raises InputError where the extra is not installed."""
    if not is_installed():
        raise InputError(f"{name}: a video {NEEDS}")


def is_installed() -> bool:
    return importlib.util.find_spec("av") is not None


def frames(path: str, per_second: float = 0.0) -> Iterator[Photograph]:
    """The frames of a video's first track, turned as it says, with their numbers from 0 and their times.

    per_second: how many are given of each second; 0: all.
    What does not decode comes as a photograph with a fault, and the frames behind it go on.
    """
    if not is_installed():
        yield Photograph(path, fault=f"a video {NEEDS}")
        return
    import av

    found = 0
    due = 0.0
    try:
        with av.open(path) as container:
            if not container.streams.video:
                yield Photograph(path, fault="a video without a track of images")
                return
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                yield Photograph(path, fault=TOO_LARGE)
                return
            stream.thread_type = "AUTO"
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError:
                    yield Photograph(path, time=_seconds(packet), fault="a part of the video does not decode")
                    continue
                for frame in decoded:
                    number, found = found, found + 1
                    time = frame.time if frame.time is not None else None
                    if per_second and time is not None:
                        if time < due:
                            continue
                        due += 1 / per_second * (1 + (time - due) * per_second // 1)
                    image = frame.to_image()
                    if frame.rotation:
                        image = image.rotate(frame.rotation, expand=True)
                    yield Photograph(path, image=image, frame=number, time=time)
    except FileNotFoundError:
        yield Photograph(path, fault="no such file")
        return
    except (av.error.FFmpegError, OSError) as error:
        where = "the video breaks off" if found else "does not decode as a video"
        yield Photograph(path, fault=f"{where} ({getattr(error, 'strerror', None) or type(error).__name__})")
        return
    if not found:
        yield Photograph(path, fault="a video without frames")


def _seconds(packet: object) -> float | None:
    pts, base = getattr(packet, "pts", None), getattr(packet, "time_base", None)
    return float(pts * base) if pts is not None and base is not None else None
