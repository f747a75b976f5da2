"""The two steps that the demo shares with every user: features from the teacher, and training."""

import shutil
from pathlib import Path

from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from kdmcse_hf.commands import extract_features, train
from kdmcse_hf.commands.train_arguments import explicit_keys, parse
from kdmcse_hf.report.environment import write_environment
from kdmcse_hf.teacher.extraction import ExtractionSettings, extract

from .progress import output_into, phase

# Values for this world, not the paper's: its encoder starts from a few seconds of pretraining.
TRAINING_FLAGS = {
    "max_steps": 500,
    "multimodal_period": 2,
    "per_device_train_batch_size": 64,
    "learning_rate": 4e-3,
    "warmup_steps": 0.1,
    "eval_steps": 50,
    "save_total_limit": 1,
    "logging_steps": 25,
    "seed": 42,
}
GROUNDING_WEIGHT = 3.0
TITLES = {"simcse": "SimCSE", "kdmcse": "KDMCSE"}


def extract_teacher_features(world: Path) -> None:
    """Write `world/features` as recipes/extract_features.py does; what is there is kept."""
    flags = [f"--teacher={world / 'teacher'}", f"--dataset={world / 'pictures'}"]
    arguments = extract_features.parse_arguments([*flags, f"--output_dir={world / 'features'}"])
    source = extract_features.open_image_source(arguments)
    teacher = extract_features.load_teacher(arguments.teacher, arguments.dtype, local_rank=0)
    writer = extract_features.open_writer(arguments, source, teacher)
    todo = [part for part in range(source.num_parts) if not writer.is_done(part)]
    settings = ExtractionSettings(batch_size=arguments.batch_size, num_workers=arguments.num_workers)
    with phase("Teacher's features", sum(map(source.part_size, todo)), "picture") as bar:
        extract(source, teacher, writer, settings, todo, lambda _, pictures: bar.update(pictures))
    writer.finish(source.num_parts)


def train_encoder(objective: str, world: Path, output_dir: Path, flags: dict, log: Path) -> None:
    """Train the student by one objective as recipes/train.py does, from its start; printed lines go into `log`.

    Raises:
        InterruptedError: SIGTERM ended it, with a checkpoint.
    """
    shutil.rmtree(output_dir, ignore_errors=True)
    argv = [f"--{name}={value}" for name, value in _flags(objective, world, output_dir, flags).items()]
    with phase(f"Training with {TITLES[objective]}", flags["max_steps"], "step") as bar, output_into(log):
        print(f"train.py {' '.join(argv)}")
        trainer = train.build_trainer(*parse(argv), explicit_keys(argv))
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(PrinterCallback)
        trainer.add_callback(_Bar(bar))
        train.run(trainer)
        train.shut_down(trainer)
    if trainer.interrupted:
        raise InterruptedError(f"stopped by SIGTERM while {output_dir} was trained")
    write_environment(output_dir)


def _flags(objective: str, world: Path, output_dir: Path, flags: dict) -> dict:
    weight = {"grounding_weight": GROUNDING_WEIGHT} if objective == "kdmcse" else {}
    return {
        "model_name_or_path": world / "student",
        "objective": objective,
        "text_dataset": world / "corpus.txt",
        # SimCSE sees the same captions, as plain sentences: what differs is the teacher alone.
        "multimodal_dataset": world / "features",
        "stsb_path": world / "sts-dev.tsv",
        "output_dir": output_dir,
        **flags,
        **weight,
    }


class _Bar(TrainerCallback):
    """Counts the training steps, with the last score of the development pairs beside."""

    def __init__(self, bar):
        self.bar = bar

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        self.bar.set_postfix_str(f"Spearman {metrics['eval_stsb_spearman']:.1f}", refresh=False)
