"""How a training sees its images: symmetries and colours, drawn for every place."""

from __future__ import annotations

import torch

from bridgepipe.training.views import AS_STORED, draw

CPU = torch.device("cpu")
POSITIONS = range(400)


def images(count: int = 400) -> torch.Tensor:
    one = torch.linspace(-0.5, 0.5, 3 * 4 * 4).view(1, 3, 4, 4)
    return one.repeat(count, 1, 1, 1)


def test_nothing_is_done_unless_it_is_asked_for() -> None:
    assert torch.equal(draw(0, POSITIONS, CPU)(images()), images())
    assert torch.equal(AS_STORED(images()), images())


def test_flipped_images_are_mirrored_and_the_others_are_not() -> None:
    view = draw(0, POSITIONS, CPU, flip=True)
    assert view.flipped is not None
    assert torch.equal(view(images()), torch.where(view.flipped, images().flip(-1), images()))


def test_the_eight_symmetries_come_equally_often() -> None:
    seen = draw(0, POSITIONS, CPU, turn=True)(images())
    kinds, counts = torch.unique(seen.flatten(1), dim=0, return_counts=True)
    one = images(1)
    symmetries = {
        turned for f in (one, one.flip(-1)) for turned in (_key(f.rot90(k, (2, 3))) for k in range(4))
    }
    assert {_key(kind.view(1, 3, 4, 4)) for kind in kinds} == symmetries
    assert len(symmetries) == 8
    assert counts.min() > 25


def test_a_view_belongs_to_its_place() -> None:
    every = draw(3, POSITIONS, CPU, turn=True, colours=0.5)(images())
    some = draw(3, [7, 300], CPU, turn=True, colours=0.5)(images(2))
    assert torch.equal(some, every[[7, 300]])


def test_colours_change_for_their_share_only() -> None:
    view = draw(0, POSITIONS, CPU, colours=0.25)
    seen = view(images())
    changed = (seen != images()).flatten(1).any(1)
    assert 0.18 < changed.float().mean() < 0.32
    assert seen.abs().max() <= 1
    grey = torch.full((400, 3, 4, 4), 0.9)
    assert view(grey).max() <= 1  # contrast does not leave the range


def test_flips_are_those_of_before() -> None:
    flipped = draw(0, [0, 1, 2, 3, 4, 5], CPU, flip=True).flipped
    assert flipped is not None
    assert flipped.flatten().tolist() == FLIPS


def _key(image: torch.Tensor) -> bytes:
    return image.contiguous().numpy().tobytes()


FLIPS = [True, True, False, False, True, True]  # recorded: trained weights depend on them
