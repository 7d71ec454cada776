# What is measured and drawn alike of several methods. The verb follows from the method: `params.verb`.


# verbs that draw what an experiment made, and the page of the report
FIGURES = {
    "i2sb/grid": ("figure grid", "I2SB"),
    "spd/grid": ("figure samples", "SPD"),
    "ddib/classes/grid": ("figure translations", "DDIB"),
    "boundary/strip": ("boundary figure-strip", "Boundaries"),
    "boundary/flips": ("boundary figure-flips", "Boundaries"),
}


rule figure:
    input:
        unpack(lookup("{figure}/{method}/{experiment}", within=FILES)),
    output:
        drawn(
            "results/{method}/{experiment}/figures/{figure}.png",
            "figure",
            lambda w: FIGURES[f"{w.method}/{w.figure}"][1],
        ),
    log:
        "results/{method}/{experiment}/logs/figure-{figure}.log",
    wildcard_constraints:
        figure="grid|strip|flips",
    params:
        verb=lambda w: FIGURES[f"{w.method}/{w.figure}"][0],
    message:
        "Figure: {wildcards.figure} of {wildcards.experiment}"
    shell:
        "bridgepipe stage {params.verb} {params.options} --title {wildcards.experiment} --output {output} > {log} 2>&1"


rule study:
    input:
        lambda w: P.sources.mask_files(w.name),
        unpack(lookup("{name}", within=FILES["study"])),
    output:
        "results/{name}/nfe.csv",
    log:
        "results/{name}/logs/study.log",
    wildcard_constraints:
        name=one_of(name for method in P.resolved.methods for name in P.outcomes.studied(method)),
    threads: P.runtime.threads
    resources:
        **network(6000, takes(480, "{name}", "study")),
    params:
        verb=lambda w: "study" if w.name.startswith("i2sb/") else "study-samples",
    message:
        "Quality against network calls of {wildcards.name}"
    shell:
        "bridgepipe stage {params.verb} {params.options} --output {output} > {log} 2>&1"


rule fid:
    input:
        unpack(lookup("{name}", within=FILES["fid"])),
    output:
        "results/{name}/fid.json",
    log:
        "results/{name}/logs/fid.log",
    wildcard_constraints:
        name=named("i2sb", "spd", "ddib/classes"),
    resources:
        **network(4000, takes(120, "{name}", "features")),
    params:
        verb=lambda w: "translation-fid" if w.name.startswith("ddib/") else "fid",
    message:
        "FID of {wildcards.name}"
    shell:
        "bridgepipe stage evaluate {params.verb} {params.options} --output {output} > {log} 2>&1"


use rule fid as accuracy with:
    input:
        unpack(lookup("{name}", within=FILES["accuracy"])),
        unpack(lambda w: P.classifier(w.name)),
    output:
        "results/{name}/accuracy.json",
    log:
        "results/{name}/logs/accuracy.log",
    wildcard_constraints:
        name=named("i2sb", "ddib/classes"),
    params:
        verb=lambda w: "target-accuracy" if w.name.startswith("ddib/") else "accuracy",
    message:
        "Accuracy of a classifier on the images of {wildcards.name}"


use rule fid as similarity with:
    input:
        unpack(lookup("{name}", within=FILES["similarity"])),
    output:
        "results/{name}/similarity.json",
    log:
        "results/{name}/logs/similarity.log",
    wildcard_constraints:
        name=named("ddib/classes"),
    params:
        verb=branch(lookup("{name}/source", within=FILES["fid"]), "similarity --real", "similarity --no-real"),
    message:
        "What {wildcards.name} keeps of the source"


# Points are measured and drawn at once.
for section, verb, measured, figure in (
    ("sample", "evaluate-samples", "metrics", "scatter"),
    ("points", "evaluate-translation", "transport", "map"),
    ("color", "evaluate-color", "transfer", "transfer"),
):

    folder = f"results/ddib/{section}/{{experiment}}"

    rule:
        name:
            verb.replace("-", "_")
        input:
            unpack(lookup(f"ddib/{section}/{{experiment}}", within=FILES["evaluate"])),
        output:
            metrics=f"{folder}/{measured}.json",
            figure=drawn(f"{folder}/figures/{figure}.png", f"ddib/{section}", "DDIB, points and colours"),
        log:
            f"{folder}/logs/evaluate.log",
        params:
            verb=verb,
        message:
            f"Measuring and drawing {section} of {{wildcards.experiment}}"
        shell:
            "bridgepipe stage {params.verb} {params.options} --title {wildcards.experiment} > {log} 2>&1"
