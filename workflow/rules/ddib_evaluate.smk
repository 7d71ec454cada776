# Metrics and the picture of translations between classes of images.


rule translation_fid:
    input:
        unpack(lookup("ddib/classes/{experiment}", within=FILES["evaluate"])),
        config="results/ddib/classes/{experiment}/config/evaluate.json",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
    output:
        "results/ddib/classes/{experiment}/fid.json",
    log:
        "results/ddib/classes/{experiment}/logs/fid.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/fid.tsv"
    resources:
        **network(4000, takes(120, "ddib/classes/{experiment}", "features")),
    params:
        source=option("source"),
        real=option("real"),
    message:
        "FID of {wildcards.experiment} to real images of the target"
    shell:
        "bridgepipe stage evaluate translation-fid --config {input.config} --translated {input.translated}"
        " --reference {input.reference} {params.source} {params.real} --extractor {input.extractor}"
        " --weights {input.weights} --output {output} > {log} 2>&1"


rule target_accuracy:
    input:
        unpack(lambda w: P.classifier(f"ddib/classes/{w.experiment}")),
        config="results/ddib/classes/{experiment}/config/evaluate.json",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
    output:
        "results/ddib/classes/{experiment}/accuracy.json",
    log:
        "results/ddib/classes/{experiment}/logs/accuracy.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/accuracy.tsv"
    resources:
        **network(4000, takes(120, "ddib/classes/{experiment}", "features")),
    message:
        "Share of {wildcards.experiment} that is of the target class"
    shell:
        "bridgepipe stage evaluate target-accuracy --config {input.config} --translated {input.translated}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule kept:
    input:
        translated="results/ddib/classes/{experiment}/translated.lmdb",
        source=lookup("ddib/classes/{experiment}/store", within=FILES["sample"]),
        weights=lookup("ddib/classes/{experiment}/weights", within=FILES["evaluate"]),
        extractor=lookup("ddib/classes/{experiment}/extractor", within=FILES["evaluate"]),
    output:
        "results/ddib/classes/{experiment}/kept.json",
    log:
        "results/ddib/classes/{experiment}/logs/kept.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/kept.tsv"
    resources:
        **network(4000, takes(120, "ddib/classes/{experiment}", "features")),
    params:
        real=branch(
            lookup("ddib/classes/{experiment}/source", within=FILES["evaluate"]),
            then="--real",
            otherwise="--no-real",
        ),
    message:
        "What {wildcards.experiment} keeps of the source"
    shell:
        "bridgepipe stage evaluate kept --translated {input.translated} --source {input.source} {params.real}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


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
        source=lookup("ddib/classes/{experiment}/store", within=FILES["sample"]),
        latents="results/ddib/classes/{experiment}/latents.lmdb",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
        back="results/ddib/classes/{experiment}/back.lmdb",
    output:
        report(
            "results/ddib/classes/{experiment}/figures/grid.png",
            caption="../report/translations.rst",
            category="DDIB",
        ),
    log:
        "results/ddib/classes/{experiment}/logs/figure-grid.log",
    message:
        "Figure: {wildcards.experiment}, there and back"
    shell:
        "bridgepipe stage figure translations --source {input.source} --latents {input.latents}"
        " --translated {input.translated} --back {input.back} --title {wildcards.experiment}"
        " --output {output} > {log} 2>&1"
