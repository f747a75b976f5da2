"""The demo's page: pictures with captions, scores, three sentences and the training curve, in one HTML file."""

import io
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kdmcse_hf.files import read_json
from kdmcse_hf.report import plots
from kdmcse_hf.report.history import evaluations, loss_names, points
from kdmcse_hf.report.html import render

from .results import EXAMPLE_PAIRS, EXAMPLES, Result, tables
from .steps import TITLES
from .world import read_picture

SHOWN = 12
SCORE = "eval_stsb_spearman"
COLOURS = ("#8a94a3", "#0072B2", "#D55E00")  # before training, SimCSE, KDMCSE


@dataclass
class CaptionedPicture:
    """The PNG file of a picture, and its captions."""

    content: bytes
    captions: list[str]


def write_demo_report(world: Path, output_dir: Path, results: list[Result], manifest: dict, steps: list[dict]) -> Path:
    """Write `report.html` and its pictures as PNG files beside it, and return where it is.

    Args:
        results: of `measure`.
        manifest: of the world, with the teacher's recall.
        steps: the next commands, `{"text", "command"}` each.
    """
    pictures = captioned_pictures(world)
    histories = {title: _history(output_dir / name) for name, title in TITLES.items()}
    drawn = {
        "scores": scores_picture(results),
        "sentences": sentences_picture(results),
        "curve": curve_picture(histories, results[0].dev),
        "losses": losses_picture(histories["KDMCSE"]),
        "pictures": sheet(pictures),
    }
    for name, content in drawn.items():
        (output_dir / f"{name}.png").write_bytes(content)
    scores, similarities = tables(results)
    page = render(
        Path(__file__).with_name("page.html"),
        title="The KDMCSE demo",
        pictures=pictures,
        drawn=drawn,
        results=results,
        scores=scores,
        similarities=similarities,
        sentences=EXAMPLES,
        world=manifest,
        steps=steps,
    )
    path = output_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def captioned_pictures(world: Path) -> list[CaptionedPicture]:
    """The first twelve pictures of the world."""
    with open(world / "pictures" / "metadata.jsonl", encoding="utf-8") as metadata:
        rows = [json.loads(line) for line in islice(metadata, SHOWN)]
    return [CaptionedPicture((world / "pictures" / row["file_name"]).read_bytes(), row["captions"]) for row in rows]


def scores_picture(results: list[Result]) -> bytes:
    """Bars of the scores before training, after SimCSE and after KDMCSE."""
    groups = ("development pairs", "held-out pairs")
    series = {each.name: (each.dev, each.test) for each in results}
    return plots.bars(groups, series, "Spearman x100", COLOURS)


def sentences_picture(results: list[Result]) -> bytes:
    """Bars of the three sentences' cosines."""
    groups = [pair.replace(": ", "\n").replace(", ", ",\n") for pair in EXAMPLE_PAIRS]
    return plots.bars(groups, {each.name: each.similarities for each in results}, "cosine", COLOURS, digits=2)


def curve_picture(histories: dict[str, list[dict]], before: float) -> bytes:
    """The score of the development pairs over the steps of both trainings."""
    lines = {title: points(evaluations(history), SCORE) for title, history in histories.items()}
    best = {title: max(line, key=lambda point: point[1]) for title, line in lines.items()}
    colours = dict(zip(lines, COLOURS[1:], strict=True))
    return plots.curves(lines, "Spearman x100, development pairs", dict.fromkeys(lines, before), best, colours)


def losses_picture(history: list[dict]) -> bytes:
    """The parts of KDMCSE's loss over the steps."""
    parts = {name: points(history, name) for name in loss_names(history) if name != "loss"}
    return plots.curves(parts, "part of the loss, unweighted")


def sheet(pictures: list[CaptionedPicture]) -> bytes:
    """The pictures in rows of four, each with its first caption."""
    panels = [(read_picture(io.BytesIO(each.content)), each.captions[0]) for each in pictures]
    return plots.captioned_sheet(panels, columns=4)


def _history(run: Path) -> list[dict]:
    return read_json(run / "trainer_state.json", {"log_history": list})["log_history"]
