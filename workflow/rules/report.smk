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
        validation=lambda w: P.outcomes.validations(w.name),
    output:
        output=drawn("results/{name}/figures/loss.png", "loss", "Training"),
    log:
        "results/{name}/logs/figure-loss.log",
    wildcard_constraints:
        name=one_of(P.defined.trained()),
    message:
        "Figure: loss of {wildcards.name}"
    shell:
        "bridgepipe stage figure loss {params.options} --title {wildcards.name} > {log} 2>&1"


rule table:
    input:
        lambda w: P.outcomes.metrics(*P.resolved.groups.get(w.name) or P.resolved.of(w.name)),
    output:
        csv="results/{name}/table.csv",
        markdown=drawn("results/{name}/table.md", "table", "Tables"),
    log:
        "results/{name}/logs/table.log",
    wildcard_constraints:
        name=one_of([*P.outcomes.tabled(own_table=True), *P.resolved.groups]),
    params:
        verb="table",
    message:
        "Table of {wildcards.name}"
    shell:
        "bridgepipe stage {params.verb} {input} {params.options} > {log} 2>&1"


use rule table as table_of_experiment with:
    input:
        lambda w: P.outcomes.metrics(w.name),
    output:
        csv="results/{name}/table.csv",
        markdown="results/{name}/table.md",
        numbers="results/metrics/{name}.json",
    wildcard_constraints:
        name=one_of({*P.resolved.experiments} - {*P.outcomes.without_table()}),


use rule table as table_of_points with:
    input:
        lambda w: P.outcomes.first_metrics(w.name),
    output:
        csv="results/{name}/table.csv",
        markdown=drawn("results/{name}/table.md", "table-of-points", "Tables"),
    wildcard_constraints:
        name=one_of(P.outcomes.tabled(own_table=False)),
    params:
        verb="point-table",


use rule table as table_of_cycles with:
    input:
        lambda w: expand("results/{name}/cycle.json", name=P.resolved.of(w.name)),
    output:
        csv="results/{name}/cycle.csv",
        markdown=drawn("results/{name}/cycle.md", "cycle", "Tables"),
    log:
        "results/{name}/logs/table-cycle.log",
    wildcard_constraints:
        name=one_of({"ddib/points"} & {*P.resolved.methods}),
    params:
        verb="cycle-table",
    message:
        "Table of the cycles"


# every metric of params.yaml in one table, where somebody asks for it: `make report` does
use rule table as summary with:
    input:
        P.outcomes.metrics(*P.resolved.experiments),
    output:
        csv="results/summary.csv",
        markdown="results/summary.md",
        html="results/summary.html",
    log:
        "results/logs/summary.log",
    params:
        verb="summary",
    message:
        "Table of all results"


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
        lambda w: P.outcomes.studies(w.method),
    output:
        csv="results/{method}/nfe.csv",
        markdown=drawn("results/{method}/nfe.md", "nfe", "Samplers"),
        figure=drawn("results/{method}/nfe.png", "nfe", "Samplers"),
    log:
        "results/logs/figure-nfe-{method}.log",
    wildcard_constraints:
        method=one_of(filter(P.outcomes.studied, P.resolved.methods)),
    params:
        title=lambda w: {"i2sb": "Restoration", "spd": "Samples"}[w.method],
        about=lambda w: P.outcomes.about_studies(w.method),
    message:
        "Figure: quality against network calls of {wildcards.method}"
    shell:
        "bridgepipe stage study-table {input} {params.options} --title '{params.title}' > {log} 2>&1"
