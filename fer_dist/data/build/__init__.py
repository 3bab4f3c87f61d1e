"""A release to a set of shards: listed and sorted, held out, packed."""
