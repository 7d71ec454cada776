"""Both published DDIBs of images, as methods.ddib carries them out."""

import pytest
from recorded import network, wrapped
from vectors import assert_close, case, names

from bridgepipe.methods.ddib import PUBLISHED, Translation, Way, translate
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import classifier_gradient

PROCESS = Gaussian(schedules.linear(1000), variance="learned_range")


def test_guided_translation():
    """Facts 37 to 40: up unclipped and unguided, down clipped and guided."""
    c = case("05_ddib/image_translate")
    labels, scale = c.tensor("in.y_target"), float(c.tensor("in.classifier_scale"))
    up = Way(PROCESS, wrapped(c.tensor("in.y_source")), clip=PUBLISHED.clip_encode)
    guided = classifier_gradient(network("clf"), labels, scale)
    how = Translation(PUBLISHED.solver, PUBLISHED.grid, "8")
    for gradient, clip, key in (
        (guided, PUBLISHED.clip_decode, "decoded_guided_clip"),
        (guided, False, "decoded_guided_noclip"),
        (None, True, "decoded_unguided_clip"),
    ):
        down = Way(PROCESS, wrapped(labels), gradient, clip)
        done = translate(up, down, c.tensor("in.image"), how)
        assert_close(c, "latent", done.latent.x)
        assert_close(c, key, done.image.x)
    assert done.calls == 16


@pytest.mark.parametrize("name", names("07_dmi_ddim/invert_translate"))
def test_translation_of_a_folder(name):
    """Facts 49 to 51: one call less up than down, clamped both ways or not at all."""
    c = case(name)
    clip = c.config["clip_denoised"]
    how = Translation("ddim", "dmi", f"{c.config['respace_type']} {c.config['respace_steps']}")
    source, target = (Way(PROCESS, wrapped(c.tensor(f"in.y{side}")), clip=clip) for side in "AB")
    done = translate(source, target, c.tensor("in.image"), how)
    assert abs(done.latent.x - c.tensor("out.inv_samples")[-1:]).max() <= c.atol["out.inv_samples"]
    assert abs(done.image.x - c.tensor("out.samples")[-1:]).max() <= c.atol["out.samples"]
    assert done.calls == 2 * len(c.tensor("out.sample_t")) - 1
