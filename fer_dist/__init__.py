"""Distributed training for facial emotion recognition: shards, DALI, an SE-ResNet-18, and an honest study."""

from pathlib import Path

__version__ = "0.1.0"

PACKAGE = Path(__file__).parent
"""The folder of this package: its code and its templates lie below it."""
