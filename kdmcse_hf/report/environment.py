"""The machine and the package versions of a run, as far as others may know them."""

import importlib.metadata
import json
import os
import pathlib
import platform

import torch

ENVIRONMENT_NAME = "environment.json"
_PACKAGES = (
    "kdmcse-hf",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "huggingface_hub",
    "safetensors",
    "sentence-transformers",
)


def describe_environment() -> dict[str, str]:
    """Python, system, processor, accelerators and package versions; no host name, user name or path."""
    facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu cores": str(os.cpu_count()),
        "threads of torch": str(torch.get_num_threads()),
        "accelerator": _accelerator(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return facts


def write_environment(directory: str | os.PathLike) -> None:
    """Write `environment.json` into the directory of a run, for its report."""
    text = json.dumps(describe_environment(), indent=2) + "\n"
    pathlib.Path(directory, ENVIRONMENT_NAME).write_text(text, encoding="utf-8")


def _accelerator() -> str:
    if not torch.accelerator.is_available():
        return "none"
    kind = torch.accelerator.current_accelerator().type  # type: ignore[union-attr]
    count = torch.accelerator.device_count()
    name = torch.cuda.get_device_name() if kind == "cuda" else kind
    return f"{count} x {name}"
