"""Readers of images with captions, for the formats in which such data are published."""
