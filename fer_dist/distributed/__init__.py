"""Ranks, what they run on, and what they tell each other, here and on Ray. Imports config and storage."""
