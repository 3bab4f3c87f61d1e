"""Paths, whole writes, locks, stores, and the cache: bytes of any meaning. Imports errors and progress alone."""
