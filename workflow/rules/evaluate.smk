# Metrics of restored and of corrupted images, each with its protocol.


rule fid:
    input:
        config="results/i2sb/{experiment}/config/evaluate.json",
        restored="results/i2sb/{experiment}/restored.lmdb",
        corrupted="results/i2sb/{experiment}/corrupted.lmdb",
        statistics=lambda w: P.statistics(f"i2sb/{w.experiment}"),
        originals=lambda w: P.store(f"i2sb/{w.experiment}"),
        real=lambda w: P.real_store(f"i2sb/{w.experiment}"),
        weights=lambda w: P.extractor_file(
            P.experiment(f"i2sb/{w.experiment}").evaluate.extractor
        ),
        extractor=lambda w: P.extractor_config(
            P.experiment(f"i2sb/{w.experiment}").evaluate.extractor
        ),
    output:
        "results/i2sb/{experiment}/fid.json",
    log:
        "results/i2sb/{experiment}/logs/fid.log",
    benchmark:
        "results/i2sb/{experiment}/benchmarks/fid.tsv"
    resources:
        **network(4000, takes(120, "i2sb", "features")),
    params:
        beside=lambda w, input: f"--corrupted {input.corrupted} --originals {input.originals}"
        + (f" --real {input.real}" if input.real else ""),
    message:
        "FID of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate fid --config {input.config} --images {input.restored} {params.beside}"
        " --statistics {input.statistics}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule accuracy:
    input:
        unpack(lambda w: P.classifier(f"i2sb/{w.experiment}")),
        config="results/i2sb/{experiment}/config/evaluate.json",
        restored="results/i2sb/{experiment}/restored.lmdb",
        corrupted="results/i2sb/{experiment}/corrupted.lmdb",
        store=lambda w: P.store(f"i2sb/{w.experiment}"),
    output:
        "results/i2sb/{experiment}/accuracy.json",
    log:
        "results/i2sb/{experiment}/logs/accuracy.log",
    benchmark:
        "results/i2sb/{experiment}/benchmarks/accuracy.tsv"
    resources:
        **network(4000, takes(120, "i2sb", "features")),
    message:
        "Classifier accuracy of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate accuracy --restored {input.restored} --corrupted {input.corrupted}"
        " --originals {input.store} --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule restoration:
    input:
        restored="results/i2sb/{experiment}/restored.lmdb",
        corrupted="results/i2sb/{experiment}/corrupted.lmdb",
        store=lambda w: P.store(f"i2sb/{w.experiment}"),
    output:
        "results/i2sb/{experiment}/restoration.json",
    log:
        "results/i2sb/{experiment}/logs/restoration.log",
    benchmark:
        "results/i2sb/{experiment}/benchmarks/restoration.tsv"
    resources:
        runtime=grows(120),
    message:
        "PSNR and SSIM of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate restoration --restored {input.restored} --corrupted {input.corrupted}"
        " --originals {input.store} --output {output} > {log} 2>&1"
