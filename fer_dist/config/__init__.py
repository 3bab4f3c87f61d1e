"""Every setting once: its meaning, its presets, what is refused, and how flags are made of it. Imports storage."""
