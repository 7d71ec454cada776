# Tables of results, figures of trainings and studies, and parts that become one file.


rule gather:
    input:
        parts=expand(
            "results/{{name}}/parts/{{kind}}-{part}-of-{parts}.lmdb",
            part=range(P.runtime.partitions),
            parts=P.runtime.partitions,
        ),
    output:
        "results/{name}/{kind}.lmdb",
    log:
        "results/{name}/logs/gather-{kind}.log",
    wildcard_constraints:
        kind="restored|corrupted|samples|translated|latents|states|back",
    message:
        "Joining the {wildcards.kind} of {wildcards.name}"
    shell:
        "bridgepipe stage gather {input.parts} --output {output} > {log} 2>&1"


rule figure_loss:
    input:
        csv="results/{name}/train.csv",
    output:
        drawn("results/{name}/figures/loss.png", "loss", "Training"),
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
        md=drawn("results/{method}/table.md", "table", "Tables"),
    log:
        "results/logs/table-{method}.log",
    wildcard_constraints:
        method=one_of(P.outcomes.tabled(own_table=True)),
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
        md=drawn("results/{method}/nfe.md", "nfe-{method}", "Samplers"),
        png=drawn("results/{method}/nfe.png", "nfe-{method}", "Samplers"),
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


rule table_of_points:
    input:
        metrics=lambda w: P.outcomes.first_metrics(w.method),
    output:
        csv="results/{method}/table.csv",
        md=drawn("results/{method}/table.md", "{method}", "Tables"),
    log:
        "results/logs/table-{method}.log",
    wildcard_constraints:
        method=one_of(P.outcomes.tabled(own_table=False)),
    message:
        "Table of {wildcards.method}"
    shell:
        "bridgepipe stage point-table {input.metrics} --csv {output.csv} --markdown {output.md} > {log} 2>&1"


rule table_of_cycles:
    input:
        metrics=expand("results/{name}/cycle.json", name=P.resolved.of("ddib/points")),
    output:
        csv="results/ddib/points/cycle.csv",
        md=drawn("results/ddib/points/cycle.md", "cycle", "Tables"),
    log:
        "results/logs/table-ddib-cycle.log",
    message:
        "Table of the cycles"
    shell:
        "bridgepipe stage cycle-table {input.metrics} --csv {output.csv} --markdown {output.md} > {log} 2>&1"
