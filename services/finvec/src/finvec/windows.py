"""Batches of windows on the device, and the sentiment groups hidden from them in training."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from caelum_common import vector
from caelum_common.windows import BAR_CHANNELS, TOKENS, Floats
from finvec.data import Ints, Panel

CHUNK = 256  # rows predicted at once


class Windows:
    """Windows of a panel, gathered when asked for: as a whole they would take 64 times the panel's memory."""

    def __init__(self, panel: Panel, device: torch.device) -> None:
        self.device = device
        self._tokens = torch.from_numpy(np.nan_to_num(panel.tokens)).to(device)
        self._targets = torch.from_numpy(panel.targets).to(device)
        self._back = torch.arange(1 - TOKENS, 1, device=device)

    def at(self, rows: Ints | Tensor) -> tuple[Tensor, Tensor]:
        """Windows (n, TOKENS, CHANNELS) that end at these rows, and their targets (n, horizons)."""
        ends = torch.as_tensor(rows, device=self.device)
        return self._tokens[ends[:, None] + self._back], self._targets[ends]

    def chunks(self, rows: Ints) -> Iterator[tuple[Tensor, Tensor]]:
        """All of these rows, CHUNK at a time."""
        for start in range(0, len(rows), CHUNK):
            yield self.at(rows[start : start + CHUNK])


@torch.no_grad()
def predict(model: nn.Module, windows: Windows, rows: Ints, masked: bool = False) -> Floats:
    """Log-return quantiles of these rows, (n, horizons, quantiles); `masked` hides all sentiment from the model."""
    model.eval()
    answers = [model(without_sentiment(tokens) if masked else tokens) for tokens, _ in windows.chunks(rows)]
    quantiles: Floats = torch.cat(answers).float().cpu().numpy()
    return quantiles


def without_sentiment(tokens: Tensor) -> Tensor:
    """The same windows as they look when SenVec is down: values and mask 0."""
    bars = tokens.clone()
    bars[..., len(BAR_CHANNELS) :] = 0
    return bars


def hide_groups(tokens: Tensor, drop_group: float, drop_all: float) -> Tensor:
    """The windows with whole sentiment groups, and sometimes all, hidden at random (torch's generator).

    So a service that is down at serving time is something that the model has met in training.
    """
    groups = vector.schema().groups.values()
    shape = (len(tokens), len(groups) + 1)
    chance = torch.rand(shape, device=tokens.device)
    kept = (chance[:, 1:] >= drop_group) & (chance[:, :1] >= drop_all)
    width = torch.tensor([len(group) for group in groups], device=tokens.device)
    sentiment = kept.repeat_interleave(width, dim=1).repeat(1, 2)
    bars = kept.new_ones(len(tokens), len(BAR_CHANNELS))
    return tokens * torch.cat([bars, sentiment], dim=1).unsqueeze(1)
