"""One thread for torch in every test, no deadline for hypothesis, and the longest first: the machine may be busy."""

import os

import pytest
from hypothesis import settings

# Two threads on shared cores wait for each other more than they work.
os.environ["OMP_NUM_THREADS"] = "1"
# A width is a test's own to set. Processes that share the tests have that of a terminal of 80 columns.
os.environ.pop("COLUMNS", None)
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: at the end, processes that share the tests would wait for one of them."""
    long = ["test_study.py", "test_train.py", "test_strategies.py", "test_demo.py", "test_ray.py"]
    items.sort(key=lambda item: long.index(item.path.name) if item.path.name in long else len(long))
