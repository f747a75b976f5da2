"""One HTML page for one run, or for several side by side, from what the runs left on disk."""
