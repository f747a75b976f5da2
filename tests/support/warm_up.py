"""Imported last by the fork server: what every training run would do for the first time, and does not have to.

A first plot with matplotlib takes a second. A garbage collection, which each run asks for twice, takes a quarter of a
second while it looks at everything that the imports made; frozen, this is not looked at.
"""

import gc
import io

try:
    from matplotlib.figure import Figure
except ImportError:  # then no run draws
    pass
else:
    figure = Figure(layout="constrained")
    figure.subplots().plot([0, 1], [0.5, 1.5], label="curve")
    figure.axes[0].legend()
    figure.savefig(io.BytesIO())

gc.collect()
gc.freeze()
