"""Experiments as a person writes them, for one scale and without naming it: the other refuses none.

The negative controls make the same experiments wrong at the scale in use.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from test_nonsense import TEXT

from bridgepipe import config
from bridgepipe.errors import UserError

SMALL = {"model_channels": 32, "channel_mult": [1, 2], "num_res_blocks": 1, "attention_resolutions": [2]}
SMALL |= {"num_head_channels": -1, "num_heads": 4}
LARGE = {"model_channels": 128, "channel_mult": [1, 1, 2, 2], "attention_resolutions": [4, 8]}
LARGE |= {"num_head_channels": 64}
DDPM = {"kind": "ddpm", "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [8]}
INCEPTION = {"extractor": "inception", "classifier": None}


def folder(size: Any, **more: Any) -> dict[str, Any]:
    return {"source": "folder", "path": "/my/images", "size": size, **more}


def translation(**more: Any) -> dict[str, Any]:
    return {"sample": {"guidance": "none", **more}, "evaluate": INCEPTION}


# sections beside the shipped ones, by their keys
SENSIBLE: dict[str, dict[str, Any]] = {
    "folder, restored": {
        "datasets": {"mine": folder(64)},
        "i2sb": {"a": {"dataset": "mine", "corruption": "jpeg-5", "evaluate": INCEPTION}},
    },
    "folder of small pictures": {
        "datasets": {"mine": folder(16)},
        "i2sb": {"a": {"dataset": "mine", "corruption": "jpeg-20", "evaluate": INCEPTION}},
    },
    "folder, not square": {
        "datasets": {"mine": folder([192, 256])},
        "i2sb": {"a": {"dataset": "mine", "corruption": "sr4x-bicubic", "evaluate": INCEPTION}},
    },
    "folder, its own classifier": {
        "datasets": {"mine": folder(48)},
        "extractors": {"mine": {"kind": "classifier", "dataset": "mine"}},
        "i2sb": {
            "a": {
                "dataset": "mine",
                "corruption": "blur-uni",
                "evaluate": {"extractor": "mine", "classifier": "mine"},
            }
        },
    },
    "folder, large network": {
        "datasets": {"mine": folder(128)},
        "i2sb": {
            "a": {
                "dataset": "mine",
                "corruption": "inpaint-center",
                "network": {**LARGE, "resblock_updown": True},
                "evaluate": INCEPTION,
            }
        },
    },
    "folder, small network": {
        "datasets": {"mine": folder(24)},
        "i2sb": {
            "a": {"dataset": "mine", "corruption": "blur-gauss", "network": SMALL, "evaluate": INCEPTION}
        },
    },
    "folder, other pictures restored": {
        "datasets": {"mine": folder(32), "other": folder(32, seed=3)},
        "i2sb": {
            "a": {
                "dataset": "mine",
                "corruption": "jpeg-5",
                "sample": {"dataset": "other", "split": "val"},
                "evaluate": INCEPTION,
            }
        },
    },
    "pairs of one's own": {
        "datasets": {"mine": {"source": "pairs", "path": "/my/pairs", "size": 64}},
        "i2sb": {"a": {"dataset": "mine", "corruption": "paired", "evaluate": INCEPTION}},
    },
    "photographs": {
        "i2sb": {"a": {"dataset": "sample-photos", "corruption": "sr4x-pool", "evaluate": INCEPTION}},
    },
    "photographs, all of their own split": {
        "extractors": {"photos": {"kind": "classifier", "dataset": "sample-photos"}},
        "i2sb": {
            "a": {
                "dataset": "sample-photos",
                "corruption": "inpaint-freeform2030",
                "sample": {"whole": True},
                "evaluate": {"extractor": "photos", "classifier": "photos"},
            }
        },
    },
    "edges": {
        "i2sb": {
            "a": {
                "dataset": "photo-edges",
                "corruption": "paired",
                "evaluate": {"extractor": "edges-classifier", "classifier": "edges-classifier"},
            }
        },
    },
    "digits, few of them": {
        "i2sb": {"a": {"corruption": "jpeg-5", "sample": {"split": "val", "count": 100}}}
    },
    "digits, few times": {"i2sb": {"a": {"corruption": "jpeg-5", "interval": 100}}},
    "digits of half the size": {
        "i2sb": {
            "a": {
                "dataset": "digits-16",
                "corruption": "jpeg-5",
                "evaluate": {"extractor": "digits-16-classifier", "classifier": "digits-16-classifier"},
            }
        }
    },
    "digits, two levels": {"i2sb": {"a": {"corruption": "jpeg-5", "network": SMALL}}},
    "digits, mixture": {"i2sb": {"a": {"corruption": "mixture", "sample": {"count": 200}}}},
    "digits, implicit sampler": {
        "i2sb": {
            "a": {
                "corruption": "blur-uni",
                "ot_ode": True,
                "sample": {"sampler": "implicit", "eta": 0.0, "spacing": "log_snr", "nfe": 5},
            }
        }
    },
    "digits, study": {
        "i2sb": {
            "a": {"corruption": "jpeg-10", "interval": 200, "study": {"nfe": [5, 150], "count": 300}},
        }
    },
    "cifar10, restored": {
        "i2sb": {
            "a": {
                "dataset": "cifar10",
                "corruption": "jpeg-5",
                "sample": {"split": "test", "count": 1000},
                "evaluate": {**INCEPTION, "reference": "test"},
            }
        }
    },
    "afhq, restored": {
        "datasets": {"animals": {"source": "afhq", "size": 64}},
        "extractors": {"animals": {"kind": "classifier", "dataset": "animals"}},
        "i2sb": {
            "a": {
                "dataset": "animals",
                "corruption": "jpeg-5",
                "sample": {"split": "val", "count": 500},
                "evaluate": {"extractor": "animals", "classifier": "animals", "reference": "val"},
            }
        },
    },
    "model of a folder": {"datasets": {"mine": folder(32)}, "model": {"a": {"dataset": "mine"}}},
    "model of small pictures": {
        "datasets": {"mine": folder(8)},
        "model": {"a": {"dataset": "mine", "network": {"kind": "adm", **SMALL}}},
    },
    "model of oblong pictures": {"datasets": {"mine": folder([32, 48])}, "model": {"a": {"dataset": "mine"}}},
    "model, few times": {"model": {"a": {"process": {"T": 100}}}, "spd": {"a": {"model": "a"}}},
    "model, shortest path with its spectrum": {
        "model": {"a": {"process": {"schedule": "shortest_path", "c1": 1.5, "c2": 0.01, "m": 2.0}}},
    },
    "model, DDPM's network": {
        "model": {"a": {"network": DDPM, "dataset": "digits-16"}},
        "spd": {"a": {"model": "a", "evaluate": {"extractor": "digits-16-classifier"}}},
    },
    "model of the digits at 32 pixels": {
        "model": {"a": {"dataset": "digits"}},
        "spd": {"a": {"model": "a", "evaluate": {"extractor": "digits-classifier", "reference": "val"}}},
    },
    "samples of a folder's model": {
        "datasets": {"mine": folder(16)},
        "model": {"a": {"dataset": "mine", "network": {"kind": "adm", **SMALL}}},
        "spd": {"a": {"model": "a", "evaluate": {"extractor": "inception"}}},
    },
    "samples, quadratic spacing": {
        "spd": {"a": {"model": "ddpm", "sample": {"sampler": "ddim", "spacing": "quad", "nfe": 25}}},
    },
    "samples, few calls": {
        "spd": {"a": {"model": "ddpm", "sample": {"sampler": "obelm", "spacing": "log_snr", "nfe": 10}}},
    },
    "samples, every call": {"spd": {"a": {"model": "ddpm", "sample": {"nfe": 1000, "count": 100}}}},
    "samples, study": {
        "spd": {"a": {"model": "ddpm", "study": {"nfe": [10, 500], "samplers": {"ddim": {}}}}},
    },
    "guide of photographs": {"guide": {"a": {"dataset": "sample-photos"}}},
    "guide of a folder": {
        "datasets": {"mine": folder(32)},
        "guide": {"a": {"dataset": "mine", "network": {"num_heads": 2, "num_head_channels": -1}}},
    },
    "guide, few times": {"guide": {"a": {"process": {"T": 200}}}},
    "classes of digits": {"ddib/classes": {"a": {"source": "5", "target": "6"}}},
    "classes of digits, every step": {
        "ddib/classes": {
            "a": {"source": 5, "target": 6, "sample": {"solver": "ddim", "respacing": "100", "count": 20}}
        },
    },
    "classes, two networks": {
        "model": {
            "a": {"dataset": "digits-16-low", "conditional": True, "drop_labels": 0.1},
            "b": {"dataset": "digits-16-high", "conditional": True, "drop_labels": 0.1},
        },
        "ddib/classes": {
            "a": {
                "source": "1",
                "target": "7",
                "source_model": "a",
                "target_model": "b",
                "sample": {"guidance": "free"},
            }
        },
    },
    "classes, label by hand": {
        "ddib/classes": {"a": {"source": 5, "target": 6, "cycle": 36, "evaluate": {"label": "6"}}}
    },
    "same class, two networks": {
        "model": {"a": {"conditional": True, "train": {"seed": 5}}},
        "ddib/classes": {
            "a": {
                "source": 5,
                "target": 5,
                "source_model": "conditional",
                "target_model": "a",
                **translation(),
            }
        },
    },
    "published weights of churches for one's own": {
        "datasets": {"mine": folder(256)},
        "model": {
            "a": {
                "dataset": "mine",
                "process": {"prediction": "eps"},
                "network": {**DDPM, "ch": 128, "ch_mult": [1, 1, 2, 2, 4, 4], "num_res_blocks": 2}
                | {"attn_resolutions": [16]},
                "train": {"published": "sdedit/church"},
            }
        },
    },
    "one folder to another": {
        "datasets": {"mine": folder(16), "other": folder(16, path="/my/others")},
        "model": {"a": {"dataset": "mine"}, "b": {"dataset": "other"}},
        "ddib/classes": {"a": {"source_model": "a", "target_model": "b", **translation(count=50)}},
    },
    "classes of a folder": {
        "datasets": {"mine": folder(32)},
        "model": {"a": {"dataset": "mine", "conditional": True}},
        "ddib/classes": {"a": {"source": "cat", "target": "dog", "source_model": "a", **translation()}},
    },
    "boundary of digits": {"boundary": {"a": {"attribute": "even", "search": {"images": 500}}}},
    "boundary of a class": {
        "boundary": {
            "a": {"attribute": "3", "against": "8", "mixing": {"images": 100}, "edit": {"images": 32}}
        },
    },
    "boundary at a step": {"boundary": {"a": {"attribute": "loop", "search": {"t": 300}}}},
    "boundary of ink": {
        "boundary": {"a": {"attribute": "ink", "search": {"middle": 0.3}, "edit": {"start": -5, "end": 5}}}
    },
    "boundary of ink, cut by hand": {
        "boundary": {"a": {"attribute": "ink", "search": {"threshold": 0.3, "images": 1258}}}
    },
    "boundary of two classes, all of them": {
        "boundary": {"a": {"attribute": "3", "against": "8", "mixing": {"images": 247, "folds": 60}}},
    },
    "boundary of even ones among those with a loop": {
        "boundary": {"a": {"attribute": "even", "against": "loop"}}
    },
    "boundary of a folder": {
        "datasets": {"mine": folder(16)},
        "model": {"a": {"dataset": "mine"}},
        "boundary": {
            "a": {
                "model": "a",
                "dataset": "mine",
                "attribute": "cat",
                "against": "dog",
                "evaluate": {**INCEPTION, "preserved": []},
            }
        },
    },
    "boundary, edits of samples": {
        "boundary": {
            "a": {"attribute": "loop", "edit": {"source": "samples", "generate": 50, "raw_h": True}}
        },
    },
    "points, few of them": {
        "datasets": {"few": {"source": "points", "domain": "moons", "count": 20_000}},
        "ddib/sample": {"few": {}},
        "ddib/points": {"few-checkerboard": {"cycle": {"O-BELM": {"nfe": 30}}}},
    },
    "points, few times": {
        "ddib/sample": {
            "moons": {"process": {"T": 1000}, "sample": {"nfe": 200}},
            "checkerboard": {"process": {"T": 1000}},
        },
    },
    "points, DDIM": {
        "ddib/points": {
            "checkerboard-moons": {"translate": {"solver": "ddim", "nfe": 100, "spacing": "uniform"}}
        },
    },
    "colours of one's own": {
        "datasets": {"sea": {"source": "colors", "image": "/my/sea.jpg", "size": 64}},
        "ddib/cloud": {
            "sea": {"process": {"T": 500}},
            "china": {"dataset": "china-rgb", "process": {"T": 500}},
        },
        "ddib/color": {"a": {"source": "sea", "target": "china", "translate": {"nfe": 40}}},
    },
}


def told(case: str) -> dict[str, Any]:
    values = json.loads(TEXT)
    for section, entries in SENSIBLE[case].items():
        place = values[section] if section in values else values["experiments"][section]
        place.update(json.loads(json.dumps(entries)))
    return values


@pytest.mark.parametrize("case", SENSIBLE)
def test_what_fits_the_scale_in_use_is_accepted(case: str) -> None:
    resolved = config.Resolved(told(case))
    for section, entries in SENSIBLE[case].items():
        if section in config.METHODS:
            assert {f"{section}/{name}" for name in entries} <= set(resolved.experiments)


WRONG_AT_PAPER = {
    "folder, restored": "images of imagenet256-10k have 256 x 256 pixels, not 64 x 64",
    "digits, few times": "sample.nfe must be below interval (100), is 999",
    "cifar10, restored": "unknown name 'test'",
    "model, few times": "nfe is 4000: the process has 100 steps",
    "classes, two networks": "resnet50 knows the classes n01440764",
    "boundary of ink": "celebahq has no attribute 'ink'",
    "points, few of them": "90000 of the 20000 items",
}


@pytest.mark.parametrize("case", WRONG_AT_PAPER)
def test_what_does_not_fit_is_refused_at_that_scale_with_the_remedy(case: str) -> None:
    values = {**told(case), "scale": "paper"}
    with pytest.raises(UserError, match=re.escape(WRONG_AT_PAPER[case])) as e:
        config.Resolved(values)
    kept_out = re.search(r"; or keep (\S+)/(\S+) out of this scale: scales: \[demo\]$", str(e.value))
    assert kept_out, str(e.value)
    values["experiments"][kept_out[1]][kept_out[2]]["scales"] = ["demo"]
    config.Resolved(values)


def test_an_experiment_that_names_a_scale_must_fit_it() -> None:
    values = told("folder, restored")
    values["experiments"]["i2sb"]["a"]["scales"] = ["demo", "paper"]
    with pytest.raises(UserError, match="images of imagenet256-10k have 256 x 256 pixels") as e:
        config.Resolved(values)
    assert "out of this scale" not in str(e.value)
    values = told("model, few times")
    values["experiments"]["model"]["a"]["scales"] = ["demo"]
    values["experiments"]["spd"]["a"]["scales"] = ["demo", "paper"]
    with pytest.raises(UserError, match=r"unknown name 'a' \(params.yaml: experiments.spd.a.model\)"):
        config.Resolved(values)


def test_an_experiment_that_fits_no_scale_is_not_sent_to_another() -> None:
    values = told("folder, restored")
    values["experiments"]["i2sb"]["a"]["t0"] = 2.0
    with pytest.raises(UserError, match="t0 must be below T") as e:
        config.Resolved(values)
    assert "out of this scale" not in str(e.value)


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("i2sb", "dataset", "imagnet256"),
        ("spd", "evaluate", {"extractor": "incepton", "reference": "train"}),
        ("boundary", "model", "celebahqq"),
        ("ddib/classes", "guide", "imagenet"),
        ("i2sb", "interval", 7),
        ("i2sb", "corupption", "jpeg-5"),
    ],
)
def test_typos_stop_at_every_scale(method: str, key: str, value: Any) -> None:
    values = json.loads(TEXT)
    values["scales"]["paper"][method][key] = value
    with pytest.raises(UserError, match=rf"scales\.paper\.{method}\.{key}"):
        config.Resolved(values)
