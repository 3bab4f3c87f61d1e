"""Scores as drawings, for files and for TensorBoard: a file a kind, and what all share in canvas.py."""
