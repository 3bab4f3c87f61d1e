"""Scores as drawings, for files and for TensorBoard."""
