"""A trained network in use: predicts, and is exported. May import evaluate and below."""
