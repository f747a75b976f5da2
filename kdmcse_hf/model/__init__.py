"""The student: encoder, projection heads and objectives, and their repository on disk."""
