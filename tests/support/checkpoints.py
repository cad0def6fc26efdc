"""Small real checkpoints: an ONNX graph that reads its tokens, with a manifest that vouches for it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from caelum_common import checkpoint, jobs, vector
from caelum_common.checkpoint import File, Files, Manifest
from caelum_common.windows import BAR_CHANNELS, CHANNELS, TOKENS

JOB = jobs.JOBS[0]


def write_checkpoint(
    folder: Path, version: str = "v1.0.0", *, shift: float = 0.0, faulty: bool = False, **changes: Any
) -> Path:
    """Writes `.pt`, `.onnx` and `.json` of one version into `folder`; the .onnx path.

    Every log return is the mean over tokens of a fixed mix of channels, plus `shift`, plus an offset that ascends with
    the quantile: so answers differ between versions and between windows with and without sentiment. A `faulty`
    one answers with NaN, save for tokens that are all zero, as a model would that broke on live data. `changes` replace
    fields of the manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = checkpoint.paths(folder, JOB.name, version)
    onnx.save(_graph(shift, faulty, len(JOB.horizons), len(JOB.quantiles)), paths.onnx)
    paths.pt.write_bytes(b"weights")
    manifest = Manifest.model_validate(
        {
            "job": JOB.name,
            "version": version,
            "kind": "ridge",
            "schema_hash": vector.schema().hash,
            "data": {"source": "sample", "hash": "0" * 64, "first": "2000-03-01", "last": "2013-03-01"},
            "git_commit": None,
            "metrics": {"rank_ic": {"value": 0.01, "low": -0.01, "high": 0.03}},
            "seeds": (0,),
            "baselines": {},
            "trials": 1,
            "bootstrap": True,
            "trusted": False,
            "horizons": JOB.horizons,
            "quantiles": JOB.quantiles,
            "channels": CHANNELS,
            "bar_channels": BAR_CHANNELS,
            "files": Files(pt=_file(paths.pt), onnx=_file(paths.onnx)),
            **changes,
        }
    )
    paths.manifest.write_text(manifest.model_dump_json())
    return paths.onnx


def _file(path: Path) -> File:
    return File(name=path.name, sha256=checkpoint.sha256_of(path))


def _spoiling(source: str, target: str) -> list[onnx.NodeProto]:
    """The root of minus its magnitude: 0 of 0 and NaN of all else."""
    steps = [("Abs", source, "magnitude"), ("Neg", "magnitude", "negative"), ("Sqrt", "negative", target)]
    return [helper.make_node(operator, [before], [after]) for operator, before, after in steps]


def _graph(shift: float, faulty: bool, horizons: int, quantiles: int) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(0, 1e-3, (CHANNELS, horizons)).astype(np.float32)
    offsets = (shift + np.linspace(-0.05, 0.05, quantiles)).astype(np.float32)
    constants = [
        numpy_helper.from_array(np.array([1], dtype=np.int64), "time"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(offsets, "offsets"),
    ]
    nodes = [
        helper.make_node("ReduceMean", [checkpoint.INPUT, "time"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["mixed"]),
        *(_spoiling("mixed", "medians") if faulty else [helper.make_node("Identity", ["mixed"], ["medians"])]),
        helper.make_node("Unsqueeze", ["medians", "last"], ["columns"]),
        helper.make_node("Add", ["columns", "offsets"], [checkpoint.OUTPUT]),
    ]
    tokens = helper.make_tensor_value_info(checkpoint.INPUT, TensorProto.FLOAT, ["batch", TOKENS, CHANNELS])
    answer = helper.make_tensor_value_info(checkpoint.OUTPUT, TensorProto.FLOAT, ["batch", horizons, quantiles])
    graph = helper.make_graph(nodes, "small", [tokens], [answer], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
