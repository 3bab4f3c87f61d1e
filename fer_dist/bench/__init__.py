"""Measurements side by side, each file its work and its table. May import all but the commands."""
