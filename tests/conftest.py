"""One thread for torch in every test, and no deadline for hypothesis: the machine that runs them may be busy."""

import os

from hypothesis import settings

# Two threads on shared cores wait for each other more than they work.
os.environ["OMP_NUM_THREADS"] = "1"
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
