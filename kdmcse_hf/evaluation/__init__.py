"""The evaluation of the papers, for any encoder: STS tasks, transfer tasks, alignment and uniformity."""
