"""The command lines: each module has a `main(argv)` that returns an exit status."""

from .. import launcher  # noqa: F401 - before a command's own imports, which take seconds: it notes who started it
