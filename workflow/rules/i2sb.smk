# Restoration through the bridge: partitions as parallel jobs, then joined.


rule sample:
    input:
        config="results/i2sb/{experiment}/config/sample.json",
        train="results/i2sb/{experiment}/config/train.json",
        model="results/i2sb/{experiment}/model.safetensors",
        store=lookup("i2sb/{experiment}/store", within=FILES["sample"]),
        sources=lookup("i2sb/{experiment}/sources", within=FILES["sample"]),
        masks=lambda w: P.sources.mask_files(f"i2sb/{w.experiment}"),
    output:
        restored=temp("results/i2sb/{experiment}/parts/restored-{part}-of-{parts}.lmdb"),
        corrupted=temp("results/i2sb/{experiment}/parts/corrupted-{part}-of-{parts}.lmdb"),
    log:
        "results/i2sb/{experiment}/logs/sample-{part}-of-{parts}.log",
    benchmark:
        "results/i2sb/{experiment}/benchmarks/sample-{part}-of-{parts}.tsv"
    resources:
        **network(6000, takes(240, "i2sb/{experiment}", "sample")),
    params:
        sources=option("sources"),
    message:
        "Restoring {wildcards.experiment}, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage sample --config {input.config} --model {input.model} --train-config {input.train} --data {input.store} {params.sources}"
        " --part {wildcards.part} --parts {wildcards.parts}"
        " --restored {output.restored} --corrupted {output.corrupted} > {log} 2>&1"


rule study:
    input:
        unpack(lookup("i2sb/{experiment}", within=FILES["evaluate"])),
        config="results/i2sb/{experiment}/config/study.json",
        sample="results/i2sb/{experiment}/config/sample.json",
        train="results/i2sb/{experiment}/config/train.json",
        evaluate="results/i2sb/{experiment}/config/evaluate.json",
        model="results/i2sb/{experiment}/model.safetensors",
        store=lookup("i2sb/{experiment}/store", within=FILES["sample"]),
        sources=lookup("i2sb/{experiment}/sources", within=FILES["sample"]),
        masks=lambda w: P.sources.mask_files(f"i2sb/{w.experiment}"),
    output:
        "results/i2sb/{experiment}/nfe.csv",
    log:
        "results/i2sb/{experiment}/logs/study.log",
    benchmark:
        "results/i2sb/{experiment}/benchmarks/study.tsv"
    threads: P.runtime.threads
    resources:
        **network(6000, takes(480, "i2sb/{experiment}", "study")),
    params:
        sources=option("sources"),
        real=option("real"),
    message:
        "Quality against network calls of {wildcards.experiment}"
    shell:
        "bridgepipe stage study --config {input.config} --evaluate-config {input.evaluate}"
        " --statistics {input.statistics} {params.real} --sample-config {input.sample} --train-config {input.train}"
        " --model {input.model} --data {input.store} {params.sources}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"
