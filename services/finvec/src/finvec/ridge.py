"""The ridge candidate: a linear mean per horizon from a summary of the window, and the spread of what it leaves."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from caelum_common.jobs import Job
from caelum_common.windows import BAR_CHANNELS, CHANNELS, TOKENS
from finvec.model import RETURN, QuantileModel

MEANS = (5, 20, TOKENS)  # sessions over which channels are averaged
PENALTIES = (1e3, 1e4, 1e5, 1e6)  # tried; validation picks one
_AVERAGED = CHANNELS - (CHANNELS - len(BAR_CHANNELS)) // 2  # bars and values; the mask's mean says little more
FEATURES = CHANNELS + len(MEANS) * _AVERAGED + TOKENS


class Ridge(QuantileModel):
    """Closed-form ridge regression as a torch module, so that it exports and serves as the transformer does."""

    centre: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor
    residuals: Tensor

    def __init__(self, job: Job) -> None:
        super().__init__(job.horizons)
        horizons = len(job.horizons)
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        self.register_buffer("weight", torch.zeros(FEATURES, horizons))
        self.register_buffer("bias", torch.zeros(horizons))
        self.register_buffer("residuals", torch.zeros(horizons, len(job.quantiles)))

    def size(self) -> int:
        """How many numbers the solution holds."""
        return self.weight.numel() + self.bias.numel() + self.residuals.numel()

    def standard(self, tokens: Tensor) -> Tensor:
        """The mean plus the quantiles of the train slice's residuals."""
        mean = ((summary(tokens) - self.centre) / self.spread) @ self.weight + self.bias
        return mean.unsqueeze(-1) + self.residuals


def summary(tokens: Tensor) -> Tensor:
    """The last token, means over the last sessions and the path of daily returns: (N, FEATURES)."""
    means = [tokens[:, -span:, :_AVERAGED].mean(dim=1) for span in MEANS]
    return torch.cat([tokens[:, -1], *means, tokens[:, :, RETURN]], dim=-1)


@torch.no_grad()
def design(model: Ridge, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Summaries (n, FEATURES) and targets in units of volatility (n, horizons) of all (windows, log returns)."""
    rows, targets = [], []
    for windows, returns in batches:
        rows.append(summary(model.normalise(windows)))
        targets.append(returns / model.unit(windows).squeeze(-1))
    return torch.cat(rows), torch.cat(targets)


@torch.no_grad()
def solve(model: Ridge, rows: Tensor, targets: Tensor, penalty: float, levels: Sequence[float]) -> None:
    """Puts the closed-form solution into `model`: (X'X + penalty·I)⁻¹ X'y on standardised columns, in float64."""
    model.centre.copy_(rows.mean(dim=0))
    deviation = rows.std(dim=0)
    # A column that never moved in training, such as a gauge always masked, must say nothing later.
    model.spread.copy_(torch.where(deviation > 1e-4, deviation, torch.inf))
    model.bias.copy_(targets.mean(dim=0))
    x = ((rows - model.centre) / model.spread).double()
    y = (targets - model.bias).double()
    gram = x.T @ x + penalty * torch.eye(FEATURES, dtype=torch.float64, device=rows.device)
    model.weight.copy_(torch.linalg.solve(gram, x.T @ y))
    left = y - x @ model.weight.double()
    wanted = torch.tensor(levels, dtype=torch.float64, device=rows.device)
    model.residuals.copy_(torch.quantile(left, wanted, dim=0).T)
