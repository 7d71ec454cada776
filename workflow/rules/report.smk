# Figures and the table of results.


rule figure_grid:
    input:
        restored="results/i2sb/{experiment}/restored.lmdb",
        corrupted="results/i2sb/{experiment}/corrupted.lmdb",
        store=lookup("i2sb/{experiment}/store", within=FILES["sample"]),
    output:
        report("results/i2sb/{experiment}/figures/grid.png", caption="../report/grid.rst", category="I2SB"),
    log:
        "results/i2sb/{experiment}/logs/figure-grid.log",
    message:
        "Figure: {wildcards.experiment}, before and after"
    shell:
        "bridgepipe stage figure grid --restored {input.restored} --corrupted {input.corrupted} --originals {input.store}"
        " --title {wildcards.experiment} --output {output} > {log} 2>&1"


rule figure_path:
    input:
        config="results/i2sb/{experiment}/config/sample.json",
        train="results/i2sb/{experiment}/config/train.json",
        model="results/i2sb/{experiment}/model.safetensors",
        store=lookup("i2sb/{experiment}/store", within=FILES["sample"]),
        sources=lookup("i2sb/{experiment}/sources", within=FILES["sample"]),
        masks=lambda w: P.sources.mask_files(f"i2sb/{w.experiment}"),
    output:
        report("results/i2sb/{experiment}/figures/path.png", caption="../report/path.rst", category="I2SB"),
    log:
        "results/i2sb/{experiment}/logs/figure-path.log",
    resources:
        **network(6000, takes(240, "i2sb/{experiment}", "path")),
    params:
        sources=option("sources"),
    message:
        "Figure: {wildcards.experiment} along the sampling path"
    shell:
        "bridgepipe stage figure path --config {input.config} --train-config {input.train} --model {input.model}"
        " --data {input.store} {params.sources} --title {wildcards.experiment} --output {output} > {log} 2>&1"


rule figure_loss:
    input:
        csv="results/{name}/train.csv",
    output:
        report("results/{name}/figures/loss.png", caption="../report/loss.rst", category="Training"),
    log:
        "results/{name}/logs/figure-loss.log",
    wildcard_constraints:
        name=one_of(P.defined.trained()),
    message:
        "Figure: loss of {wildcards.name}"
    shell:
        "bridgepipe stage figure loss --csv {input.csv} --title {wildcards.name} --output {output} > {log} 2>&1"


rule table:
    input:
        metrics=lambda w: P.outcomes.metrics(*P.resolved.of(w.method)),
    output:
        csv="results/{method}/table.csv",
        md=report("results/{method}/table.md", caption="../report/table.rst", category="Tables"),
    log:
        "results/logs/table-{method}.log",
    params:
        numbers="",
    message:
        "Table of {wildcards.method}"
    shell:
        "bridgepipe stage table {input.metrics} --csv {output.csv} --markdown {output.md} {params.numbers} > {log} 2>&1"


use rule table as table_of_experiment with:
    input:
        metrics=lambda w: P.outcomes.metrics(f"{w.method}/{w.experiment}"),
    output:
        csv="results/{method}/{experiment}/table.csv",
        md="results/{method}/{experiment}/table.md",
        numbers="results/metrics/{method}/{experiment}.json",
    log:
        "results/{method}/{experiment}/logs/table.log",
    params:
        numbers=lambda w, output: f"--numbers {output.numbers}",
    message:
        "Table of {wildcards.method}/{wildcards.experiment}"


ruleorder: numbers > table_of_experiment


rule numbers:
    input:
        metrics=lambda w: P.outcomes.metrics(w.name),
    output:
        "results/metrics/{name}.json",
    log:
        "results/{name}/logs/numbers.log",
    wildcard_constraints:
        name=one_of(P.outcomes.without_table()),
    message:
        "Numbers of {wildcards.name}"
    shell:
        "bridgepipe stage numbers {input.metrics} --output {output} > {log} 2>&1"


rule figure_nfe:
    input:
        parts=lambda w: P.outcomes.studies(w.method),
    output:
        csv="results/{method}/nfe.csv",
        md=report("results/{method}/nfe.md", caption="../report/nfe-{method}.rst", category="Samplers"),
        png=report("results/{method}/nfe.png", caption="../report/nfe-{method}.rst", category="Samplers"),
    log:
        "results/logs/figure-nfe-{method}.log",
    params:
        title=lambda w: {"i2sb": "Restoration", "spd": "Samples"}[w.method],
        about=lambda w: P.outcomes.about_studies(w.method),
    message:
        "Figure: quality against network calls of {wildcards.method}"
    shell:
        "bridgepipe stage study-table {input.parts} --csv {output.csv} --markdown {output.md} --figure {output.png}"
        " --title '{params.title}' > {log} 2>&1"
