"""A `RunSummary` becomes README.md: the model card, its curve, its recipe, its results."""
