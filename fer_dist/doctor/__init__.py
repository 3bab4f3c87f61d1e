"""What a machine has, and what it lacks, as a table of findings. Imports what lies below the training."""
