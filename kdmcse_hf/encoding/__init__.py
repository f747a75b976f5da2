"""Sentences to vectors with any `AutoModel` text encoder: pooling, length limits, encoding without padding."""
