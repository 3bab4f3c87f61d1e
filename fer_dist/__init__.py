"""Distributed training for facial emotion recognition: shards, DALI, an SE-ResNet-18, and an honest study."""

__version__ = "0.1.0"
