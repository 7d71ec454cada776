"""Names of corruptions: what params.yaml, the schema, the pages and the operators agree on.

A name is fixed (``blur-uni``), or it holds numbers: ``jpeg-file-10`` is one quality, ``jpeg-file-5..40`` a
range of which every image draws its own. `bridgepipe.corruptions` builds what is named here.
"""

from __future__ import annotations

import difflib
import re

from bridgepipe.names.family import Degradation, Family

MIXTURE = (  # in the order in which the published mixture numbers them
    "jpeg-5",
    "jpeg-10",
    "blur-uni",
    "blur-gauss",
    "sr4x-pool",
    "sr4x-bicubic",
    "inpaint-center",
    "inpaint-freeform1020",
    "inpaint-freeform2030",
)
PAIRED = "paired"  # nothing is degraded: the data are pairs
FAMILIES = (
    Family(
        "jpeg",
        "I2SB's JPEG of one quality, computed without a file",
        ("jpeg",),
        limits=(1, 100),
        whole=True,
        number="a quality",
        agrees=True,
        examples=("jpeg-5", "jpeg-10"),
    ),
    Family("blur-uni", "DDRM's box blur, 9 taps", ("blur",), agrees=True),
    Family("blur-gauss", "DDRM's Gaussian blur, 5 taps", ("blur",), agrees=True),
    Family("sr4x-pool", "a quarter of the pixels, by averages", ("superresolution",), agrees=True),
    Family("sr4x-bicubic", "a quarter of the pixels, bicubic", ("superresolution",), agrees=True),
    Family("inpaint-center", "a hole of half the sides in the centre", ("inpaint",)),
    *(
        Family(
            f"inpaint-freeform{low}{low + 10}",
            f"freeform holes of {low} to {low + 10} % of the pixels",
            ("inpaint",),
        )
        for low in (10, 20, 30)
    ),
    Family(
        "mixture",
        "one of nine published corruptions for each image",
        ("jpeg", "blur", "superresolution", "inpaint"),
    ),
    Family(
        "jpeg-file",
        "saved as a JPEG file, 4:2:0 or with -444 4:4:4, and read again; -twice: after another such file; "
        "-log: the qualities of a range evenly by their logarithms",
        ("codec",),
        limits=(1, 100),
        whole=True,
        number="a quality",
        ranges=True,
        options=(("444",), ("twice",), ("log",)),
        chained=True,
        agrees=True,
        examples=("jpeg-file-5", "jpeg-file-5..40", "jpeg-file-5..40-444", "jpeg-file-5..40-twice"),
    ),
    Family(
        "webp-file",
        "saved as a lossy WebP file and read again",
        ("codec",),
        limits=(1, 100),
        whole=True,
        number="a quality",
        ranges=True,
        chained=True,
        examples=("webp-file-5", "webp-file-5..40"),
    ),
    Family(
        "noise",
        "Gaussian noise of a standard deviation in grey levels of 255",
        ("noise",),
        limits=(0.1, 255),
        number="a standard deviation in grey levels",
        ranges=True,
        chained=True,
        examples=("noise-25", "noise-5..50"),
    ),
    Family(
        "poisson",
        "noise of counted photons, so many at white",
        ("noise",),
        limits=(1, 10_000),
        number="a number of photons at white",
        ranges=True,
        chained=True,
        examples=("poisson-30", "poisson-10..100"),
    ),
    Family(
        "downscale",
        "made smaller by any factor and brought back to its size, by one kernel",
        ("resampling", "superresolution"),
        limits=(1, 16),
        number="a factor",
        ranges=True,
        options=(("box", "bilinear", "bicubic", "lanczos"),),
        needed=True,
        chained=True,
        agrees=True,
        examples=(
            "downscale-2-bicubic",
            "downscale-1.5..4-lanczos",
            "downscale-3-bilinear",
            "downscale-4-box",
        ),
    ),
    Family(
        "motion",
        "motion of the camera along a line of a length in pixels, in any direction",
        ("optics", "superresolution"),
        limits=(1, 63),
        number="a length in pixels",
        ranges=True,
        chained=True,
        agrees=True,
        examples=("motion-15", "motion-5..25"),
    ),
    Family(
        "defocus",
        "a lens out of focus: every point is a disk of a radius in pixels",
        ("optics", "superresolution"),
        limits=(0.5, 31),
        number="a radius in pixels",
        ranges=True,
        chained=True,
        agrees=True,
        examples=("defocus-3", "defocus-1..5"),
    ),
    Family(
        "scratches",
        "so many white scratches of an old print; the restorer knows where they are, except in a chain",
        ("scratches", "inpaint"),
        limits=(1, 50),
        whole=True,
        number="a number of scratches",
        ranges=True,
        chained=True,
        examples=("scratches-5", "scratches-1..10"),
    ),
    Family("grey", "without colours", ("colour",), chained=True, agrees=True),
)
CHAINS = (  # examples
    "downscale-1..3-bicubic+noise-1..15+jpeg-file-10..60",
    "shuffle:defocus-0.5..2+noise-1..15+jpeg-file-10..60",
)
SHUFFLE = "shuffle:"  # before the parts of a chain whose order every image draws
NAMES = (*(name for family in FAMILIES for name in family.names), *CHAINS)
_SINGLE = "|".join(family.pattern for family in FAMILIES)
_PART = "|".join(family.pattern for family in FAMILIES if family.chained)
PATTERN = rf"{_SINGLE}|(?:{SHUFFLE})?(?:{_PART})(?:\+(?:{_PART}))+"


def parse(name: str) -> tuple[tuple[Degradation, ...], bool]:
    """The corruption that a name means: its parts, one where it is no chain, and whether they are shuffled.

    Raises:
        ValueError: no corruption has this name; the text says which names are near and what they take.
    """
    shuffled = name.startswith(SHUFFLE)
    parts = tuple(_part(part) for part in name.removeprefix(SHUFFLE).split("+"))
    if shuffled and len(parts) == 1:
        raise ValueError(f"nothing to shuffle: did you mean '{parts[0].name}', or {CHAINS[1]}?")
    if len(parts) > 1:
        for part in parts:
            if not part.family.chained:
                links = ", ".join(family.start for family in FAMILIES if family.chained)
                raise ValueError(f"{part.name} cannot be a part of a chain: take {links}")
    return parts, shuffled


def kinds(name: str) -> set[str]:
    """What the names of the families begin with that a corruption is of; none of pairs."""
    return set() if name == PAIRED else {part.family.start for part in parse(name)[0]}


def agrees(name: str) -> bool:
    """Whether a restoration can be made to agree with what a corruption left of an image."""
    if name == PAIRED:
        return False
    parts, _ = parse(name)
    return len(parts) == 1 and parts[0].family.agrees and "twice" not in parts[0].options


def _part(name: str) -> Degradation:
    for family in FAMILIES:
        if re.fullmatch(family.pattern, name):
            return _read(name, family)
    near = difflib.get_close_matches(name[:60], (*NAMES, PAIRED), n=3, cutoff=0.0)
    form = next((f.form for f in FAMILIES if near[0] in f.names and f.limits is not None), "")
    raise ValueError(f"did you mean '{near[0]}'? nearest: {', '.join(near)}" + (f"; {form}" * bool(form)))


def _read(name: str, family: Family) -> Degradation:
    if family.limits is None:
        return Degradation(name, family)
    numbers, *endings = name.removeprefix(f"{family.start}-").split("-")
    low, _, high = numbers.partition("..")
    values = float(low), float(high or low)
    least, most = family.limits
    if not (least <= values[0] and values[1] <= most):
        raise ValueError(f"did you mean '{family.names[0]}'? {family.form}")
    if high and values[0] >= values[1]:
        raise ValueError(f"a range goes up: did you mean '{family.start}-{high}..{low}'?")
    if "log" in endings and not high:
        raise ValueError(f"-log is of a range: did you mean '{family.start}-{low}..{most:g}-log'?")
    return Degradation(name, family, *values, tuple(endings))
