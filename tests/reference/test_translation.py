"""Both published DDIBs of images, as methods.ddib carries them out."""

from pathlib import Path

import pytest
import torch
from recorded import network, wrapped
from vectors import assert_close, case, names, shapes

from bridgepipe import config
from bridgepipe.config.ddib import TranslateImages
from bridgepipe.methods import gaussian, task
from bridgepipe.methods.ddib import PUBLISHED, translate
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import Denoiser, classifier_gradient

PROCESS = Gaussian(schedules.linear(1000), variance="learned_range")


def test_guided_translation():
    """Facts 37 to 40: up unclipped and unguided, down clipped and guided."""
    c = case("05_ddib/image_translate")
    labels, scale = c.tensor("in.y_target"), float(c.tensor("in.classifier_scale"))
    up = Denoiser(wrapped(c.tensor("in.y_source")), PROCESS, clip=PUBLISHED.clip_encode)
    guided = classifier_gradient(network("clf"), labels, scale)
    how = TranslateImages(solver=PUBLISHED.solver, grid=PUBLISHED.grid, respacing="8")
    for gradient, clip, key in (
        (guided, PUBLISHED.clip_decode, "decoded_guided_clip"),
        (guided, False, "decoded_guided_noclip"),
        (None, True, "decoded_unguided_clip"),
    ):
        down = Denoiser(wrapped(labels), PROCESS, clip, gradient)
        done = translate(up, down, c.tensor("in.image"), how)
        assert_close(c, "latent", done.latent.x)
        assert_close(c, key, done.target.x)
    assert done.calls == 16


@pytest.mark.parametrize("name", names("07_dmi_ddim/invert_translate"))
def test_translation_of_a_folder(name):
    """Facts 49 to 51: one call less up than down, clamped both ways or not at all."""
    c = case(name)
    clip = c.config["clip_denoised"]
    respacing = f"{c.config['respace_type']} {c.config['respace_steps']}"
    how = TranslateImages(solver="ddim", grid="dmi", respacing=respacing)
    source, target = (Denoiser(wrapped(c.tensor(f"in.y{side}")), PROCESS, clip) for side in "AB")
    done = translate(source, target, c.tensor("in.image"), how)
    assert abs(done.latent.x - c.tensor("out.inv_samples")[-1:]).max() <= c.atol["out.inv_samples"]
    assert abs(done.target.x - c.tensor("out.samples")[-1:]).max() <= c.atol["out.samples"]
    assert done.calls == 2 * len(c.tensor("out.sample_t")) - 1


@pytest.mark.parametrize("kind", ["model", "guide"])
def test_published_weights_fit_the_parameters(kind):
    values = config.read_yaml(Path(__file__).parents[2] / "params.yaml") | {"scale": "paper"}
    settings = config.Resolved(values).experiment(f"{kind}/imagenet256")
    diffusion = task.diffusion_of(settings.process, (3, 256, 256), {})
    arguments = settings.network.arguments
    with torch.device("meta"):
        if kind == "model":
            built = gaussian.network(settings.network.kind, diffusion, 1000, **arguments)
        else:
            built = gaussian.classifier(diffusion, 1000, pool=settings.pool, **arguments)
    published = shapes("adm_256x256_diffusion" if kind == "model" else "adm_256x256_classifier")
    assert {name: list(value.shape) for name, value in built.state_dict().items()} == published
