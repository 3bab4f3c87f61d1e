"""python -m fer_dist.cli: the commands where their script is not on the path."""

import sys

from fer_dist.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
