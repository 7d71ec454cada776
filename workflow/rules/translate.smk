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


rule translation_fid:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["fid"])),
    output:
        "results/ddib/classes/{experiment}/fid.json",
    log:
        "results/ddib/classes/{experiment}/logs/fid.log",
    resources:
        **network(4000, takes(120, "ddib/classes/{experiment}", "features")),
    message:
        "FID of {wildcards.experiment} to real images of the target"
    shell:
        "bridgepipe stage evaluate translation-fid {params.options} --output {output} > {log} 2>&1"


rule target_accuracy:
    input:
        unpack(lambda w: P.classifier(f"ddib/classes/{w.experiment}")),
        config="results/ddib/classes/{experiment}/config/evaluate.json",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
    output:
        "results/ddib/classes/{experiment}/accuracy.json",
    log:
        "results/ddib/classes/{experiment}/logs/accuracy.log",
    resources:
        **network(4000, takes(120, "ddib/classes/{experiment}", "features")),
    message:
        "Share of {wildcards.experiment} that is of the target class"
    shell:
        "bridgepipe stage evaluate target-accuracy {params.options} --output {output} > {log} 2>&1"


rule similarity:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["similarity"])),
    output:
        "results/ddib/classes/{experiment}/similarity.json",
    log:
        "results/ddib/classes/{experiment}/logs/similarity.log",
    resources:
        **network(4000, takes(120, "ddib/classes/{experiment}", "features")),
    params:
        real=branch(lookup("ddib/classes/{experiment}/source", within=FILES["fid"]), "--real", "--no-real"),
    message:
        "What {wildcards.experiment} keeps of the source"
    shell:
        "bridgepipe stage evaluate similarity {params.options} {params.real} --output {output} > {log} 2>&1"


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


rule figure_translations:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["figures"])),
    output:
        output=drawn("results/ddib/classes/{experiment}/figures/grid.png", "translations", "DDIB"),
    log:
        "results/ddib/classes/{experiment}/logs/figure-grid.log",
    message:
        "Figure: {wildcards.experiment}, there and back"
    shell:
        "bridgepipe stage figure translations {params.options} --title {wildcards.experiment} > {log} 2>&1"
