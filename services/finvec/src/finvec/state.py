"""The state of an unfinished training, from which `--resume` goes on as if nothing had happened."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from finvec.errors import CannotResume
from finvec.files import write_atomic


class StateFile:
    """A dictionary of tensors and plain values on disk, replaced atomically, tied to one training's fingerprint."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint

    def load(self) -> dict[str, Any]:
        """The state as it was last saved. Raises CannotResume."""
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise CannotResume(f"there is no training state {self.path}; start without --resume") from None
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            raise CannotResume(f"training state {self.path} can't be read; start without --resume") from None
        if state.pop("fingerprint", None) != self.fingerprint:
            raise CannotResume(f"training state {self.path} is of other data, code or settings; start without --resume")
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the state on disk."""
        buffer = io.BytesIO()
        torch.save({"fingerprint": self.fingerprint, **state}, buffer)
        write_atomic(self.path, buffer.getvalue())

    def remove(self) -> None:
        """Forgets it: the training is done."""
        self.path.unlink(missing_ok=True)
