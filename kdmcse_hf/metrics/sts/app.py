"""The page of the metric's Space."""

import json
import pathlib

import evaluate
import gradio

# By the script: given a folder, `evaluate` runs the script of its name, which in a Space is this file.
metric = evaluate.load(str(pathlib.Path(__file__).with_name("sts.py")))


def compute(predictions: str, references: str) -> dict:
    """Scores two JSON lists."""
    return metric.compute(predictions=json.loads(predictions), references=json.loads(references))


gradio.Interface(
    fn=compute,
    inputs=[
        gradio.Textbox("[0.1, 0.5, 0.9]", label="predictions: similarities, or [embedding, embedding] pairs"),
        gradio.Textbox("[0.0, 2.0, 5.0]", label="references: gold scores"),
    ],
    outputs=gradio.JSON(),
    title="Metric: STS",
    description=metric.description,
).launch()
