"""The JSON schema of params.yaml, which editors use."""

from __future__ import annotations

from bridgepipe.config import including
from bridgepipe.config.checked import Scales
from bridgepipe.config.methods import METHODS, Params
from bridgepipe.names import Json

# the key that is read before all others
INCLUDE: Json = {
    including.KEY: {
        "type": "string",
        "description": f"pattern of files that have {', '.join(including.SECTIONS)} of their own, such as"
        f" {including.PATTERN}; relative to this file",
    }
}


def schema() -> Json:
    """JSON schema of params.yaml; sections of experiments are checked after merging."""
    top = Params.model_json_schema()
    del top["required"]  # an included file has some of the sections alone
    top["properties"] |= INCLUDE
    for method, model in METHODS.items():
        own = model.model_json_schema()
        sections = own.pop("$defs", {})
        own.pop("required", None)
        own["properties"] |= Scales.model_json_schema()["properties"]
        for section in sections.values():  # what is merged may leave keys to the other side
            section.pop("required", None)
        top["$defs"].update({**sections, _definition(method): own})
    for key in ("scales", "experiments"):
        top["properties"][key] = _by_method(key)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top}


def _definition(method: str) -> str:
    return f"{method.replace('/', '-')}_experiment"


def _by_method(key: str) -> Json:
    ref: Json = {m: {"$ref": f"#/$defs/{_definition(m)}"} for m in METHODS}
    if key == "experiments":
        ref = {m: {"type": "object", "additionalProperties": r} for m, r in ref.items()}
        return {"type": "object", "properties": ref, "additionalProperties": False}
    inner = {"type": "object", "properties": ref, "additionalProperties": False}
    return {"type": "object", "additionalProperties": inner}
