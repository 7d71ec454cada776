"""Section of params.yaml about DDIB between the colours of two photographs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bridgepipe.config.defined import Defined, Files
from bridgepipe.config.points import BetweenNetworks, Ends, SolverSettings
from bridgepipe.config.values import (
    Results,
    Seed,
    Strict,
)


class ColorTranslating(Ends):
    """Settings of the transfer of colours."""

    translate: SolverSettings = SolverSettings()
    plan: int = Field(1000, ge=10, le=50_000, description="colours per optimal transport plan")
    sinkhorn: float = Field(
        0.05, ge=1e-3, le=100, description="entropic regularisation, in units of the mean cost"
    )
    seed: Seed = Field(0, description="seed that selects the colours of the plans")


class ColorTransfer(ColorTranslating, BetweenNetworks):
    """DDIB between the colours of two photographs in both directions, compared with optimal transport."""

    models: ClassVar[str] = "ddib/cloud"
    results: ClassVar[Results] = Results(metrics=("transfer",), figures=("transfer",))

    def stages(self) -> dict[str, Strict]:
        return {"translate": ColorTranslating.of(self)}

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        pixels = dict(zip(("source_pixels", "target_pixels"), self.test_points(defined), strict=True))
        return {
            "translate": {**self.both_models(defined), **pixels},
            "evaluate": {"transferred": f"{folder}/transferred.safetensors", **pixels},
        }

    def pictures(self, defined: Defined) -> list[str]:
        """Names of the pictures of both directions, such as ``china-as-flower``."""
        clouds = (defined.experiments[f"{self.models}/{end}"].dataset for end in (self.source, self.target))
        a, b = (Path(defined.datasets[cloud].image).stem for cloud in clouds)
        return [f"{a}-as-{b}", f"{b}-as-{a}"]
