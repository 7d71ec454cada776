"""What the networks promise beside equality with the published ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bridgepipe.errors import UserError
from bridgepipe.methods import tiles
from bridgepipe.networks import adm, ddpm, layers, mlp, residual, rounded
from bridgepipe.networks.hspace import HSpace

SMALL: dict[str, Any] = {
    "model_channels": 32,
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "channel_mult": (1, 2),
    "num_heads": 2,
    "use_scale_shift_norm": True,
}


def alive(network: nn.Module) -> nn.Module:
    """The network with its zero-initialised layers made random, so that outputs depend on inputs."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def unet(updown: bool = True, **changes: Any) -> adm.UNet:
    torch.manual_seed(0)
    return alive(adm.UNet(16, 3, out_channels=3, resblock_updown=updown, **(SMALL | changes)))  # type: ignore[return-value]


def ddpm_unet() -> ddpm.UNet:
    torch.manual_seed(0)
    return alive(ddpm.UNet(16, 3, 32, 3, 1, (8,), ch_mult=(1, 2)))  # type: ignore[return-value]


def residual_unet() -> residual.ResidualUNet:
    torch.manual_seed(0)
    return alive(residual.ResidualUNet(3, 3, 8, (1, 2), 1))  # type: ignore[return-value]


def images(batch: int = 2, height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("build", [unet, lambda: unet(updown=False), ddpm_unet, residual_unet])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20), (32, 8)])
@torch.no_grad()
def test_any_size_that_halves_evenly(build: Any, height: int, width: int) -> None:
    x = images(1, height, width)
    assert build()(x, torch.tensor([3.5])).shape == x.shape


@pytest.mark.parametrize("build", [unet, ddpm_unet])
def test_other_sizes_are_refused_in_one_line(build: Any) -> None:
    with pytest.raises(UserError, match="15x16 pixels do not divide by 2"):
        build()(images(1, 15, 16), torch.tensor([0]))


@pytest.mark.parametrize("build", [unet, lambda: unet(updown=False), ddpm_unet])
@torch.no_grad()
def test_channels_last_changes_layout_only(build: Any) -> None:
    network, x, t = build(), images(), torch.tensor([10, 900])
    expected = network(x, t)
    network.to(memory_format=torch.channels_last)
    actual = network(x.contiguous(memory_format=torch.channels_last), t)
    assert actual.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [unet, ddpm_unet])
@torch.no_grad()
def test_integer_and_float_timesteps_agree(build: Any) -> None:
    network, x = build(), images()
    t = torch.tensor([10, 900])
    assert torch.equal(network(x, t), network(x, t.float()))
    assert not torch.equal(network(x, t.float()), network(x, t + 0.25))


@pytest.mark.parametrize("build", [unet, ddpm_unet])
@torch.no_grad()
def test_images_of_a_batch_do_not_mix(build: Any) -> None:
    network, x, t = build(), images(3), torch.tensor([1, 10, 900])
    torch.testing.assert_close(network(x, t)[1:2], network(x[1:2], t[1:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [unet, ddpm_unet])
@torch.no_grad()
def test_float64_all_the_way(build: Any) -> None:
    network, x, t = build(), images(), torch.tensor([10.0, 900.0])
    single = network(x, t)
    double = network.double()(x.double(), t)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4)


@pytest.mark.parametrize("build", [unet, ddpm_unet])
@torch.no_grad()
def test_low_precision_is_close_and_comes_back_in_the_dtype_of_x(build: Any) -> None:
    network, x, t = build(), images(), torch.tensor([10, 900])
    expected = network(x, t)
    with torch.autocast("cpu", torch.bfloat16):
        actual = network(x, t)
    assert actual.dtype == torch.float32
    assert (actual - expected).abs().max() < 0.05 * expected.abs().max()


def test_group_norm_works_in_float32() -> None:
    norm = layers.normalization(64)
    x = (100 + torch.randn(2, 64, 8, 8)).bfloat16()
    expected = norm(x.float()).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(norm(x), expected)
    assert torch.equal(norm.bfloat16()(x), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [4, 32])
@pytest.mark.parametrize("is_scaled", [False, True])
@torch.no_grad()
def test_quick_normalisation_agrees_with_the_plain_one(
    layout: torch.memory_format, side: int, is_scaled: bool
) -> None:
    norm = layers.normalization(64)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = (10 + torch.randn(2, 64, side, side)).bfloat16().to(memory_format=layout)
    scaled = torch.randn(2, 2, 64, 1, 1).bfloat16().unbind() if is_scaled else ()
    expected = norm.activated(x.float(), *(part.float() for part in scaled))
    with torch.autocast("cpu", torch.bfloat16):
        actual = norm.activated(x, *scaled)
        assert (norm(x) - norm(x.float())).abs().max() < 0.05
    assert actual.dtype == torch.bfloat16
    assert (actual - expected).abs().max() < 0.05 + 0.02 * expected.abs().max()


@pytest.mark.parametrize("tokens", [7, 64, 2100])
@torch.no_grad()
def test_quick_attention_agrees_with_the_plain_one(tokens: int) -> None:
    q, k, v = torch.randn(3, 2, tokens, 3, 16)
    actual = layers.attend(*(part.bfloat16() for part in (q, k, v)))
    assert (actual - layers.attend(q, k, v)).abs().max() < 0.05


def agree(actual: Tensor, expected: Tensor) -> bool:
    """Within what bf16 rounds, some 0.4 % of each number."""
    return bool((actual.float() - expected).norm() < 0.01 * expected.norm())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [4, 32])
@pytest.mark.parametrize("is_scaled", [False, True])
def test_quick_normalisation_has_the_gradients_of_the_plain_one(
    layout: torch.memory_format, side: int, is_scaled: bool
) -> None:
    torch.manual_seed(0)
    norm = layers.normalization(64)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = (3 + torch.randn(2, 64, side, side)).bfloat16().to(memory_format=layout).requires_grad_()
    moves = [part.requires_grad_() for part in torch.randn(2, 2, 64, 1, 1).bfloat16()] if is_scaled else []
    weights = torch.randn(2, 64, side, side).to(memory_format=layout)
    learning = [x, norm.weight, norm.bias, *moves]
    plain = norm.activated(x.float(), *(part.float() for part in moves))
    expected = torch.autograd.grad((plain * weights).sum(), learning)
    with torch.autocast("cpu", torch.bfloat16):
        quick = norm.activated(x, *moves)
    assert quick.stride() == x.stride()
    assert agree(quick, plain)
    actual = torch.autograd.grad((quick * weights).sum(), learning)
    assert all(agree(one, other.float()) for one, other in zip(actual, expected, strict=True))


def test_quick_normalisation_gives_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    norm = layers.normalization(64)
    x = torch.randn(5, 64, 8, 8).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    moves = [part.requires_grad_() for part in torch.randn(2, 5, 64, 1, 1).bfloat16()]
    weights = torch.randn(5, 64, 8, 8)

    def found() -> list[Tensor]:
        output = norm.activated(x, *moves)
        of = [x, norm.weight, norm.bias, *moves]
        return [output, *torch.autograd.grad((output * weights).sum(), of)]

    whole = found()
    monkeypatch.setattr(rounded, "CACHED", 2 * x[0].numel())  # two images, two, and one
    assert all(torch.equal(one, other) for one, other in zip(found(), whole, strict=True))


@pytest.mark.parametrize("tokens", [7, 64, 1100])
def test_quick_attention_has_the_gradients_of_the_plain_one(tokens: int) -> None:
    torch.manual_seed(0)
    given = [part.bfloat16().requires_grad_() for part in torch.randn(3, 2, tokens, 3, 16)]
    weights = torch.randn(2, tokens, 48)
    expected = torch.autograd.grad((layers.attend(*(p.float() for p in given)) * weights).sum(), given)
    actual = torch.autograd.grad((layers.attend(*given) * weights).sum(), given)
    assert all(agree(one, other.float()) for one, other in zip(actual, expected, strict=True))


@pytest.mark.parametrize("build", [unet, ddpm_unet])
def test_rounded_networks_learn(build: Any) -> None:
    def gradients(enabled: bool) -> list[Tensor]:
        network = build()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            network(images(), torch.tensor([1, 500])).square().mean().backward()
        return [parameter.grad for parameter in network.parameters()]

    expected, actual, again = gradients(False), gradients(True), gradients(True)
    assert all(torch.equal(one, other) for one, other in zip(actual, again, strict=True))
    whole = [torch.cat([part.flatten() for part in parts]) for parts in (actual, expected)]
    assert (whole[0] - whole[1]).norm() < 0.05 * whole[1].norm()


@pytest.mark.parametrize("build", [lambda: adm.UNet(16, 3, out_channels=6, **SMALL), mlp.PointNet])
def test_networks_start_at_zero(build: Any) -> None:
    network = build()
    x = images() if isinstance(network, adm.UNet) else torch.randn(2, 2)
    assert not network(x, torch.tensor([1, 2])).any()


def test_every_parameter_learns() -> None:
    for network in (unet(), unet(updown=False), ddpm_unet()):
        network(images(), torch.tensor([1, 500])).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_labels_are_needed_exactly_when_there_are_classes() -> None:
    x, t, y = images(), torch.tensor([1, 2]), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="labels"):
        unet()(x, t, y)
    with pytest.raises(ValueError, match="labels"):
        unet(num_classes=2)(x, t)
    one, other = (unet(num_classes=2)(x, t, labels) for labels in (y, 1 - y))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_channels": 48}, "48 channels do not divide into 32 groups"),
        ({"num_heads": 3}, "64 channels do not divide into attention heads"),
        ({"num_head_channels": 24}, "64 channels do not divide into attention heads"),
    ],
)
def test_impossible_widths_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        adm.UNet(16, 3, out_channels=3, **(SMALL | changes))


def test_classifier_takes_its_own_size_only_unless_it_averages() -> None:
    x, t = images(2, 16, 32), torch.tensor([0.5, 7])
    assert adm.Classifier((16, 32), 3, out_channels=10, **SMALL)(x, t).shape == (2, 10)
    assert adm.Classifier(16, 3, out_channels=10, pool="adaptive", **SMALL)(x, t).shape == (2, 10)
    with pytest.raises(UserError, match="16x32 pixels"):
        adm.Classifier(16, 3, out_channels=10, **SMALL)(x, t)
    with pytest.raises(UserError, match="no pool called mean"):
        adm.Classifier(16, 3, out_channels=10, pool="mean", **SMALL)


def test_point_network_refuses_to_be_blind() -> None:
    with pytest.raises(UserError, match="32 channels are too few"):
        mlp.PointNet(model_channels=32)


def test_frequencies_of_points_learn_thin_stripes() -> None:
    def error(frequencies: int) -> float:
        torch.manual_seed(0)
        network = mlp.PointNet(model_channels=64, num_res_blocks=1, frequencies=frequencies)
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(80):
            x, t = 4 * torch.rand(256, 2) - 2, torch.zeros(256)
            loss = (network(x, t) - torch.sin(4 * torch.pi * x)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    assert error(4) < 0.1 < 0.4 < error(0)


@pytest.mark.parametrize("build", [unet, ddpm_unet])
@torch.no_grad()
def test_own_bottleneck_put_back_changes_nothing(build: Any) -> None:
    network, x, t = build(), images(), torch.tensor([10, 900])
    space = HSpace(network)
    output, h = space.capture(x, t)
    assert torch.equal(output, network(x, t))
    assert torch.equal(space.replace(x, t, h), output)
    assert not torch.allclose(space.replace(x, t, h + 1), output)
    assert torch.equal(network(x, t), output), "the hook must not stay"


def test_bottleneck_of_another_shape_is_refused_and_leaves_no_hook() -> None:
    network, x, t = unet(), images(), torch.tensor([1, 2])
    with pytest.raises(ValueError, match="the bottleneck"):
        HSpace(network).replace(x, t, torch.zeros(2, 64, 4, 4))
    assert not network.bottleneck._forward_hooks


class WithoutBottleneck(nn.Module):
    """As a compiled network: its bottleneck is never called as a module."""

    bottleneck = nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x


def test_a_bottleneck_that_does_not_run_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="did not run"):
        HSpace(WithoutBottleneck()).replace(images(), torch.tensor([1, 2]), images())


def test_gradients_flow_through_a_replaced_bottleneck() -> None:
    network, x, t = unet(), images(), torch.tensor([1, 2])
    space = HSpace(network)
    h = space.capture(x, t)[1].detach().requires_grad_()
    space.replace(x, t, h).sum().backward()
    assert h.grad is not None
    assert h.grad.any()


@torch.no_grad()
def test_a_pixel_of_a_residual_network_reaches_no_further_than_measured() -> None:
    network, x = residual_unet(), torch.zeros(1, 3, 128, 128)
    touched = x.clone()
    touched[..., 64, 64] = 1e4
    t = torch.zeros(1)
    rows, columns = (network(touched, t) - network(x, t)).abs().sum((0, 1)).nonzero(as_tuple=True)
    furthest = max(int((at - 64).abs().max()) for at in (rows, columns))
    reach = tiles.reach(network, 3, network.factor)
    assert reach is not None
    assert reach - 3 * network.factor <= furthest <= reach
