# Translation between classes of images. Translating reads models and source images, never the target's data.


rule translate:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["sample"])),
    output:
        translated=temp("results/ddib/classes/{experiment}/parts/translated-{part}-of-{parts}.lmdb"),
        latents=temp("results/ddib/classes/{experiment}/parts/latents-{part}-of-{parts}.lmdb"),
        states=temp("results/ddib/classes/{experiment}/parts/states-{part}-of-{parts}.lmdb"),
    log:
        "results/ddib/classes/{experiment}/logs/translate-{part}-of-{parts}.log",
    wildcard_constraints:
        experiment=one_of(alone("ddib/classes")),
    resources:
        **network(6000, takes(240, "ddib/classes/{experiment}", "sample")),
    params:
        models=lambda w: models_of(f"ddib/classes/{w.experiment}"),
    message:
        "Translating {wildcards.experiment}, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage translate-classes --config {input.config} {params.models} --data {input.data}"
        " --part {wildcards.part} --parts {wildcards.parts} --translated {output.translated}"
        " --latents {output.latents} --states {output.states} > {log} 2>&1"


rule translate_back:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["cycle"])),
    output:
        temp("results/ddib/classes/{experiment}/parts/back-{part}-of-{parts}.lmdb"),
    log:
        "results/ddib/classes/{experiment}/logs/back-{part}-of-{parts}.log",
    resources:
        **network(6000, takes(480, "ddib/classes/{experiment}", "cycle")),
    params:
        models=lambda w: models_of(f"ddib/classes/{w.experiment}"),
    message:
        "Taking {wildcards.experiment} back, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage translate-back --config {input.config} {params.models} --data {input.data}"
        " --part {wildcards.part} --parts {wildcards.parts} --translated {input.translated}"
        " --states {input.states} --output {output} > {log} 2>&1"


rule cycle_of_images:
    input:
        back="results/ddib/classes/{experiment}/back.lmdb",
    output:
        "results/ddib/classes/{experiment}/cycle.json",
    log:
        "results/ddib/classes/{experiment}/logs/cycle.log",
    message:
        "Cycle error of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate cycle-of-images --back {input.back} --output {output} > {log} 2>&1"
