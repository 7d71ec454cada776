# Translation between classes of images. Translating reads models and source images, never the target's data.


rule translate:
    input:
        unpack(lambda w: P.translation(f"ddib/classes/{w.experiment}")),
        config="results/ddib/classes/{experiment}/config/sample.json",
    output:
        translated=temp(
            "results/ddib/classes/{experiment}/parts/translated-{part}-of-{parts}.lmdb"
        ),
        latents=temp(
            "results/ddib/classes/{experiment}/parts/latents-{part}-of-{parts}.lmdb"
        ),
        states=temp(
            "results/ddib/classes/{experiment}/parts/states-{part}-of-{parts}.lmdb"
        ),
    log:
        "results/ddib/classes/{experiment}/logs/translate-{part}-of-{parts}.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/translate-{part}-of-{parts}.tsv"
    resources:
        gpu=1,
        mem_mb=P.grows(6000),
        runtime=P.grows(240),
    params:
        models=lambda w: P.translation_options(f"ddib/classes/{w.experiment}"),
    message:
        "Translating {wildcards.experiment}, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe translate-classes --config {input.config} {params.models} --data {input.store}"
        " --part {wildcards.part} --parts {wildcards.parts} --translated {output.translated}"
        " --latents {output.latents} --states {output.states} > {log} 2>&1"


rule translate_back:
    input:
        unpack(lambda w: P.translation(f"ddib/classes/{w.experiment}")),
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
        gpu=1,
        mem_mb=P.grows(6000),
        runtime=P.grows(480),
    params:
        models=lambda w: P.translation_options(f"ddib/classes/{w.experiment}"),
    message:
        "Taking {wildcards.experiment} back, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe translate-back --config {input.config} {params.models} --data {input.store}"
        " --part {wildcards.part} --parts {wildcards.parts} --translated {input.translated}"
        " --states {input.states} --output {output} > {log} 2>&1"


use rule gather as gather_translations with:
    input:
        lambda w: P.partitions(f"ddib/classes/{w.experiment}", w.kind),
    output:
        "results/ddib/classes/{experiment}/{kind}.lmdb",
    log:
        "results/ddib/classes/{experiment}/logs/gather-{kind}.log",
    wildcard_constraints:
        kind="translated|latents|states|back",
    message:
        "Joining the {wildcards.kind} of {wildcards.experiment}"


rule translation_fid:
    input:
        config="results/ddib/classes/{experiment}/config/evaluate.json",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
        reference=lambda w: P.target_store(f"ddib/classes/{w.experiment}"),
        source=lambda w: P.same_data(f"ddib/classes/{w.experiment}"),
        weights=lambda w: P.extractor_weights(f"ddib/classes/{w.experiment}"),
        extractor=lambda w: P.extractor(f"ddib/classes/{w.experiment}"),
        code=P.code("evaluation/fid.py", "evaluation/features.py"),
    output:
        "results/ddib/classes/{experiment}/fid.json",
    log:
        "results/ddib/classes/{experiment}/logs/fid.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/fid.tsv"
    resources:
        mem_mb=P.grows(4000),
        runtime=P.grows(120),
    params:
        source=lambda w, input: f"--source {input.source}" if input.source else "",
    message:
        "FID of {wildcards.experiment} to real images of the target"
    shell:
        "bridgepipe evaluate translation-fid --config {input.config} --translated {input.translated}"
        " --reference {input.reference} {params.source} --extractor {input.extractor}"
        " --weights {input.weights} --output {output} > {log} 2>&1"


rule target_accuracy:
    input:
        config="results/ddib/classes/{experiment}/config/evaluate.json",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
        weights=lambda w: P.extractor_file(
            P.experiment(f"ddib/classes/{w.experiment}").evaluate.classifier
        ),
        extractor=lambda w: P.extractor_config(
            P.experiment(f"ddib/classes/{w.experiment}").evaluate.classifier
        ),
        code=P.code("evaluation/accuracy.py", "evaluation/features.py"),
    output:
        "results/ddib/classes/{experiment}/accuracy.json",
    log:
        "results/ddib/classes/{experiment}/logs/accuracy.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/accuracy.tsv"
    resources:
        mem_mb=P.grows(4000),
        runtime=P.grows(120),
    message:
        "Share of {wildcards.experiment} that is of the target class"
    shell:
        "bridgepipe evaluate target-accuracy --config {input.config} --translated {input.translated}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule kept:
    input:
        translated="results/ddib/classes/{experiment}/translated.lmdb",
        source=lambda w: P.translated_store(f"ddib/classes/{w.experiment}"),
        weights=lambda w: P.extractor_weights(f"ddib/classes/{w.experiment}"),
        extractor=lambda w: P.extractor(f"ddib/classes/{w.experiment}"),
        code=P.code("evaluation/translation.py", "evaluation/restoration.py"),
    output:
        "results/ddib/classes/{experiment}/kept.json",
    log:
        "results/ddib/classes/{experiment}/logs/kept.log",
    benchmark:
        "results/ddib/classes/{experiment}/benchmarks/kept.tsv"
    resources:
        mem_mb=P.grows(4000),
        runtime=P.grows(120),
    params:
        real=lambda w: (
            "--real" if P.same_data(f"ddib/classes/{w.experiment}") else "--no-real"
        ),
    message:
        "What {wildcards.experiment} keeps of the source"
    shell:
        "bridgepipe evaluate kept --translated {input.translated} --source {input.source} {params.real}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule cycle_of_images:
    input:
        "results/ddib/classes/{experiment}/back.lmdb",
    output:
        "results/ddib/classes/{experiment}/cycle.json",
    log:
        "results/ddib/classes/{experiment}/logs/cycle.log",
    resources:
        mem_mb=P.grows(1000),
        runtime=P.grows(10),
    message:
        "Cycle error of {wildcards.experiment}"
    shell:
        "bridgepipe evaluate cycle-of-images --back {input} --output {output} > {log} 2>&1"


rule figure_translations:
    input:
        source=lambda w: P.translated_store(f"ddib/classes/{w.experiment}"),
        latents="results/ddib/classes/{experiment}/latents.lmdb",
        translated="results/ddib/classes/{experiment}/translated.lmdb",
        back="results/ddib/classes/{experiment}/back.lmdb",
        code=P.code("figures.py", "canvas.py"),
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
        "bridgepipe figure translations --source {input.source} --latents {input.latents}"
        " --translated {input.translated} --back {input.back} --title {wildcards.experiment}"
        " --output {output} > {log} 2>&1"
