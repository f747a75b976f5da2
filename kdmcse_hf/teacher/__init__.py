"""The frozen teacher: from images and captions to features, before training."""
