# Metrics of restored and of corrupted images, each with its protocol.


rule fid:
    input:
        unpack(lookup("{name}", within=FILES["fid"])),
        config="results/{name}/config/evaluate.json",
    output:
        "results/{name}/fid.json",
    log:
        "results/{name}/logs/fid.log",
    benchmark:
        "results/{name}/benchmarks/fid.tsv"
    wildcard_constraints:
        name=one_of([*P.resolved.of("i2sb"), *P.resolved.of("spd")]),
    resources:
        **network(4000, takes(120, "{name}", "features")),
    params:
        corrupted=option("corrupted"),
        originals=option("originals"),
        real=option("real"),
    message:
        "FID of {wildcards.name}"
    shell:
        "bridgepipe stage evaluate fid --config {input.config} --images {input.images}"
        " {params.corrupted} {params.originals} {params.real} --statistics {input.statistics}"
        " --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule accuracy:
    input:
        unpack(lambda w: P.classifier(f"i2sb/{w.experiment}")),
        config="results/i2sb/{experiment}/config/evaluate.json",
        restored="results/i2sb/{experiment}/restored.lmdb",
        corrupted="results/i2sb/{experiment}/corrupted.lmdb",
        store=lookup("i2sb/{experiment}/store", within=FILES["sample"]),
    output:
        "results/i2sb/{experiment}/accuracy.json",
    log:
        "results/i2sb/{experiment}/logs/accuracy.log",
    benchmark:
        "results/i2sb/{experiment}/benchmarks/accuracy.tsv"
    resources:
        **network(4000, takes(120, "i2sb/{experiment}", "features")),
    message:
        "Classifier accuracy of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate accuracy --restored {input.restored} --corrupted {input.corrupted}"
        " --originals {input.store} --extractor {input.extractor} --weights {input.weights} --output {output} > {log} 2>&1"


rule restoration:
    input:
        restored="results/i2sb/{experiment}/restored.lmdb",
        corrupted="results/i2sb/{experiment}/corrupted.lmdb",
        store=lookup("i2sb/{experiment}/store", within=FILES["sample"]),
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
