"""One file for each official release, and what several of them share. Imports what lies below the loading."""
