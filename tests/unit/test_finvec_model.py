"""Both candidates as modules: what goes in, what comes out, and that a seed decides it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from caelum_common import vector
from caelum_common.windows import BAR_CHANNELS, CHANNELS, TOKENS
from finvec.candidates import fit_ridge
from finvec.fit import Run
from finvec.model import Transformer
from finvec.presets import LOCAL, PRODUCTION, Shape
from finvec.ridge import Ridge, design, solve
from finvec.windows import hide_groups, predict, without_sentiment
from support.finvec_panel import JOB, TINY, sample_panel, task

BARS = len(BAR_CHANNELS)


def _tokens(count=5, seed=0):
    return 0.02 * torch.randn(count, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(seed))


def _sha256(model):
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _train(seed):
    run = Run(task(sample_panel(), TINY), seed)
    loss = run.fit(lambda *_: None, lambda _: None)
    return run.model, loss


def _wild(model):
    """The model with weights that make it disagree with itself: quantile heads that cross."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def test_quantiles_ascend_even_when_the_heads_cross():
    model = _wild(Transformer(Shape(16, 2, 2, 0.0), JOB))
    with torch.no_grad():
        quantiles = model(_tokens())
    assert quantiles.shape == (5, len(JOB.horizons), len(JOB.quantiles))
    assert (quantiles.diff(dim=-1) >= 0).all()


def test_an_untrained_transformer_says_a_normal_distribution_of_the_window_s_volatility():
    model = Transformer(Shape(16, 2, 2, 0.0), JOB).eval()
    tokens = torch.zeros(1, TOKENS, CHANNELS)
    tokens[:, :, 0] = 0.01
    with torch.no_grad():
        quantiles = model(tokens)[0]
    expected = 0.01 * np.sqrt(JOB.horizons)[:, None] * np.array([-1.645, -0.674, 0, 0.674, 1.645])
    np.testing.assert_allclose(quantiles.numpy(), expected, atol=1e-4)


def test_a_window_in_other_units_gets_its_answer_in_those_units():
    model = _wild(Transformer(Shape(16, 2, 2, 0.0), JOB))
    tokens = _tokens()
    doubled = tokens.clone()
    doubled[..., [at for at, name in enumerate(BAR_CHANNELS) if name != "log_volume_vs_20d"]] *= 2
    with torch.no_grad():
        torch.testing.assert_close(model(doubled), 2 * model(tokens), rtol=1e-3, atol=1e-6)


def test_a_token_sees_no_later_one():
    model = _wild(Transformer(Shape(16, 2, 2, 0.0), JOB))
    block = model.blocks[0]
    state = torch.randn(1, TOKENS, 16)
    later = state.clone()
    later[:, 40:] += 1
    with torch.no_grad():
        torch.testing.assert_close(block(later)[:, :40], block(state)[:, :40])


def test_the_last_block_answers_what_a_whole_one_would():
    torch.manual_seed(0)
    model = Transformer(Shape(16, 1, 2, 0.0), JOB).eval()
    block = model.blocks[0]
    state = torch.randn(3, TOKENS, 16)
    with torch.no_grad():
        short = block(state)
        block.last = block.attention.last = False  # type: ignore[assignment,union-attr] # ModuleList is untyped
        torch.testing.assert_close(short, block(state)[:, -1:], rtol=1e-5, atol=1e-5)


def test_the_answer_depends_on_the_order_of_the_days():
    """With one block, whose last token sees all others, nothing but the rotary positions tells their order."""
    model = _wild(Transformer(Shape(16, 1, 2, 0.0), JOB))
    tokens = _tokens()
    shuffled = torch.cat([tokens[:, :-1].flip(1), tokens[:, -1:]], dim=1)
    with torch.no_grad():
        assert (model(tokens) - model(shuffled)).abs().max() > 1e-6


def test_a_halted_stock_gets_finite_numbers():
    with torch.no_grad():
        for model in (Transformer(Shape(16, 2, 2, 0.0), JOB), Ridge(JOB)):
            assert torch.isfinite(model.eval()(torch.zeros(1, TOKENS, CHANNELS))).all()


def test_the_presets_have_the_sizes_they_promise():
    assert Transformer(LOCAL.shape, JOB).size() <= 100_000
    with torch.device("meta"):
        assert 20e6 < sum(each.numel() for each in Transformer(PRODUCTION.shape, JOB).parameters()) < 60e6


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    (one, loss), (again, same_loss), (other, _) = _train(1), _train(1), _train(2)
    assert _sha256(one) == _sha256(again)
    assert loss == same_loss
    assert _sha256(one) != _sha256(other)


def test_the_ridge_repeats_itself_too():
    one, again = (fit_ridge(task(sample_panel(), TINY), seed=1).model for _ in range(2))
    assert _sha256(one) == _sha256(again)


def test_all_tensors_of_a_training_are_made_where_its_data_are():
    """No GPU is needed to see it: with another default device, a tensor made without one can't meet the data."""
    one = task(sample_panel(), TINY)
    model, run = Ridge(JOB), Run(one, seed=1)
    model.fit_scales(one.sample())
    with torch.device("meta"):
        rows, targets = design(model, one.windows.chunks(one.train))
        solve(model, rows, targets, 1e3, JOB.quantiles)
        judged = one.judge(model)
        fitted = run.fit(lambda *_: None, lambda _: None)
    assert 0 < judged < 1
    assert 0 < fitted < 1


def test_the_ridge_finds_a_linear_law():
    panel = sample_panel()
    one = task(panel, LOCAL)
    tokens = torch.from_numpy(np.nan_to_num(panel.tokens))
    law = 0.5 * tokens[:, 0].numpy()[:, None] * np.ones(3, dtype=np.float32)
    ruled = replace(panel, targets=np.where(np.isfinite(panel.targets), law, np.nan).astype(np.float32))
    found = fit_ridge(task(ruled, LOCAL), seed=1)
    assert found.test["rank_ic"].low > 0.8
    assert len(found.runs) == found.trials
    medians = predict(found.model, one.windows, one.test)[:, 0, 2]
    assert np.corrcoef(medians, law[one.test, 0])[0, 1] > 0.9


def test_a_gauge_that_was_always_masked_in_training_says_nothing_later():
    model = fit_ridge(task(sample_panel(), TINY), seed=1).model
    tokens = _tokens()
    with torch.no_grad():
        torch.testing.assert_close(model(without_sentiment(tokens)), model(tokens))


def test_training_hides_whole_groups_and_sometimes_all():
    tokens = torch.ones(4000, TOKENS, CHANNELS)
    torch.manual_seed(0)
    hidden = hide_groups(tokens[:, :1], drop_group=0.2, drop_all=0.3)[:, 0]
    assert (hidden[:, :BARS] == 1).all()
    values, mask = hidden[:, BARS : BARS + vector.WIDTH], hidden[:, BARS + vector.WIDTH :]
    assert torch.equal(values, mask)
    for group in vector.schema().groups.values():
        kept = mask[:, group.start : group.stop].mean(dim=1)
        assert ((kept == 0) | (kept == 1)).all()
        assert kept.mean().item() == pytest.approx(0.7 * 0.8, abs=0.03)
    assert (mask.sum(dim=1) == 0).float().mean().item() == pytest.approx(0.3 + 0.7 * 0.2**4, abs=0.03)
