"""The STS metric as a class: `from kdmcse_hf.metrics.sts import STS`."""

from .sts import STS, correlations, cosine_similarities

__all__ = ["STS", "correlations", "cosine_similarities"]
