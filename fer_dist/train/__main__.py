"""python -m fer_dist.train: the command, for what starts Python by itself. All else has an importable name."""

import sys

if __name__ == "__main__":
    # Spawned processes import this file as __mp_main__: they need what it leads to from its own place.
    from fer_dist.cli.commands import main

    sys.exit(main(["train", *sys.argv[1:]]))
