# Training. The state between kills lives in results/METHOD/EXPERIMENT/train and is no declared output,
# because Snakemake deletes declared outputs before it runs a job again.


rule train:
    input:
        config="results/{method}/{experiment}/config/train.json",
        store=lambda w: P.train_store(f"{w.method}/{w.experiment}"),
        sources=lambda w: P.sources(f"{w.method}/{w.experiment}", "train"),
        start=lambda w: P.start_files(f"{w.method}/{w.experiment}"),
    output:
        model="results/{method}/{experiment}/model.safetensors",
        log="results/{method}/{experiment}/train.csv",
    log:
        "results/{method}/{experiment}/logs/train.log",
    benchmark:
        "results/{method}/{experiment}/benchmarks/train.tsv"
    wildcard_constraints:
        experiment=P.one_of(P.trained()),
    threads: P.runtime.threads
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 1440,
    params:
        sources=lambda w, input: f"--sources {input.sources}" if input.sources else "",
    message:
        "Training {wildcards.method}/{wildcards.experiment}"
    shell:
        "bridgepipe train --config {input.config} --data {input.store} {params.sources} --folder results/{wildcards.method}/{wildcards.experiment}/train"
        " --output {output.model} --csv {output.log} > {log} 2>&1"


rule import_published:
    input:
        config="results/{method}/{experiment}/config/train.json",
        weights=lambda w: P.published_weights(f"{w.method}/{w.experiment}"),
    output:
        model="results/{method}/{experiment}/model.safetensors",
    log:
        "results/{method}/{experiment}/logs/import.log",
    wildcard_constraints:
        experiment=P.one_of(P.imported()),
    resources:
        mem_mb=16000,
        runtime=30,
    message:
        "Importing the published weights of {wildcards.method}/{wildcards.experiment}"
    shell:
        "bridgepipe import-weights {input.weights} --config {input.config} --output {output.model} > {log} 2>&1"


rule train_classifier:
    input:
        config="data/checkpoints/{extractor}.json",
        train=lambda w: f"data/prepared/{P.extractors[w.extractor].dataset}/train.lmdb",
        val=lambda w: f"data/prepared/{P.extractors[w.extractor].dataset}/val.lmdb",
    output:
        "data/checkpoints/{extractor}.safetensors",
    log:
        "results/logs/train-{extractor}.log",
    benchmark:
        "results/benchmarks/train-{extractor}.tsv"
    threads: P.runtime.threads
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "Training the feature extractor {wildcards.extractor}"
    shell:
        "bridgepipe train-classifier --config {input.config} --train {input.train} --val {input.val}"
        " --output {output} > {log} 2>&1"
