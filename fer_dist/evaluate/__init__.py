"""Models on sets: predictions tables, scores, and the files that they stand in. Imports runs and below."""
