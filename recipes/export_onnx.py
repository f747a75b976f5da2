"""Launcher of `kdmcse_hf.commands.export_onnx`: a model repository for ONNX Runtime."""

import sys

from kdmcse_hf.commands.launch import launch

if __name__ == "__main__":
    sys.exit(launch("export-onnx"))
