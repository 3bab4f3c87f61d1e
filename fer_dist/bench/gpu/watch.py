"""Measurements that are taken one after the other within a given time, each shown when it is there."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from fer_dist.data.loading.pipeline import DecodeError
from fer_dist.errors import WorkError

Value = int | float | str | bool
Values = dict[str, Value]
"""What one measurement gave: name, with its unit -> value."""

WARM_UP = {"cuda": 3, "cpu": 0}
"""Repetitions before the one by which it is told how many can be timed: CUDA graphs are recorded in them."""

SHORT_SECONDS = 5.0
COMPILED_SECONDS = {"cuda": 75.0, "cpu": 150.0}
"""What a measurement may take, and what one with a compiled network may, before one was taken."""


@dataclass(frozen=True)
class Found:
    """One line. at_seconds: since the start. left_out: why there are no values; failed: the error that took them."""

    part: str
    what: str
    at_seconds: float
    values: Values = field(default_factory=dict)
    left_out: str = ""
    failed: str = ""

    def __str__(self) -> str:
        told = "  ".join(_told(name.replace("_", " "), value) for name, value in self.values.items())
        told = told or (f"left out: {self.left_out}" if self.left_out else f"FAILED: {self.failed}")
        return f"{self.at_seconds:6.1f} s  {self.part:6}  {self.what:48}  {told}"


@dataclass(frozen=True)
class Measurement:
    """What is to be measured. lacking: what keeps it from that; empty where nothing does.

    compiled_on: the device for which a network is compiled in it; how long that takes is seen from the first.
    """

    what: str
    take: Callable[[], Values]
    lacking: str = ""
    compiled_on: str = ""


class Watch:
    """Takes one measurement after the other, and leaves out what would take too long."""

    def __init__(self, seconds: float, shares: list[float]) -> None:
        """shares: how the parts share the time, in their order. What one leaves of its own the next ones have."""
        self._begun = time.monotonic()
        self._end = self._begun + seconds
        self._shares = shares
        self._part, self._stop = "", self._end
        self._compiled_seconds = 0.0

    def begin(self, part: str) -> None:
        """The next part."""
        now, share = time.monotonic(), self._shares[0] / sum(self._shares)
        self._part, self._stop = part, now + (self._end - now) * share
        self._shares = self._shares[1:]

    @property
    def left_seconds(self) -> float:
        """Of this part's time."""
        return self._stop - time.monotonic()

    def measure(self, measurement: Measurement) -> Found:
        """Take one measurement, unless something is lacking, or it may take longer than there is time.

        One that fails says so in its line, and the next ones are taken: nobody wants to borrow a card twice for that.
        """
        expected, lacking, compiled_on = SHORT_SECONDS, measurement.lacking, measurement.compiled_on
        if compiled_on:
            expected = self._compiled_seconds or COMPILED_SECONDS[compiled_on]
        if not lacking and self.left_seconds < expected:
            lacking = f"it may take {expected:.0f} s, and {max(self.left_seconds, 0):.0f} s are left"
        begun = time.monotonic()
        line = Found(self._part, measurement.what, begun - self._begun, left_out=lacking)
        if not lacking:
            try:
                line = replace(line, values=measurement.take())
            except (RuntimeError, WorkError, DecodeError) as error:
                line = replace(line, failed=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            ended = time.monotonic()
            line = replace(line, at_seconds=ended - self._begun)
            if compiled_on and line.values:
                self._compiled_seconds = ended - begun
        return line


class Clock:
    """Times what a device does again and again, within the time that is left."""

    def __init__(self, device: torch.device, steps: int, watch: Watch) -> None:
        self.device = device
        self.steps = steps
        self._watch = watch

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, act: Callable[[], object], count: int = 1) -> float:
        """Of so many acts, one after the other."""
        begun = time.perf_counter()
        for _ in range(count):
            act()
        self.wait()
        return time.perf_counter() - begun

    def warm(self, act: Callable[[], object]) -> int:
        """Act a few times; how many more may be timed."""
        for _ in range(WARM_UP[self.device.type]):
            act()
        self.wait()
        one = self.seconds(act)
        return max(1, min(self.steps, int(self._watch.left_seconds / one)))

    def one(self, act: Callable[[], object]) -> float:
        """Seconds of one of several acts that follow each other."""
        count = self.warm(act)
        return self.seconds(act, count) / count


def _told(name: str, value: Value) -> str:
    if isinstance(value, str):
        return f"{name}: {value}"
    if isinstance(value, bool):
        return f"{name}: {'yes' if value else 'no'}"
    return f"{name} {value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{name} {value:.3g}"
