"""The formats of a set of shards: manifest, tar, index, labels, and lists of what is left out."""
