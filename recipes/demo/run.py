"""The demo from an empty folder to a sentence encoder: world, teacher, features, SimCSE, KDMCSE, scores, page."""

import os
import sys
import time
from pathlib import Path

from kdmcse_hf.commands.exit_status import STOPPED_BY_CTRL_C
from kdmcse_hf.evaluation.tables import to_text
from kdmcse_hf.report.html import check_libraries

from .progress import libraries_log_to
from .report import write_demo_report
from .results import EXAMPLES, Result, difference_to_sentence_transformers, measure, tables
from .steps import TITLES, TRAINING_FLAGS, extract_teacher_features, train_encoder
from .world import WorldSettings, build_world

RECIPES = Path(__file__).parents[1]


def run(output_dir: str | Path, settings: WorldSettings | None = None, flags: dict | None = None) -> int:
    """Runs the whole demo in `output_dir` and prints what it measures.

    The world is taken as it is when `output_dir` holds one of the same settings; the trainings always start afresh.

    Args:
        settings: sizes of the world.
        flags: keys of recipes/train.py in place of those in `TRAINING_FLAGS`.

    Returns:
        The exit status: 0 when all is done, 2 where a library is missing, 130 after Ctrl-C, 1 after SIGTERM.
    """
    output_dir = Path(output_dir)
    log = output_dir / "train.log"
    try:
        check_libraries()
        with libraries_log_to(log):
            _run(output_dir, settings or WorldSettings(), TRAINING_FLAGS | (flags or {}), log)
    except ImportError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ndemo: stopped. The same command goes on from what is whole in {output_dir}", file=sys.stderr)
        return STOPPED_BY_CTRL_C
    except InterruptedError as error:
        print(f"demo: {error}. The same command starts this training again", file=sys.stderr)
        return 1
    except Exception:
        print(f"demo: failed; what the libraries said is in {log}", file=sys.stderr)
        raise
    return 0


def _run(output_dir: Path, settings: WorldSettings, flags: dict, log: Path) -> None:
    started, world = time.monotonic(), output_dir / "world"
    print("The KDMCSE demo: a small world is drawn, a teacher looks at it, an encoder learns from both.\n", flush=True)
    manifest, reused = build_world(world, settings)
    if reused:
        print(f"{world} is whole and used again: its pictures, its student and its teacher", flush=True)
    extract_teacher_features(world)
    for objective in TITLES:
        train_encoder(objective, world, output_dir / objective, flags, log)
    results = measure(world, output_dir)
    page = write_demo_report(world, output_dir, results, manifest, next_steps(output_dir, "python", "recipes"))
    _print_results(results)
    print(_in_sentence_transformers(output_dir / "kdmcse"))
    print(f"Model:  {output_dir / 'kdmcse'}\nReport: {page}   ({time.monotonic() - started:.0f} s in all)\n\nNext:")
    for step in next_steps(output_dir, _as_typed(Path(sys.executable), "python"), _as_typed(RECIPES, str(RECIPES))):
        print(f"  # {step['text']}\n  {step['command']}")


def next_steps(output_dir: Path, python: str, recipes: str) -> list[dict[str, str]]:
    """Three commands that go on from the demo, each with what it does; `recipes` is the folder of their files."""
    runs, features = f"{output_dir / 'simcse'} {output_dir / 'kdmcse'}", output_dir / "world" / "features"
    training = f"{output_dir / 'kdmcse' / 'training.yaml'} --objective mcse --output_dir {output_dir / 'mcse'}"
    return [
        {
            "text": "Compare the two trainings on one page: every loss, every score, every setting that differs.",
            "command": f"{python} {recipes}/report.py {runs} --output {output_dir / 'runs.html'}",
        },
        {
            "text": "Look at what the teacher knows, and at what a threshold on its similarities would leave out.",
            "command": f"{python} {recipes}/inspect_teacher.py {features}",
        },
        {
            "text": "Train again with another objective; any key of the file can be given as a flag.",
            "command": f"{python} {recipes}/train.py {training}",
        },
    ]


def _print_results(results: list[Result]) -> None:
    scores, similarities = tables(results)
    sentences = "\n".join(f"{number}: {sentence}" for number, sentence in enumerate(EXAMPLES, 1))
    print(f"\n{to_text(scores)}\n\n{sentences}\n{to_text(similarities)}\n")


def _as_typed(path: Path, elsewhere: str) -> str:
    """A path as one types it in the current folder, or `elsewhere` where it does not lie below that."""
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else elsewhere


def _in_sentence_transformers(model_dir: Path) -> str:
    difference = difference_to_sentence_transformers(model_dir)
    if difference is None:
        return "SentenceTransformer: not compared; pip install 'kdmcse_hf[sentence-transformers]'"
    agree = "agree to five digits" if difference < 1e-5 else f"differ by up to {difference:.1e}"
    return f"The model loads in AutoModel and in SentenceTransformer; their cosines {agree}."
