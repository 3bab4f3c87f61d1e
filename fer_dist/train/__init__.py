"""One loop for every way to run it: here, in a torchrun group, on Ray. Imports evaluation and below."""
