# Sources become stores: one LMDB file per split. Feature extractors' weights and reference statistics.


# what a rule makes cannot follow from a wildcard, so each choice of stores has a rule
PREPARED = {
    "prepare": ["train", "val", "test"],
    "prepare_train_val": ["train", "val"],
    "prepare_train_test": ["train", "test"],
    "prepare_pairs": ["train", "val", "test", "train-source", "val-source", "test-source"],
}

for rule_name, stores in PREPARED.items():

    rule:
        name:
            rule_name
        input:
            config="data/prepared/{dataset}/config.json",
            listing=lambda w: P.sources.listing_of(w.dataset, w.get("split")),
            fetched=lambda w: P.sources.source_of(w.dataset),
        output:
            [f"data/prepared/{{dataset}}/{store}.lmdb" for store in stores],
        log:
            "results/logs/prepare-{dataset}.log",
        wildcard_constraints:
            dataset=prepared_as(*stores),
        resources:
            runtime=grows(240),
        params:
            folder=lambda w, output: str(Path(output[0]).parent),
            split=lambda w: f"--split {w.split}" if w.get("split") else "",
        message:
            "Preparing the dataset {wildcards.dataset}"
        shell:
            "bridgepipe stage prepare --config {input.config} --output {params.folder} {params.split} {input.listing} > {log} 2>&1"


use rule prepare as prepare_split with:
    output:
        "data/prepared/{dataset}/{split}.lmdb",
    log:
        "results/logs/prepare-{dataset}-{split}.log",
    wildcard_constraints:
        dataset=one_of(name for name, dataset in P.datasets.items() if config.comes_apart(dataset)),
        split="train|val",


use rule prepare as prepare_points with:
    output:
        [f"data/points/{{dataset}}/{split}.safetensors" for split in ("train", "test")],
    wildcard_constraints:
        dataset=prepared_as(),


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
        data="data/prepared/{dataset}/{split}.lmdb",
        extractor="data/checkpoints/{extractor}.json",
        weights=lambda w: P.defined.weights(w.extractor),
    output:
        "data/stats/{dataset}/{split}-{extractor}.safetensors",
    log:
        "results/logs/statistics-{dataset}-{split}-{extractor}.log",
    resources:
        **network(4000, takes_statistics(240)),
    message:
        "Reference statistics of {wildcards.dataset}/{wildcards.split} under {wildcards.extractor}"
    shell:
        "bridgepipe stage statistics {params.options} --output {output} > {log} 2>&1"
