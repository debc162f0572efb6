"""Child processes, processes side by side, and how many cores there are."""
