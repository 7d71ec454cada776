# Sources become stores: one LMDB file per split. Feature extractors' weights and reference statistics.


rule prepare:
    input:
        config="data/prepared/{dataset}/config.json",
        listing=lambda w: P.sources.listing_of(w.dataset),
        fetched=lambda w: P.sources.source_of(w.dataset),
    output:
        [f"data/prepared/{{dataset}}/{split}.lmdb" for split in ("train", "val", "test")],
    log:
        "results/logs/prepare-{dataset}.log",
    benchmark:
        "results/benchmarks/prepare-{dataset}.tsv"
    wildcard_constraints:
        dataset=prepared_as("train", "val", "test"),
    resources:
        runtime=grows(240),
    message:
        "Preparing the images of {wildcards.dataset}"
    shell:
        "bridgepipe stage prepare --config {input.config} --output data/prepared/{wildcards.dataset}"
        " {input.listing} > {log} 2>&1"


use rule prepare as prepare_train_val with:
    output:
        [f"data/prepared/{{dataset}}/{split}.lmdb" for split in ("train", "val")],
    wildcard_constraints:
        dataset=prepared_as("train", "val"),


use rule prepare as prepare_train_test with:
    output:
        [f"data/prepared/{{dataset}}/{split}.lmdb" for split in ("train", "test")],
    wildcard_constraints:
        dataset=prepared_as("train", "test"),


rule prepare_points:
    input:
        config="data/prepared/{dataset}/config.json",
        listing=lambda w: P.sources.listing_of(w.dataset),
        fetched=lambda w: P.sources.source_of(w.dataset),
    output:
        [f"data/points/{{dataset}}/{split}.safetensors" for split in ("train", "test")],
    log:
        "results/logs/prepare-{dataset}.log",
    benchmark:
        "results/benchmarks/prepare-{dataset}.tsv"
    wildcard_constraints:
        dataset=prepared_as(),
    message:
        "Drawing the points of {wildcards.dataset}"
    shell:
        "bridgepipe stage prepare --config {input.config} --output data/points/{wildcards.dataset}"
        " {input.listing} > {log} 2>&1"


use rule prepare as prepare_train with:
    output:
        "data/prepared/{dataset}/train.lmdb",
    wildcard_constraints:
        dataset=prepared_as("train"),


use rule prepare as prepare_val with:
    output:
        "data/prepared/{dataset}/val.lmdb",
    wildcard_constraints:
        dataset=prepared_as("val"),


use rule prepare as prepare_pairs with:
    output:
        [
            f"data/prepared/{{dataset}}/{split}{side}.lmdb"
            for side in ("", "-source")
            for split in ("train", "val", "test")
        ],
    wildcard_constraints:
        dataset=prepared_as("train", "val", "test", "train-source", "val-source", "test-source"),


rule fetch:
    output:
        "data/{published}",
    log:
        "results/logs/fetch/{published}.log",
    wildcard_constraints:
        published=one_of(P.sources.published_files(folders=False)),
    resources:
        runtime=grows(240),
    params:
        name=lambda w: P.sources.published_files()[w.published],
    message:
        "Fetching {wildcards.published}"
    shell:
        "bridgepipe fetch {params.name} --output {output} > {log} 2>&1"


use rule fetch as fetch_folder with:
    output:
        directory("data/{published}"),
    wildcard_constraints:
        published=one_of(P.sources.published_files(folders=True)),


rule statistics:
    input:
        store="data/prepared/{dataset}/{split}.lmdb",
        config="data/checkpoints/{extractor}.json",
        weights=lambda w: P.defined.weights(w.extractor),
    output:
        "data/stats/{dataset}/{split}-{extractor}.safetensors",
    log:
        "results/logs/statistics-{dataset}-{split}-{extractor}.log",
    benchmark:
        "results/benchmarks/statistics-{dataset}-{split}-{extractor}.tsv"
    resources:
        **network(4000, takes_statistics(240)),
    message:
        "Reference statistics of {wildcards.dataset}/{wildcards.split} under {wildcards.extractor}"
    shell:
        "bridgepipe stage statistics --data {input.store} --extractor {input.config} --weights {input.weights}"
        " --output {output} > {log} 2>&1"
