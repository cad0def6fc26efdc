"""onnxruntime, told before it loads to keep no record of this machine and to send none: its wheels do both."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
