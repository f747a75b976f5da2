"""The papers' scores: STS tasks, transfer tasks, alignment and uniformity, for any encoder."""
