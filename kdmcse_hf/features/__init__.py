"""The feature directory, which teacher and training share: written, read, imported from other formats."""
