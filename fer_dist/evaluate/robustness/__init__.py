"""Models on corrupted images and on occluded faces."""
