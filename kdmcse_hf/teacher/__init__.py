"""From images and captions to the frozen teacher's features, before training."""
