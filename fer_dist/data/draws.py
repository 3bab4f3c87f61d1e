"""Random draws as arithmetic: hashes of numbers, the same on every machine and in every process."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


Hashes = NDArray[np.uint64]


def hashed(*words: int | Hashes | Integers) -> Hashes:
    """64 random bits for each combination of words, which are broadcast: splitmix64 folded over them.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", the mix function.
    """
    bits: Hashes = np.array(0x9E3779B97F4A7C15, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for word in words:
            bits = folded(bits, word)
    return bits


def folded(bits: Hashes, word: int | Hashes | Integers) -> Hashes:
    """The hash of some words -> the hash of those and one more."""
    # A new array for each word, and in place from there: half the time for a set of 100,000 shards.
    bits = bits ^ np.asarray(word).astype(np.uint64)
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return np.asarray(bits)


def sample_id(key: str) -> int:
    """The number that stands for a sample in every draw: the first 8 bytes of sha256(key)."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def uniform(*words: int | Hashes | Integers) -> NDArray[np.float64]:
    """A number in [0, 1) for each combination of words."""
    return as_shares(hashed(*words))


def as_shares(bits: Hashes) -> NDArray[np.float64]:
    """Each of these random bits as a number in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
