# Translation between classes of images. Translating reads models and source images, never the target's data.


rule translate:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["sample"])),
        config="results/ddib/classes/{experiment}/config/sample.json",
    output:
        translated=temp("results/ddib/classes/{experiment}/parts/translated-{part}-of-{parts}.lmdb"),
        latents=temp("results/ddib/classes/{experiment}/parts/latents-{part}-of-{parts}.lmdb"),
        states=temp("results/ddib/classes/{experiment}/parts/states-{part}-of-{parts}.lmdb"),
    log:
        "results/ddib/classes/{experiment}/logs/translate-{part}-of-{parts}.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/translate-{part}-of-{parts}.tsv"
    resources:
        **network(6000, takes(240, "ddib/classes/{experiment}", "sample")),
    params:
        models=models_of,
    message:
        "Translating {wildcards.experiment}, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage translate-classes --config {input.config} {params.models} --data {input.store}"
        " --part {wildcards.part} --parts {wildcards.parts} --translated {output.translated}"
        " --latents {output.latents} --states {output.states} > {log} 2>&1"


rule translate_back:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["sample"])),
        config="results/ddib/classes/{experiment}/config/cycle.json",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
        states="results/ddib/classes/{experiment}/states.lmdb",
    output:
        temp("results/ddib/classes/{experiment}/parts/back-{part}-of-{parts}.lmdb"),
    log:
        "results/ddib/classes/{experiment}/logs/back-{part}-of-{parts}.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/back-{part}-of-{parts}.tsv"
    resources:
        **network(6000, takes(480, "ddib/classes/{experiment}", "cycle")),
    params:
        models=models_of,
    message:
        "Taking {wildcards.experiment} back, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage translate-back --config {input.config} {params.models} --data {input.store}"
        " --part {wildcards.part} --parts {wildcards.parts} --translated {input.translated}"
        " --states {input.states} --output {output} > {log} 2>&1"
