"""Measurements side by side, each file its flags, its work and its table. May import all but the commands."""
