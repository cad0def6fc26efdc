"""One loaded model: tokens in, quantiles of log returns out. Knows neither HTTP nor where tokens come from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caelum_common import checkpoint
from caelum_common.checkpoint import INPUT, OUTPUT, BadCheckpoint, Manifest
from caelum_common.inference import onnxruntime
from caelum_common.windows import CHANNELS, TOKENS

Floats = NDArray[np.float32]


class ModelFault(Exception):
    """A loaded model gave no usable numbers; one line that names the model and what it did."""


@dataclass(frozen=True)
class Predictor:
    """A verified checkpoint in an onnxruntime session; safe to call from several threads."""

    path: Path
    manifest: Manifest
    session: onnxruntime.InferenceSession

    @classmethod
    def load(cls, path: Path) -> "Predictor":
        """Loads the .onnx file `path` after its sha256 and schema hash were checked against its manifest.

        Runs it once, so a model that cannot answer is refused here and the first request finds it warm. Raises
        BadCheckpoint.
        """
        manifest = checkpoint.load(path)
        predictor = cls(path, manifest, _open(path))
        try:
            predictor.predict(np.zeros((1, TOKENS, CHANNELS), dtype=np.float32))
        except ModelFault as fault:
            raise BadCheckpoint(f"{path} loads but does not answer: {fault}") from None
        return predictor

    def predict(self, tokens: Floats) -> Floats:
        """Log returns of float32 (N, horizons, quantiles) for `tokens`, float32 (N, TOKENS, CHANNELS).

        Raises ModelFault when the run fails, or the answer has another shape or is not finite.
        """
        try:
            (answer,) = self.session.run([OUTPUT], {INPUT: tokens})
        except Exception as error:  # onnxruntime's errors share no base class
            raise ModelFault(f"{self.name} failed: {_first_line(error)}") from error
        expected = (len(tokens), len(self.manifest.horizons), len(self.manifest.quantiles))
        if answer.shape != expected:
            raise ModelFault(f"{self.name} answered with shape {answer.shape}, expected {expected}")
        if not np.isfinite(answer).all():
            raise ModelFault(f"{self.name} answered with numbers that are not finite")
        return answer  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """Job and version, e.g. "llm1-tech v1.0.0"."""
        return f"{self.manifest.job} {self.manifest.version}"


def _open(path: Path) -> onnxruntime.InferenceSession:
    """A session sized for one small request at a time: one thread, no arena that only ever grows."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise BadCheckpoint(f"{path} does not load: {_first_line(error)}; train a new version") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]
