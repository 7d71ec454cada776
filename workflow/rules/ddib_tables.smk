# Tables of everything about points; the rule `table` would take them for those of images.


ruleorder: table_of_points > table


rule table_of_points:
    input:
        metrics=lambda w: P.outcomes.first_metrics(w.method),
    output:
        csv="results/{method}/table.csv",
        md=report("results/{method}/table.md", caption="../report/{method}.rst", category="Tables"),
    log:
        "results/logs/table-{method}.log",
    wildcard_constraints:
        method="ddib/(sample|points|color)",
    message:
        "Table of {wildcards.method}"
    shell:
        "bridgepipe stage point-table {input.metrics} --csv {output.csv} --markdown {output.md} > {log} 2>&1"


rule table_of_cycles:
    input:
        metrics=expand("results/{name}/cycle.json", name=P.resolved.of("ddib/points")),
    output:
        csv="results/ddib/points/cycle.csv",
        md=report("results/ddib/points/cycle.md", caption="../report/cycle.rst", category="Tables"),
    log:
        "results/logs/table-ddib-cycle.log",
    message:
        "Table of the cycles"
    shell:
        "bridgepipe stage cycle-table {input.metrics} --csv {output.csv} --markdown {output.md} > {log} 2>&1"
