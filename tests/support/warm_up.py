"""Imported last by the fork server: work of the first training run in a process that the forked ones need not repeat.

It makes a model, builds transformers' table of weight names, and plots. A garbage collection, which each run asks for
twice, takes a quarter of a second while it looks at everything that the imports made; what is frozen is not looked at.
"""

import gc
import io

import tiny
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

tiny.encoder()
get_checkpoint_conversion_mapping("bert")
try:
    from matplotlib.figure import Figure
except ImportError:  # then no run plots
    pass
else:
    figure = Figure(layout="constrained")
    figure.subplots().plot([0, 1], [0.5, 1.5], label="curve")
    figure.axes[0].legend()
    figure.savefig(io.BytesIO())

gc.collect()
gc.freeze()
