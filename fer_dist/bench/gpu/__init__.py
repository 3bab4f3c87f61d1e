"""A GPU's first ten minutes: a file a part, and what they share. May import what the other measurements may."""
