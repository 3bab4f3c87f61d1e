"""Positions of an epoch to the crops of one rank, on its device."""
