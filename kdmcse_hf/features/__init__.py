"""The feature directory, by which the teacher hands its features to training: writing, reading, importing."""
