"""Prints which files the rules make, as JSON: name of a rule and pattern of a file, for `bridgepipe clean`.

The argument is the params file.
Rules without inputs only fetch what others published; of them the logs alone count.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings,
    ExecMode,
    OutputSettings,
    Quietness,
    ResourceSettings,
    WorkflowSettings,
)


def made_by(rule: Any) -> list[str]:
    """Patterns of everything that a rule leaves behind."""
    outputs = list(rule.output) if rule.input else []
    benchmark = [rule.benchmark] if rule.benchmark else []
    return [file.regex().pattern for file in (*outputs, *rule.log, *benchmark)]


def main() -> None:
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)) as api:
        # as a job reads it: nothing is planned, so nothing is written, not even a log
        opened = api.workflow(
            ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[Path(sys.argv[1])], replace_workflow_config=True),
            workflow_settings=WorkflowSettings(exec_mode=ExecMode.SUBPROCESS),
            snakefile=Path(__file__).parents[1] / "Snakefile",
        )
        rules = opened._workflow.rules  # the only way to the rules; the version is pinned
        print(json.dumps([(rule.name, pattern) for rule in rules for pattern in made_by(rule)]))


if __name__ == "__main__":
    main()
