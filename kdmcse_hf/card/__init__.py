"""The model card: from a `RunSummary` to README.md and the plot, recipe and results beside it."""
