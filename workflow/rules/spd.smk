# Unconditional generation: DDPM, DDIM and Shortest-Path Diffusion.


rule spectrum:
    input:
        store="data/prepared/{dataset}/train.lmdb",
    output:
        json="data/stats/{dataset}/spectrum.json",
        figure=report("data/stats/{dataset}/spectrum.png", caption="../report/spectrum.rst", category="SPD"),
    log:
        "results/logs/spectrum-{dataset}.log",
    resources:
        runtime=grows(120),
    message:
        "Power spectrum of {wildcards.dataset}"
    shell:
        "bridgepipe stage spectrum --data {input.store} --output {output.json} --figure {output.figure}"
        " --title {wildcards.dataset} > {log} 2>&1"


rule generate:
    input:
        unpack(lookup("spd/{experiment}", within=FILES["sample"])),
        config="results/spd/{experiment}/config/sample.json",
    output:
        temp("results/spd/{experiment}/parts/samples-{part}-of-{parts}.lmdb"),
    log:
        "results/spd/{experiment}/logs/generate-{part}-of-{parts}.log",
    benchmark:
        "results/spd/{experiment}/benchmarks/generate-{part}-of-{parts}.tsv"
    resources:
        **network(6000, takes(240, "spd/{experiment}", "sample")),
    message:
        "Sampling {wildcards.experiment}, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage generate-samples --config {input.config} --model {input.model} --train-config {input.train}"
        " --part {wildcards.part} --parts {wildcards.parts} --output {output} > {log} 2>&1"


rule export:
    input:
        images="results/spd/{experiment}/samples.lmdb",
    output:
        "results/spd/{experiment}/samples.npz",
    log:
        "results/spd/{experiment}/logs/export.log",
    message:
        "Samples of {wildcards.experiment} in ADM's layout"
    shell:
        "bridgepipe export {input.images} --output {output} > {log} 2>&1"


rule study_samples:
    input:
        unpack(lookup("spd/{experiment}", within=FILES["sample"])),
        unpack(lookup("spd/{experiment}", within=FILES["evaluate"])),
        config="results/spd/{experiment}/config/study.json",
        evaluate="results/spd/{experiment}/config/evaluate.json",
    output:
        "results/spd/{experiment}/nfe.csv",
    log:
        "results/spd/{experiment}/logs/study.log",
    benchmark:
        "results/spd/{experiment}/benchmarks/study.tsv"
    threads: P.runtime.threads
    resources:
        **network(6000, takes(480, "spd/{experiment}", "study")),
    params:
        real=option("real"),
    message:
        "FID against network calls of {wildcards.experiment}"
    shell:
        "bridgepipe stage study-samples --config {input.config} --train-config {input.train} --model {input.model}"
        " --statistics {input.statistics} --evaluate-config {input.evaluate} {params.real}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule figure_samples:
    input:
        images="results/spd/{experiment}/samples.lmdb",
    output:
        report("results/spd/{experiment}/figures/grid.png", caption="../report/samples.rst", category="SPD"),
    log:
        "results/spd/{experiment}/logs/figure-grid.log",
    message:
        "Figure: samples of {wildcards.experiment}"
    shell:
        "bridgepipe stage figure samples --images {input.images} --title {wildcards.experiment} --output {output} > {log} 2>&1"
