# Unconditional generation: DDPM, DDIM and Shortest-Path Diffusion.


rule spectrum:
    input:
        data="data/prepared/{dataset}/train.lmdb",
    output:
        output="data/stats/{dataset}/spectrum.json",
        figure=drawn("data/stats/{dataset}/spectrum.png", "spectrum", "SPD"),
    log:
        "results/logs/spectrum-{dataset}.log",
    resources:
        runtime=grows(120),
    message:
        "Power spectrum of {wildcards.dataset}"
    shell:
        "bridgepipe stage spectrum {params.options} --title {wildcards.dataset} > {log} 2>&1"


rule generate:
    input:
        unpack(lookup("spd/{experiment}", within=FILES["sample"])),
    output:
        output=temp("results/spd/{experiment}/parts/samples-{part}-of-{parts}.lmdb"),
    log:
        "results/spd/{experiment}/logs/generate-{part}-of-{parts}.log",
    resources:
        **network(6000, takes(240, "spd/{experiment}", "sample")),
    message:
        "Sampling {wildcards.experiment}, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage generate-samples {params.options} --part {wildcards.part} --parts {wildcards.parts} > {log} 2>&1"


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
