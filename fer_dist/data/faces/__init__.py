"""Faces in images: found, held against the image, cut out."""
