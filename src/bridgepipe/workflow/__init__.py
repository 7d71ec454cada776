"""What the Snakefile asks: validated parameters, files of the stages, names of results.

Runs every time that the workflow is read, so it imports nothing heavy.
"""

from bridgepipe.workflow.opening import AT_WORK, open_params, params_files
from bridgepipe.workflow.pipeline import DIGESTS, PLANNED, STAMP, Pipeline

__all__ = ["AT_WORK", "DIGESTS", "PLANNED", "STAMP", "Pipeline", "open_params", "params_files"]
