"""What a run leaves behind: its folder, its checkpoints, its network, its curves. Imports data and below."""
