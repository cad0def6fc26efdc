"""Writing a trained model: weights, the ONNX graph that FinColl serves, and the manifest that vouches for both."""

import errno
import io
import logging
import os
import pickle
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from caelum_common import checkpoint
from caelum_common.checkpoint import BadCheckpoint, File, Files, Manifest, Paths
from caelum_common.inference import onnxruntime
from caelum_common.jobs import Job, resolve
from caelum_common.windows import Floats
from finvec.errors import ExportFailed, VersionTaken
from finvec.files import sync_folder, write_atomic
from finvec.model import Transformer
from finvec.presets import Shape
from finvec.ridge import Ridge
from finvec.versions import check_free, staging

# File systems without hard links; the check just before must do there.
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
TOLERANCE = 1e-4  # largest difference between torch and onnxruntime, in log return


def write(model: nn.Module, manifest: dict[str, Any], folder: Path, samples: Floats) -> tuple[Paths, Manifest]:
    """Writes `<job>-<version>.pt`, `.onnx` and, last, `.json` into `folder`; nothing of it appears before all is well.

    `manifest` holds the manifest's fields without `files`; `samples` are real windows (n >= 2, TOKENS, CHANNELS) on
    which torch and ONNX must agree. Raises ExportFailed, VersionTaken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = checkpoint.paths(folder, manifest["job"], manifest["version"])
    with tempfile.TemporaryDirectory(dir=folder, prefix=staging(manifest["job"], manifest["version"])) as name:
        staged = checkpoint.paths(Path(name), manifest["job"], manifest["version"])
        _write_onnx(model, staged.onnx, samples)
        check_parity(model, staged.onnx, samples)
        write_atomic(staged.pt, _weights(model, manifest))
        files = Files(pt=_listed(staged.pt), onnx=_listed(staged.onnx))
        complete = Manifest.model_validate({**manifest, "files": files})
        check_free(paths)
        _publish(staged.pt, paths.pt)
        _publish(staged.onnx, paths.onnx)
    sync_folder(folder)
    write_atomic(paths.manifest, complete.model_dump_json(indent=2).encode() + b"\n")
    return paths, complete


def _publish(staged: Path, final: Path) -> None:
    """Gives a file its final name, which must be free until this very moment. Raises VersionTaken."""
    try:
        os.link(staged, final)
    except FileExistsError:
        raise VersionTaken(f"{final} came meanwhile and a version never changes; train again") from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        staged.replace(final)


def _listed(path: Path) -> File:
    return File(name=path.name, sha256=checkpoint.sha256_of(path))


def _weights(model: nn.Module, manifest: dict[str, Any]) -> bytes:
    """What `load` needs: the job, the kind, the shape and the weights."""
    buffer = io.BytesIO()
    shape = asdict(model.shape) if isinstance(model, Transformer) else None
    content = {"job": manifest["job"], "kind": manifest["kind"], "shape": shape, "state": model.state_dict()}
    torch.save(content, buffer)
    return buffer.getvalue()


def _write_onnx(model: nn.Module, path: Path, samples: Floats) -> None:
    """The graph with a free first dimension, fsynced."""
    model.eval()
    example = (torch.from_numpy(samples[:2]),)
    batch = torch.export.Dim("batch", min=1, max=100_000)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that no graph of ours needs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own internals
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            dynamic_shapes={"tokens": {0: batch}},
            input_names=[checkpoint.INPUT],
            output_names=[checkpoint.OUTPUT],
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportFailed("torch.onnx.export gave no program")
    program.save(str(path), external_data=False)
    path.chmod(0o644)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def check_parity(model: nn.Module, onnx: Path, samples: Floats) -> None:
    """Raises ExportFailed unless onnxruntime answers as torch does, for one window and for all of `samples`."""
    model.eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more would pin themselves to processors, which a sandbox forbids
    session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    for tokens in (samples[:1], samples):
        with torch.no_grad():
            expected = model(torch.from_numpy(tokens)).numpy()
        found = session.run([checkpoint.OUTPUT], {checkpoint.INPUT: tokens})[0]
        gap = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
        if not gap <= TOLERANCE:
            raise ExportFailed(f"ONNX and torch differ by {gap:.2g} on {len(tokens)} windows, more than {TOLERANCE}")


def load(path: Path) -> nn.Module:
    """The model in a .pt file, once its manifest has vouched for it. Raises BadCheckpoint."""
    checkpoint.load(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model = build(content["kind"], resolve(content["job"]), content["shape"])
        model.load_state_dict(content["state"])
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(
            f"{path} holds no model of this release ({type(error).__name__}); train a new version"
        ) from None
    return model.eval()


def build(kind: str, job: Job, shape: dict[str, Any] | None) -> nn.Module:
    """An untrained model of this kind; a transformer needs its shape. Raises TypeError for a shape that isn't one."""
    return Ridge(job) if kind == "ridge" else Transformer(Shape(**(shape or {})), job)
