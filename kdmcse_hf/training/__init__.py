"""The Trainer, exact resuming, and what happens to a run from outside."""
