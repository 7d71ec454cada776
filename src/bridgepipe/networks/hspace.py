"""The bottleneck of a U-Net as a space of its own: read it, or put another one in its place."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class Bottlenecked(Protocol):
    """A denoiser that says which of its blocks is the bottleneck."""

    @property
    def bottleneck(self) -> nn.Module: ...

    def __call__(self, x: Tensor, t: Tensor) -> Tensor: ...


class HSpace:
    """Access to the h-space of a U-Net, `adm.UNet` or `ddpm.UNet`.

    Replacing h changes what the decoder starts from; the skips stay those of x.

    Args:
        network: unconditional denoiser, not wrapped and not compiled (its block must run as a module).
    """

    def __init__(self, network: Bottlenecked) -> None:
        self._network = network

    def capture(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Output of the network for x [B,C,H,W] at t [B], and its bottleneck h [B,C',H',W']."""
        return self.run(x, t)

    def replace(self, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """Output of the network when its decoder gets h instead of the bottleneck of x.

        Raises:
            ValueError: h has not the shape of the bottleneck of x.
        """
        return self.run(x, t, h)[0]

    def run(self, x: Tensor, t: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One call: the output, decoded from h where given, and the bottleneck that x itself has.

        Raises:
            ValueError: h has not the shape of the bottleneck of x.
            RuntimeError: the bottleneck did not run, as in a compiled network.
        """
        own: list[Tensor] = []

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            own.append(output)
            if h is not None and h.shape != output.shape:
                raise ValueError(f"h is {tuple(h.shape)}, the bottleneck {tuple(output.shape)}")
            return None if h is None else h.to(output.dtype)

        handle = self._network.bottleneck.register_forward_hook(hook)
        try:
            output = self._network(x, t)
        finally:
            handle.remove()
        if len(own) != 1:
            raise RuntimeError("the bottleneck did not run as a module: h-space needs a network not compiled")
        return output, own[0]
