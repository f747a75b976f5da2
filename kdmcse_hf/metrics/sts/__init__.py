"""The STS metric as a class, `from kdmcse_hf.metrics.sts import STS`, and what it computes as functions."""

from .correlations import correlations, cosine_similarities

__all__ = ["STS", "correlations", "cosine_similarities"]  # noqa: F822


def __getattr__(name: str) -> type:
    # Only on demand: to programs in recipes/, the name `evaluate` is recipes/evaluate.py and not the library.
    if name == "STS":
        from .sts import STS

        return STS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
