"""The embedded demo: a small world of pictures and sentences that the project makes itself, trained end to end."""
