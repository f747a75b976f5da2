"""The demo from an empty folder to a sentence encoder: world, teacher, features, SimCSE, KDMCSE, scores, use."""

import json
import shutil
import time
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from kdmcse_hf.commands import extract_features, train

from .score import cosines, embed, read_pairs, spearman
from .world import WorldSettings, build_world

EXAMPLES = (
    "A tiny crimson orb is to the left of a big box.",
    "A large crate is to the right of a little red ball.",
    "A tiny azure fish is to the left of a big box.",
)
# Values for this world, not the paper's: its encoder starts from a few seconds of pretraining.
TRAINING_FLAGS = {
    "max_steps": 500,
    "multimodal_period": 2,
    "per_device_train_batch_size": 64,
    "learning_rate": 4e-3,
    "warmup_steps": 0.1,
    "eval_steps": 100,
    "save_total_limit": 1,
    "logging_steps": 100,
    "seed": 42,
}
GROUNDING_WEIGHT = 3.0


def run(output_dir: str | Path) -> int:
    """Runs the whole demo in `output_dir` and prints what it measures; returns the exit status, 0 when all is done.

    The world is taken as it is when `output_dir` holds one of the same settings; the trainings always start afresh.
    """
    started, output_dir = time.monotonic(), Path(output_dir)
    world = output_dir / "world"
    _heading("A world of pictures and sentences, a tokenizer, a small BERT and a small CLIP")
    measured, reused = build_world(world, WorldSettings())
    print(f"{world}: {'found whole, used again' if reused else 'built'}")
    print(f"teacher on unseen pictures: recall@1 {measured['recall@1']:.1%}, recall@5 {measured['recall@5']:.1%}")
    print(f"  (by chance {1 / measured['settings']['held_out']:.1%} and {5 / measured['settings']['held_out']:.1%})")

    _heading("The frozen teacher's features")
    status = _extract(world)
    for objective in ("simcse", "kdmcse"):
        if status == 0:
            _heading(f"Training with {objective}")
            status = _train(objective, world, output_dir / objective)
    if status != 0:
        return status

    _heading("Spearman x100 of cosine and score")
    _print_scores(world, output_dir)
    _heading("The result in stock AutoModel and SentenceTransformer")
    _show(output_dir / "kdmcse")
    print(f"\nThe model is in {output_dir / 'kdmcse'} ({time.monotonic() - started:.0f} s in all).")
    return 0


def _heading(text: str) -> None:
    print(f"\n== {text} ==", flush=True)


def _extract(world: Path) -> int:
    return extract_features.main(
        [f"--teacher={world / 'teacher'}", f"--dataset={world / 'pictures'}", f"--output_dir={world / 'features'}"]
    )


def _train(objective: str, world: Path, output_dir: Path) -> int:
    shutil.rmtree(output_dir, ignore_errors=True)
    flags = {
        "model_name_or_path": world / "student",
        "objective": objective,
        "text_dataset": world / "corpus.txt",
        # SimCSE sees the same captions, as plain sentences: what differs is the teacher alone.
        "multimodal_dataset": world / "features",
        "stsb_path": world / "sts-dev.tsv",
        "output_dir": output_dir,
        **TRAINING_FLAGS,
    }
    if objective == "kdmcse":
        flags["grounding_weight"] = GROUNDING_WEIGHT
    return train.main([f"--{name}={value}" for name, value in flags.items()])


def _print_scores(world: Path, output_dir: Path) -> None:
    dev, test = read_pairs(world / "sts-dev.tsv"), read_pairs(world / "sts-test.tsv")
    rows = [("before training", spearman(world / "student", dev), spearman(world / "student", test))]
    for name in ("simcse", "kdmcse"):
        results = json.loads((output_dir / name / "all_results.json").read_text(encoding="utf-8"))
        rows.append((f"after {name}", results["eval_stsb_spearman"], spearman(output_dir / name, test)))
    print(f"{'':18}{'dev':>8}{'test':>8}")
    for name, on_dev, on_test in rows:
        print(f"{name:18}{on_dev:8.2f}{on_test:8.2f}")


def _show(model_dir: Path) -> None:
    print("\n".join(f"{index}: {sentence}" for index, sentence in enumerate(EXAMPLES, 1)))
    model: PreTrainedModel = AutoModel.from_pretrained(model_dir)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model_dir)
    _print_matrix("AutoModel, [CLS]", cosines(embed(model, tokenizer, list(EXAMPLES))))
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        print("SentenceTransformer: skipped; pip install 'kdmcse_hf[sentence-transformers]' to see it")
        return
    encoder = SentenceTransformer(str(model_dir), device="cpu")
    vectors = encoder.encode(list(EXAMPLES), convert_to_tensor=True, show_progress_bar=False)
    _print_matrix("SentenceTransformer", cosines(vectors))


def _print_matrix(title: str, matrix: torch.Tensor) -> None:
    print(f"{title}:")
    for index, row in enumerate(matrix.tolist(), 1):
        print(f"  {index} " + "".join(f"{value:7.2f}" for value in row))
