"""Launcher of `kdmcse_hf.commands.train`; without arguments it runs the embedded demo.

accelerate launch recipes/train.py CONFIG.yaml [--key value ...]
python recipes/train.py
"""

import sys

from kdmcse_hf.commands.launch import launch


def main() -> int:
    """Train with the arguments given; with none run the demo in `demo_output`."""
    if sys.argv[1:]:
        return launch("train")
    try:
        from demo.run import run as run_demo
    except ImportError as error:
        print(f"train.py: the demo needs {error.name}: pip install 'kdmcse_hf[demo]'", file=sys.stderr)
        return 2
    return run_demo("demo_output")


if __name__ == "__main__":
    sys.exit(main())
