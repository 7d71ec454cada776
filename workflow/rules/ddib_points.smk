# DDIB between six domains of the plane: samples, translations, cycles, and what is measured of them.


rule sample_points:
    input:
        config="results/ddib/sample/{experiment}/config/sample.json",
        model="results/ddib/sample/{experiment}/model.safetensors",
        train="results/ddib/sample/{experiment}/config/train.json",
        data=lookup("ddib/sample/{experiment}/data", within=FILES["sample"]),
    output:
        "results/ddib/sample/{experiment}/samples.safetensors",
    log:
        "results/ddib/sample/{experiment}/logs/sample.log",
    benchmark:
        "results/ddib/sample/{experiment}/benchmarks/sample.tsv"
    threads: P.runtime.threads
    resources:
        **network(4000, grows(480)),
    message:
        "Sampling {wildcards.experiment}"
    shell:
        "bridgepipe stage sample-points --config {input.config} --model {input.model} --train-config {input.train}"
        " --data {input.data} --output {output} > {log} 2>&1"


rule evaluate_samples:
    input:
        samples="results/ddib/sample/{experiment}/samples.safetensors",
        truth=lookup("ddib/sample/{experiment}/data", within=FILES["sample"]),
    output:
        metrics="results/ddib/sample/{experiment}/metrics.json",
        figure=report(
            "results/ddib/sample/{experiment}/figures/scatter.png",
            caption="../report/ddib/sample.rst",
            category="DDIB, points",
        ),
    log:
        "results/ddib/sample/{experiment}/logs/evaluate.log",
    message:
        "Measuring and drawing the samples of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate-samples --samples {input.samples} --truth {input.truth}"
        " --metrics {output.metrics} --figure {output.figure} --title {wildcards.experiment} > {log} 2>&1"


rule translate_points:
    input:
        unpack(lookup("ddib/points/{experiment}", within=FILES["translate"])),
        config="results/ddib/points/{experiment}/config/translate.json",
    output:
        "results/ddib/points/{experiment}/translated.safetensors",
    log:
        "results/ddib/points/{experiment}/logs/translate.log",
    benchmark:
        "results/ddib/points/{experiment}/benchmarks/translate.tsv"
    resources:
        **network(4000, grows(240)),
    message:
        "Translating {wildcards.experiment}"
    shell:
        "bridgepipe stage translate-points --config {input.config} --data {input.data}"
        " --source {input.source} --source-config {input.source_config}"
        " --target {input.target} --target-config {input.target_config} --threads {threads} --output {output} > {log} 2>&1"


rule cycle_points:
    input:
        unpack(lookup("ddib/points/{experiment}", within=FILES["translate"])),
        config="results/ddib/points/{experiment}/config/cycle.json",
        truth=lookup("ddib/points/{experiment}/truth", within=FILES["evaluate"]),
    output:
        "results/ddib/points/{experiment}/cycle.json",
    log:
        "results/ddib/points/{experiment}/logs/cycle.log",
    benchmark:
        "results/ddib/points/{experiment}/benchmarks/cycle.tsv"
    resources:
        **network(4000, grows(480)),
    message:
        "Cycles of {wildcards.experiment}"
    shell:
        "bridgepipe stage cycle-points --config {input.config} --data {input.data} --truth {input.truth}"
        " --source {input.source} --source-config {input.source_config}"
        " --target {input.target} --target-config {input.target_config} --threads {threads} --output {output} > {log} 2>&1"


rule evaluate_translation:
    input:
        config="results/ddib/points/{experiment}/config/evaluate.json",
        translated="results/ddib/points/{experiment}/translated.safetensors",
        truth=lookup("ddib/points/{experiment}/truth", within=FILES["evaluate"]),
    output:
        metrics="results/ddib/points/{experiment}/transport.json",
        figure=report(
            "results/ddib/points/{experiment}/figures/map.png",
            caption="../report/ddib/points.rst",
            category="DDIB, points",
        ),
    log:
        "results/ddib/points/{experiment}/logs/evaluate.log",
    message:
        "Measuring and drawing the map of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate-translation --config {input.config} --translated {input.translated}"
        " --truth {input.truth}"
        " --metrics {output.metrics} --figure {output.figure} --title {wildcards.experiment} > {log} 2>&1"
