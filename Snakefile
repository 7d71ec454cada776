# bridgepipe: from raw images to a table of results.  snakemake results/i2sb/jpeg-5/fid.json
import gc
from pathlib import Path

gc.freeze()  # the garbage collector need not walk Snakemake's own modules over and over: 0.1 s

from bridgepipe import workflow as pipeline

# read by bridgepipe: Snakemake's `configfile:` would run template expressions in the file, and read 1e-4 as text
PARAMS = pipeline.params_files(workflow.config_settings)
P = pipeline.open_params(workflow.config_settings.config, PARAMS, workflow.is_main_process)
P.limit_gpus(workflow)
# what rules read of data and of other experiments: [stage][method][experiment][input]
FILES = P.files
workflow.configfiles[:] = PARAMS  # for the report


# used with --software-deployment-method apptainer only; see Containerfile
container: "docker://bridgepipe:0.2.0"


# first page of `snakemake --report`
report: "workflow/report/workflow.rst"


onstart:
    P.work_alone()


RULES = Path(workflow.current_basedir.get_path_or_uri(secret_free=True), "workflow/rules")


include: RULES / "common.smk"


wildcard_constraints:
    dataset=one_of(P.datasets),
    extractor=one_of(P.extractors),
    split="train|val|test",
    method=one_of(P.resolved.methods),
    name=one_of(P.resolved.experiments),
    experiment=one_of({name.rsplit("/", 1)[1] for name in P.resolved.experiments}),
    part=r"\d+",
    parts=r"\d+",


for file in sorted({*RULES.glob("*.smk")} - {RULES / "common.smk"}):

    include: file


rule all:
    default_target: True
    input:
        P.outcomes.tables(),
        P.outcomes.results(),


rule demo:
    input:
        "results/i2sb/photos-quick/photographs.md",
        "results/i2sb/photos-quick/figures/loss.png",


P.complete_rules(workflow.rules)
