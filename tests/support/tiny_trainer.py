"""A trainer whose steps take milliseconds."""

import tiny
from transformers import TrainerCallback

from kdmcse_hf import KDMCSEModel, KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.data.captions import Captions
from kdmcse_hf.data.text import load_text


def trainer(
    tmp_path,
    text_rows=40,
    caption_rows=24,
    objective="kdmcse",
    model=None,
    callbacks=None,
    margin=None,
    max_length=32,
    **arguments,
) -> KDMCSETrainer:
    """A trainer of the tiny encoder, whose output_dir is `tmp_path / "out"`; `arguments` are of the run."""
    folder = tmp_path / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "text.txt"
    text.write_text("\n".join(tiny.sentences(text_rows)), encoding="utf-8")
    captions = Captions(tiny.captions(caption_rows, images=8), "captions") if caption_rows else None
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM} if objective not in ("simcse", "arccse") else {}
    defaults = {
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 4,
        "max_steps": 12,
        "eval_steps": 4,
        "logging_steps": 4,
        "learning_rate": 1e-2,
        "disable_tqdm": True,
        "use_cpu": True,
        "eval_dtype": "float32",  # whatever the processor
    }
    return KDMCSETrainer(
        model=model or KDMCSEModel.from_encoder(tiny.encoder(), objective=objective, margin=margin, **widths),
        args=KDMCSETrainingArguments(**{**defaults, **arguments}),
        text_dataset=load_text(str(text)),
        multimodal_dataset=captions,
        eval_dataset=tiny.pairs(),
        processing_class=tiny.tokenizer(),
        max_length=max_length,
        callbacks=callbacks,
    )


class Crash(TrainerCallback):
    """Ends training, as Ctrl-C does, when a step begins."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


class Worse(TrainerCallback):
    """Every evaluation is worse than the one before."""

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        metrics["eval_stsb_spearman"] = 50.0 - state.global_step
