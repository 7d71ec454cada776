# Tables of everything about points; the rule `table` would take them for those of images.


ruleorder: table_of_samples > table
ruleorder: table_of_points > table
ruleorder: table_of_colors > table
ruleorder: numbers > table_of_experiment


rule numbers:
    input:
        metrics=lambda w: P.metric_files(w.name),
    output:
        "results/metrics/{name}.json",
    log:
        "results/{name}/logs/numbers.log",
    wildcard_constraints:
        name=P.one_of(P.without_table()),
    message:
        "Numbers of {wildcards.name}"
    shell:
        "bridgepipe stage numbers {input.metrics} --output {output} > {log} 2>&1"


rule table_of_samples:
    input:
        metrics=P.point_results("ddib/sample", "metrics.json"),
    output:
        csv="results/ddib/sample/table.csv",
        md=report(
            "results/ddib/sample/table.md",
            caption="../report/points-sample.rst",
            category="Tables",
        ),
    log:
        "results/logs/table-ddib-sample.log",
    message:
        "Table of the six domains"
    shell:
        "bridgepipe stage point-table {input.metrics} --csv {output.csv} --markdown {output.md} > {log} 2>&1"


use rule table_of_samples as table_of_points with:
    input:
        metrics=P.point_results("ddib/points", "transport.json"),
    output:
        csv="results/ddib/points/table.csv",
        md=report(
            "results/ddib/points/table.md",
            caption="../report/points-translation.rst",
            category="Tables",
        ),
    log:
        "results/logs/table-ddib-points.log",
    message:
        "Table of the translations of points"


use rule table_of_samples as table_of_colors with:
    input:
        metrics=P.point_results("ddib/color", "transfer.json"),
    output:
        csv="results/ddib/color/table.csv",
        md=report(
            "results/ddib/color/table.md",
            caption="../report/color.rst",
            category="Tables",
        ),
    log:
        "results/logs/table-ddib-color.log",
    message:
        "Table of the colour transfers"


rule table_of_cycles:
    input:
        metrics=P.point_results("ddib/points", "cycle.json"),
    output:
        csv="results/ddib/points/cycle.csv",
        md=report(
            "results/ddib/points/cycle.md",
            caption="../report/cycle.rst",
            category="Tables",
        ),
    log:
        "results/logs/table-ddib-cycle.log",
    message:
        "Table of the cycles"
    shell:
        "bridgepipe stage cycle-table {input.metrics} --csv {output.csv} --markdown {output.md} > {log} 2>&1"
