"""Scoring of sentence embeddings; knows nothing of the model class or the Trainer."""
