"""The transformer, and what both candidates share: tokens in, quantiles of log returns out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from caelum_common.jobs import Job
from caelum_common.windows import BAR_CHANNELS, CHANNELS, TOKENS
from finvec.presets import Shape

RETURN = BAR_CHANNELS.index("return_1d")
VOLUME = BAR_CHANNELS.index("log_volume_vs_20d")


class QuantileModel(nn.Module):
    """float32 (N, TOKENS, CHANNELS) → (N, horizons, quantiles) log returns, ascending over the quantiles.

    A window is measured in its own daily volatility and the answer is given back in it, so that calm and wild
    markets look alike to `standard`, which subclasses define. Channel scales come from `fit_scales`.
    """

    mean: Tensor
    scale: Tensor
    root_horizons: Tensor

    def __init__(self, horizons: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(BAR_CHANNELS)))
        self.register_buffer("scale", torch.ones(len(BAR_CHANNELS)))
        self.register_buffer("root_horizons", torch.tensor(horizons, dtype=torch.float32).sqrt())

    def forward(self, tokens: Tensor) -> Tensor:
        """Quantiles of log returns."""
        return self.standard(self.normalise(tokens)) * self.unit(tokens)

    def standard(self, tokens: Tensor) -> Tensor:
        """Quantiles in units of `unit`, (N, horizons, quantiles), from normalised tokens."""
        raise NotImplementedError

    def unit(self, tokens: Tensor) -> Tensor:
        """The window's daily volatility times √H: (N, horizons, 1), log return."""
        return (_volatility(tokens) * self.root_horizons).unsqueeze(-1)

    def normalise(self, tokens: Tensor) -> Tensor:
        """Bar channels in the window's volatility, centred and scaled; sentiment is bounded already and stays."""
        bars = (in_volatility(tokens) - self.mean) / self.scale
        return torch.cat([bars.clamp(-8.0, 8.0), tokens[..., len(BAR_CHANNELS) :]], dim=-1)

    def size(self) -> int:
        """How many numbers it learnt."""
        return sum(each.numel() for each in self.parameters())

    def fit_scales(self, windows: Tensor) -> None:
        """Takes mean and deviation of the bar channels from these windows, (N, TOKENS, CHANNELS): the train slice."""
        bars = in_volatility(windows).flatten(0, 1)
        self.mean.copy_(bars.mean(dim=0))
        self.scale.copy_(bars.std(dim=0).clamp_min(1e-6))


def _volatility(tokens: Tensor) -> Tensor:
    """Root mean square of the window's daily returns, (N, 1); at least 1e-4, for a halted stock."""
    return tokens[:, :, RETURN].square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-4)


def in_volatility(tokens: Tensor) -> Tensor:
    """The bar channels, those that are returns divided by the window's volatility: (N, TOKENS, bar channels)."""
    volume = torch.zeros(len(BAR_CHANNELS), dtype=torch.bool, device=tokens.device)
    volume[VOLUME] = True
    bars = tokens[..., : len(BAR_CHANNELS)]
    return torch.where(volume, bars, bars / _volatility(tokens).unsqueeze(-1))


class Transformer(QuantileModel):
    """Causal decoder-only transformer; the last token's state answers, through one quantile head per horizon."""

    def __init__(self, shape: Shape, job: Job) -> None:
        super().__init__(job.horizons)
        self.shape = shape
        self.outputs = (len(job.horizons), len(job.quantiles))
        self.embed = nn.Linear(CHANNELS, shape.width)
        self.blocks = nn.ModuleList(Block(shape, last=layer == shape.layers - 1) for layer in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=1e-6)
        self.head = nn.Linear(shape.width, self.outputs[0] * self.outputs[1])
        self.apply(_initialise)
        # It starts as a normal distribution around zero, the answer to beat.
        levels = torch.tensor(job.quantiles, dtype=torch.float32)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_((torch.special.ndtri(levels)).repeat(len(job.horizons)))

    def standard(self, tokens: Tensor) -> Tensor:
        """Sorted quantiles in units of volatility."""
        state = self.embed(tokens)
        for block in self.blocks:
            state = block(state)
        quantiles = self.head(self.norm(state[:, -1])).unflatten(-1, self.outputs)
        ascending: Tensor = torch.sort(quantiles.float(), dim=-1).values
        return ascending


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Block(nn.Module):
    """Attention, then a gated feed-forward layer (SwiGLU, Shazeer 2020), each on a normed residual.

    Only the last token's state is read from the `last` block, so it computes no other: half the work of two layers.
    """

    def __init__(self, shape: Shape, *, last: bool) -> None:
        super().__init__()
        self.last = last
        hidden = 8 * shape.width // 3 // 8 * 8
        self.attention_norm = nn.RMSNorm(shape.width, eps=1e-6)
        self.attention = Attention(shape, last=last)
        self.feed_norm = nn.RMSNorm(shape.width, eps=1e-6)
        self.gate = nn.Linear(shape.width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, shape.width, bias=False)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, state: Tensor) -> Tensor:
        """(N, TOKENS, width) → the same shape, or (N, 1, width) from the last block."""
        residual = state[:, -1:] if self.last else state
        state = torch.add(residual, self.dropout(self.attention(self.attention_norm(state))))
        gate, up = self.gate(self.feed_norm(state)).chunk(2, dim=-1)
        return torch.add(state, self.dropout(self.down(functional.silu(gate) * up)))


class Attention(nn.Module):
    """Causal self-attention with rotary positions (RoPE, Su et al. 2021)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.heads = shape.heads
        self.mix = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        pairs = shape.width // shape.heads // 2
        # Wavelengths up to about 300 sessions: a window holds 64.
        angles = torch.outer(torch.arange(TOKENS).float(), 50.0 ** (-torch.arange(pairs).float() / pairs))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, state: Tensor) -> Tensor:
        """(N, TOKENS, width) → the same shape, or (N, 1, width); a token sees itself and earlier ones."""
        queries, keys, values = self.mix(state).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        queries, keys = self.turn(queries), self.turn(keys)
        if self.last:
            queries = queries[:, :, -1:]
        seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=not self.last)
        answer: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return answer

    def turn(self, heads: Tensor) -> Tensor:
        """Rotates each pair of channels by its position's angle."""
        left, right = heads.chunk(2, dim=-1)
        cos, sin = self.cos.to(heads.dtype), self.sin.to(heads.dtype)
        return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


def pinball(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Mean pinball loss of (N, horizons, quantiles) against (N, horizons)."""
    error = target.unsqueeze(-1) - quantiles
    return torch.maximum(levels * error, (levels - 1) * error).mean()
