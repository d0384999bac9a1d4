"""Training losses: what they are against libraries and by hand, and that they can be trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from restore_models.losses import detail_loss, fidelity_loss, frequency_loss, pinball_loss, ssim_loss


def images(seed: int = 0, height: int = 32, width: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth truth and a noisy point, in network units."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    truth = np.stack([np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)])[None] * 0.7
    point = truth + rng.normal(0, 0.1, truth.shape)
    return torch.from_numpy(point.astype(np.float32)), torch.from_numpy(truth.astype(np.float32))


def test_similarity_is_that_of_the_library() -> None:
    point, truth = images()
    one, other = (t[0].permute(1, 2, 0).double().numpy() for t in (point, truth))
    _, each = structural_similarity(
        one,
        other,
        data_range=1020 / 512,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inside = each[5:-5, 5:-5].mean()  # windows that reach beyond the edge are left out here
    assert float(ssim_loss(point, truth)) == pytest.approx(1 - inside, abs=1e-4)
    assert float(ssim_loss(truth, truth)) == pytest.approx(0, abs=1e-6)


def test_frequency_of_a_wave_lies_in_one_place() -> None:
    height, width = 16, 32
    x = torch.arange(width) / width
    wave = torch.cos(2 * torch.pi * 4 * x).expand(1, 3, height, width)
    # orthonormal: one coefficient of sqrt(height * width) / 2, among height * (width / 2 + 1) pairs
    expected = np.sqrt(height * width) / 2 / (2 * height * (width // 2 + 1))
    assert float(frequency_loss(wave)) == pytest.approx(expected, rel=1e-4)
    assert float(frequency_loss(2 * wave)) == pytest.approx(2 * expected, rel=1e-4)


def test_frequency_weighs_patches_of_any_size_alike() -> None:
    torch.manual_seed(0)
    small, large = (float(frequency_loss(torch.randn(2, 3, side, side))) for side in (32, 128))
    assert small == pytest.approx(large, rel=0.05)


def test_terms_of_weight_zero_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    point, truth = images()
    assert detail_loss(point[:, :, :4], truth[:, :, :4], ssim=0, frequency=0) == 0.0
    both = detail_loss(point, truth, ssim=0.3, frequency=0.2)
    parts = 0.3 * ssim_loss(point, truth) + 0.2 * frequency_loss(point - truth)
    assert float(both) == pytest.approx(float(parts))


@pytest.mark.parametrize("term", ["ssim", "frequency"])
def test_a_step_down_the_gradient_helps(term: str) -> None:
    point, truth = images()
    point.requires_grad_()
    weights = {"ssim": 0.0, "frequency": 0.0, term: 1.0}
    loss = detail_loss(point, truth, **weights)
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert point.grad is not None
    assert bool(torch.isfinite(point.grad).all())
    assert float(point.grad.abs().max()) > 0
    with torch.no_grad():
        moved = point - 0.02 * point.grad / point.grad.abs().max()
        assert float(detail_loss(moved, truth, **weights)) < float(loss)


def test_gradient_of_similarity_is_right() -> None:
    point, truth = images(height=12, width=13)
    point = point.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: ssim_loss(p, truth.double()), (point,), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"), [("l1", 0.3), ("l2", 0.09), ("charbonnier", 0.3), ("psnr", -0.0376)]
)
def test_fidelity_by_hand(kind: str, expected: float) -> None:
    assert float(fidelity_loss(kind, torch.full((2, 3, 4, 4), -0.3))) == pytest.approx(expected, abs=1e-4)


def test_balance_weighs_images_by_their_own_loss() -> None:
    difference = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.9)])
    plain = float(fidelity_loss("l1", difference))
    balanced = float(fidelity_loss("l1", difference, balance=1.0))
    assert plain == pytest.approx(0.5)
    assert balanced < 0.25


def test_pinball_is_least_at_the_quantiles() -> None:
    torch.manual_seed(0)
    truth = torch.rand(1, 3, 64, 64)
    point = torch.full_like(truth, 0.5)

    def loss(half: float) -> float:
        return float(pinball_loss(torch.full((1, 6, 64, 64), half), point, truth))

    assert loss(0.45) < loss(0.35)
    assert loss(0.45) < loss(0.55)
