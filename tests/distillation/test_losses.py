"""The losses, against cases worked out by hand, and where their gradients go."""

from __future__ import annotations

import pytest
from conftest import noise

torch = pytest.importorskip("torch", reason="needs the extra [train]")

from chain_of_zoom.distillation import losses  # noqa: E402
from chain_of_zoom.distillation.losses import load_perceptual  # noqa: E402
from chain_of_zoom.errors import MissingError, UsageError  # noqa: E402
from chain_of_zoom.networks.sd.sd3 import to_tensor  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


CPU = torch.device("cpu")


def latents(*values: float) -> torch.Tensor:
    """One latent of 1 x 1 x n."""
    return torch.tensor(values).view(1, 1, 1, -1)


def test_noise_is_added_and_its_estimate_taken_away():
    z, noise_ = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    sigma = torch.tensor([0.25, 1.0, 0.5])
    z_s = losses.add_noise(z, noise_, sigma)
    torch.testing.assert_close(z_s[0], 0.75 * z[0] + 0.25 * noise_[0])
    assert torch.equal(z_s[1], noise_[1])
    torch.testing.assert_close(
        losses.estimate_latents(z_s, noise_ - z, sigma), z
    )  # the true velocity gives the true latent


def test_pixels_is_the_mean_square():
    assert losses.pixel_loss(latents(0.0, 1.0), latents(0.0, -1.0)) == 2


def test_matching_by_hand():
    # mean |z - z_org| = (1 + 3) / 2 = 2; g = (z_reg - z_org) / 2 = (1, -0.5); the loss is mean g^2 = 0.625.
    z = latents(1.0, 2.0).requires_grad_(True)
    loss = losses.matching_loss(z, latents(2.0, -2.0), latents(0.0, -1.0))
    assert loss.item() == pytest.approx(0.625)
    loss.backward()
    torch.testing.assert_close(z.grad, latents(1.0, -0.5))  # 2 g / 2 values


def test_matching_is_scaled_picture_by_picture_and_stays_finite():
    z = torch.cat([latents(1.0, 2.0), latents(10.0, 20.0)]).requires_grad_(True)
    original = torch.cat([latents(0.0, -1.0), latents(0.0, -10.0)])
    regulariser = torch.cat([latents(2.0, -2.0), latents(20.0, -20.0)])
    losses.matching_loss(z, regulariser, original).backward()
    torch.testing.assert_close(z.grad[0], z.grad[1])  # ten times as large, the same step
    same = torch.ones(1, 1, 1, 2)
    assert losses.matching_loss(same, same, same) == 0


def test_the_regularisers_loss_moves_the_estimate_and_not_the_latent():
    z, estimate = latents(1.0, 2.0).requires_grad_(True), latents(2.0, 4.0).requires_grad_(True)
    loss = losses.denoising_loss(estimate, z)
    loss.backward()
    assert loss.item() == pytest.approx(2.5)
    assert z.grad is None
    torch.testing.assert_close(estimate.grad, latents(1.0, 2.0))


@pytest.mark.slow
def test_stlpips_has_gradients_to_the_picture_alone():
    pytest.importorskip("stlpips_pytorch")
    perceptual = load_perceptual("stlpips", CPU)
    truth = to_tensor(noise(64, 64)[None])
    made = (truth * 0.5).requires_grad_(True)
    loss = perceptual(made, truth)
    loss.backward()
    assert torch.isfinite(made.grad).all()
    assert made.grad.abs().max() > 0
    with torch.no_grad():  # a step against the gradient makes it better
        assert perceptual(made - 0.1 * made.grad / made.grad.norm(), truth) < loss
    assert perceptual(truth, truth) == 0


def test_what_is_not_there_is_said(monkeypatch):
    assert load_perceptual("none", CPU) is None
    with pytest.raises(UsageError, match="accepted: lpips, stlpips, none"):
        load_perceptual("dists", CPU)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="or --perceptual stlpips"):
        load_perceptual("lpips", CPU)
    with pytest.raises(MissingError, match="eval-torch"):
        load_perceptual("stlpips", CPU)
