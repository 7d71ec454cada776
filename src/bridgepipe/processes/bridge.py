"""The image-to-image Schrödinger bridge (I2SB): clean images x0 and corrupted images x1.

Time runs over the indices n = 0 .. interval-1, from x0 to x1. With f_n the sum of the betas up to
and including n, everything is Gaussian:

    q(x_n | x0, x1) = N(mu_x0 x0 + mu_x1 x1, std_sb^2)                                training
    q(x_m | x0, x_n) = N((1 - f_m/f_n) x0 + f_m/f_n x_n, f_m (f_n - f_m) / f_n)       sampling, m < n

``ot_ode`` is the same bridge without noise. docs/bridge-samplers.md derives what is used here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes import schedules

TABLES = ("betas", "std_fwd", "std_bwd", "std_sb", "mu_x0", "mu_x1")


@dataclass(frozen=True)
class Step:
    """One step from n to m: what x_n, x0_hat, x1 and unit noise weigh in x_m."""

    x_n: float
    x0: float
    x1: float
    std: float


class Bridge:
    """The bridge between x0 and x1 on ``interval`` discrete times.

    Images have any shape ``[B, ...]``; a time is an int or an int64 tensor ``[B]`` of
    [0, interval). Results have the dtype and device of the images.

    Attributes:
        betas, std_fwd, std_bwd, std_sb, mu_x0, mu_x1: the published float32 tables ``[interval]``.
            std_fwd and std_bwd both count beta_n; hence std_sb vanishes at neither end.
        noise_levels: the times that the network receives, float32 ``[interval]``.
        var_fwd: f_n, the sum of the betas up to and including n, float64 NumPy ``[interval]``.

    Args:
        interval: number of times, even.
        beta_max: end of the schedule's line times the interval, > 0.
        ot_ode: whether the bridge is deterministic (optimal transport).
        t0, T: first and last time that the network receives, in units of the interval.

    Raises:
        UserError: the interval is odd, beta_max is not positive, or t0 >= T.
    """

    def __init__(
        self,
        interval: int = 1000,
        beta_max: float = 0.3,
        ot_ode: bool = False,
        t0: float = 1e-4,
        T: float = 1.0,
    ) -> None:
        if not 0 <= t0 < T:
            raise UserError(f"t0 is {t0} and T is {T}", "bridge", "take 0 <= t0 < T")
        betas = schedules.i2sb(interval, beta_max)
        self.interval, self.beta_max, self.ot_ode = interval, beta_max, ot_ode
        self.var_fwd = np.cumsum(betas)
        self._float64 = {name: torch.from_numpy(table) for name, table in _tables(betas).items()}
        self._cast: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}
        self.betas, self.std_fwd, self.std_bwd, self.std_sb, self.mu_x0, self.mu_x1 = (
            self._float64[name].float() for name in TABLES
        )
        self.noise_levels = torch.linspace(t0, T, interval) * interval

    def network_time(self, n: int | Tensor) -> Tensor:
        """The time that the network receives at index n, a float32 level of the shape of n."""
        n = torch.as_tensor(n)
        return self.noise_levels.to(n.device)[n]

    def perturb(self, x0: Tensor, x1: Tensor, n: int | Tensor, noise: Tensor | None = None) -> Tensor:
        """x_n ~ q(x_n | x0, x1); without noise when ``ot_ode``.

        Raises:
            ValueError: the bridge is noisy and no noise is given.
        """
        mean = self._at("mu_x0", n, x0) * x0 + self._at("mu_x1", n, x0) * x1
        if self.ot_ode:
            return mean
        if noise is None:
            raise ValueError("this bridge is noisy: perturb needs noise")
        return mean + self._at("std_sb", n, x0) * noise

    def target(self, x0: Tensor, x_n: Tensor, n: int | Tensor) -> Tensor:
        """The training target of the network: (x_n - x0) / std_fwd."""
        return (x_n - x0) / self._at("std_fwd", n, x_n)

    def predict_x0(self, x_n: Tensor, n: int | Tensor, output: Tensor, clip: bool = False) -> Tensor:
        """The clean image that a network output stands for, clamped to [-1, 1] when ``clip``."""
        x0_hat = x_n - self._at("std_fwd", n, x_n) * output.to(x_n.dtype)
        return x0_hat.clamp(-1, 1) if clip else x0_hat

    def posterior(
        self, x_n: Tensor, n: int | Tensor, m: int | Tensor, x0_hat: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """x_m ~ q(x_m | x0_hat, x_n) for m < n; no noise at m = 0, with ``ot_ode`` or when None is given.

        At m = 0 the published result is still a mixture of x0_hat and x_n, as f_0 is not 0.
        """
        # In the precision of the images, from the table: the published rounding of f_n - f_m.
        f_n, f_m = self._at("std_fwd", n, x_n) ** 2, self._at("std_fwd", m, x_n) ** 2
        mean = (f_n - f_m) / f_n * x0_hat + f_m / f_n * x_n
        if noise is None or self.ot_ode:
            return mean
        std = (f_m * (f_n - f_m) / f_n) ** 0.5
        return mean + std * _like(torch.as_tensor(m > 0), x_n) * noise

    def implicit(
        self,
        x_n: Tensor,
        n: int,
        m: int,
        x0_hat: Tensor,
        x1: Tensor,
        noise: Tensor | None = None,
        eta: float = 0.0,
    ) -> Tensor:
        """x_m of the non-Markovian bridge, which keeps e^(-eta^2 h) of the noise of x_n."""
        step = self.implicit_step(n, m, eta)
        x_m = step.x_n * x_n + step.x0 * x0_hat + step.x1 * x1
        return x_m if noise is None else x_m + step.std * noise

    def implicit_step(self, n: int, m: int, eta: float = 0.0) -> Step:
        """Weights of the implicit step; its marginals are those of the chain that starts at x1.

        The index m = 0 stands for the data, f = 0: the last step returns x0_hat. A bridge without noise
        has one step only, at any eta >= 0.
        """
        tau_n, tau_m = self._tau(n), self._tau(m)
        if self.ot_ode:
            return Step(x_n=tau_m / tau_n, x0=1 - tau_m / tau_n, x1=0.0, std=0.0)
        v_n, v_m = tau_n * (1 - tau_n), tau_m * (1 - tau_m)  # in units of f_{interval-1}
        # At x1 itself no noise is there to be kept: all of it is drawn, whatever eta is.
        correlation = (tau_m * (1 - tau_n) / (tau_n * (1 - tau_m))) ** (eta**2 / 2) if v_n else 0.0
        c = correlation * math.sqrt(v_m / v_n) if v_n else 0.0
        std = math.sqrt(v_m * (1 - correlation**2) * self.var_fwd[-1])
        return Step(x_n=c, x0=1 - tau_m - c * (1 - tau_n), x1=tau_m - c * tau_n, std=std)

    def extrapolation(self, others: Sequence[int], n: int, m: int, eta: float = 0.0) -> list[float]:
        """The g_i of the step n -> m that uses x0_hat_n + sum of g_i (x0_hat_n - x0_hat_i).

        x0_hat is taken as a polynomial through all these predictions, in the angle theta (eta = 0) or in f
        (eta = 1, or no noise), in which it is smooth, and integrated exactly; so g also holds for uneven
        steps and at both ends, and for predictions made before, inside or at the end of the step.

        Args:
            others: one or two indices i of other predictions, none of them n.
            n, m: indices of the step, m < n.
            eta: 0 or 1.

        Raises:
            ValueError: ``eta`` is neither 0 nor 1.
        """
        tau_n, tau_m = self._tau(n), self._tau(m)
        if eta == 1 or self.ot_ode:
            variable, weight = self._tau, 1 - tau_m / tau_n
            first, second = _moments_in_tau(tau_n, tau_m)
        elif eta:
            raise ValueError(f"eta is {eta}: higher orders are derived for eta 0 and 1")
        else:
            variable = self._theta
            theta_n, sin_cos = self._theta(n), math.sqrt(tau_m * (1 - tau_m))
            weight = 1 - tau_m - sin_cos / math.tan(theta_n)
            first, second = _moments_in_theta(theta_n, self._theta(m), tau_n, tau_m)
        u = [variable(n) - variable(i) for i in others]
        if len(u) == 1:
            return [first / (weight * u[0])]
        (p, q) = u
        return [
            (second + first * q) / (weight * p * (q - p)),
            (second + first * p) / (weight * q * (p - q)),
        ]

    def angle(self) -> np.ndarray:
        """theta_n = arcsin sqrt(f_n / f_{interval-1}), float64 ``[interval]``: 0 at x0, pi/2 at x1."""
        return np.arcsin(np.sqrt(self.var_fwd / self.var_fwd[-1]))

    def _tau(self, n: int) -> float:
        return float(self.var_fwd[n] / self.var_fwd[-1]) if n else 0.0

    def _theta(self, n: int) -> float:
        return math.asin(math.sqrt(self._tau(n)))

    def _at(self, name: str, n: int | Tensor, x: Tensor) -> Tensor:
        """Entry n of a table, float64 cast to the dtype of x, broadcast over x."""
        key = (x.device, x.dtype)
        if key not in self._cast:
            self._cast[key] = {k: table.to(x.dtype).to(x.device) for k, table in self._float64.items()}
        return _like(self._cast[key][name][n], x)


def restoration_loss(output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error of every item [B]. A mask (1 = hole) leaves the hole; the mean is over all."""
    error = output.float() - target.float()
    return (error if mask is None else error * mask).square().flatten(1).mean(dim=1)


def _tables(betas: schedules.Table) -> dict[str, schedules.Table]:
    fwd, bwd = np.cumsum(betas), np.cumsum(betas[::-1])[::-1]
    tables = betas, fwd**0.5, bwd**0.5, (fwd * bwd / (fwd + bwd)) ** 0.5, bwd / (fwd + bwd), fwd / (fwd + bwd)
    return dict(zip(TABLES, tables, strict=True))


def _moments_in_tau(tau_n: float, tau_m: float) -> tuple[float, float]:
    """tau_m times the integrals of u and u^2 over d(1/tau), u = tau - tau_n, from tau_n to tau_m."""
    u = tau_m - tau_n
    log = math.log(tau_m / tau_n) if tau_m else 0.0
    return u - tau_m * log, u**2 - 2 * tau_m * (u - tau_n * log)


def _moments_in_theta(theta_n: float, theta_m: float, tau_n: float, tau_m: float) -> tuple[float, float]:
    """sin cos theta_m times the integrals of u and u^2 over d(cot theta), u = theta - theta_n."""
    u, sin_cos = theta_m - theta_n, math.sqrt(tau_m * (1 - tau_m))
    log_sin = math.log(tau_m / tau_n) / 2 if tau_m else 0.0
    first = u * (1 - tau_m) - sin_cos * log_sin
    # The integral of u cot theta, by parts; at the data its weight sin_cos is 0.
    u_cot = u * math.log(math.sin(theta_m)) - _log_sine(theta_n, theta_m) if tau_m else 0.0
    return first, u**2 * (1 - tau_m) - 2 * sin_cos * u_cot


def _log_sine(a: float, b: float) -> float:
    """The integral of log sin from a to b, both of (0, pi/2]: log x exactly, log(sin x / x) by Gauss."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    x = (a + b) / 2 + (b - a) / 2 * nodes
    smooth = (b - a) / 2 * float(weights @ np.log(np.sinc(x / np.pi)))
    return smooth + b * (math.log(b) - 1) - a * (math.log(a) - 1)


def _like(value: Tensor, x: Tensor) -> Tensor:
    """One value per item as ``[B, 1, ...]`` beside x; a single value stays a scalar."""
    if value.dim() == 0:
        return value
    return value.to(x.device, x.dtype).reshape(-1, *[1] * (x.dim() - 1))
