"""The version of the package, for `kdmcse_hf.__version__`, setup.py, the model card and `kdmcse --version`.

It is not read from the installed package's metadata, since a checkout on PYTHONPATH has none.
"""

__version__ = "0.1.0"
