# The state between kills lies in results/METHOD/EXPERIMENT/train, undeclared: Snakemake removes outputs before a job.


rule train:
    input:
        lambda w: P.sources.start_files(w.name),
        unpack(lookup("{name}", within=FILES["train"])),
    output:
        output="results/{name}/model.safetensors",
        csv="results/{name}/train.csv",
    log:
        "results/{name}/logs/train.log",
    wildcard_constraints:
        name=one_of(P.defined.trained()),
    threads: lambda w: 1 if on_points(w) else P.runtime.threads
    resources:
        **network(8000, P.runtime.longest),
    params:
        threads=lambda w: "--threads 1" if on_points(w) else "",
    message:
        "Training {wildcards.name}"
    shell:
        "bridgepipe stage train {params.options} {params.threads} --folder results/{wildcards.name}/train > {log} 2>&1"


# Checkpoints and validations stay in the folder of the training; here each gets a place as a result that others read.
rule checkpoint:
    input:
        config="results/{name}/config/train.json",
        model="results/{name}/model.safetensors",
    output:
        output="results/{name}/checkpoints/{checkpoint}",
    log:
        "results/{name}/logs/checkpoint-{checkpoint}.log",
    wildcard_constraints:
        name=one_of(P.defined.trained()),
        checkpoint=r"([0-9][^/]*|best)\.safetensors|validation\.csv",
    message:
        "Checkpoint {wildcards.checkpoint} of {wildcards.name}"
    shell:
        "bridgepipe stage checkpoint {params.options} --folder results/{wildcards.name}/train > {log} 2>&1"


rule import_published:
    input:
        config="results/{name}/config/train.json",
        dataset=lambda w: f"data/prepared/{P.experiment(w.name).dataset}/config.json",
        weights=lambda w: P.sources.published_weights(w.name),
        seen=lambda w: P.sources.watched(*P.sources.published_weights(w.name)),
    output:
        model="results/{name}/model.safetensors",
    log:
        "results/{name}/logs/import.log",
    wildcard_constraints:
        name=one_of(P.defined.imported()),
    resources:
        mem_mb=grows(16000),
    params:
        shape=shape,
    message:
        "Importing the published weights of {wildcards.name}"
    shell:
        "bridgepipe stage import-weights {input.weights} --config {input.config} {params.shape} --output {output.model} > {log} 2>&1"


rule train_classifier:
    input:
        config="data/checkpoints/{extractor}.json",
        train=lambda w: f"data/prepared/{P.extractors[w.extractor].dataset}/train.lmdb",
        val=lambda w: f"data/prepared/{P.extractors[w.extractor].dataset}/val.lmdb",
    output:
        "data/checkpoints/{extractor}.safetensors",
    log:
        "results/logs/train-{extractor}.log",
    threads: P.runtime.threads
    message:
        "Training the feature extractor {wildcards.extractor}"
    shell:
        "bridgepipe stage train-classifier {params.options} --output {output} > {log} 2>&1"
