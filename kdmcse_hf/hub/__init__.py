"""Pushing a model repository to the Hub as a whole, and verifying what arrived."""
