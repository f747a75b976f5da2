"""The command lines: each module has a `main(argv)` that returns an exit status."""
