# Restoration through the bridge: partitions as parallel jobs, then joined, and what is measured and drawn of it.


rule sample:
    input:
        lambda w: P.sources.mask_files(f"i2sb/{w.experiment}"),
        unpack(lookup("i2sb/{experiment}", within=FILES["sample"])),
    output:
        restored=temp("results/i2sb/{experiment}/parts/restored-{part}-of-{parts}.lmdb"),
        corrupted=temp("results/i2sb/{experiment}/parts/corrupted-{part}-of-{parts}.lmdb"),
    log:
        "results/i2sb/{experiment}/logs/sample-{part}-of-{parts}.log",
    resources:
        **network(6000, takes(240, "i2sb/{experiment}", "sample")),
    message:
        "Restoring {wildcards.experiment}, part {wildcards.part} of {wildcards.parts}"
    shell:
        "bridgepipe stage sample {params.options} --part {wildcards.part} --parts {wildcards.parts} > {log} 2>&1"


rule study:
    input:
        lambda w: P.sources.mask_files(f"i2sb/{w.experiment}"),
        unpack(lookup("i2sb/{experiment}", within=FILES["study"])),
    output:
        "results/i2sb/{experiment}/nfe.csv",
    log:
        "results/i2sb/{experiment}/logs/study.log",
    threads: P.runtime.threads
    resources:
        **network(6000, takes(480, "i2sb/{experiment}", "study")),
    message:
        "Quality against network calls of {wildcards.experiment}"
    shell:
        "bridgepipe stage study {params.options} --output {output} > {log} 2>&1"


rule fid:
    input:
        unpack(lookup("{name}", within=FILES["fid"])),
    output:
        "results/{name}/fid.json",
    log:
        "results/{name}/logs/fid.log",
    wildcard_constraints:
        name=one_of([*P.resolved.of("i2sb"), *P.resolved.of("spd")]),
    resources:
        **network(4000, takes(120, "{name}", "features")),
    message:
        "FID of {wildcards.name}"
    shell:
        "bridgepipe stage evaluate fid {params.options} --output {output} > {log} 2>&1"


rule accuracy:
    input:
        unpack(lookup("i2sb/{experiment}", within=FILES["restoration"])),
        unpack(lambda w: P.classifier(f"i2sb/{w.experiment}")),
    output:
        "results/i2sb/{experiment}/accuracy.json",
    log:
        "results/i2sb/{experiment}/logs/accuracy.log",
    resources:
        **network(4000, takes(120, "i2sb/{experiment}", "features")),
    message:
        "Classifier accuracy of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate accuracy {params.options} --output {output} > {log} 2>&1"


rule restoration:
    input:
        unpack(lookup("i2sb/{experiment}", within=FILES["restoration"])),
    output:
        "results/i2sb/{experiment}/restoration.json",
    log:
        "results/i2sb/{experiment}/logs/restoration.log",
    resources:
        runtime=grows(120),
    message:
        "PSNR and SSIM of {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate restoration {params.options} --output {output} > {log} 2>&1"


rule figure_grid:
    input:
        unpack(lookup("i2sb/{experiment}", within=FILES["restoration"])),
    output:
        drawn("results/i2sb/{experiment}/figures/grid.png", "grid", "I2SB"),
    log:
        "results/i2sb/{experiment}/logs/figure-grid.log",
    message:
        "Figure: {wildcards.experiment}, before and after"
    shell:
        "bridgepipe stage figure grid {params.options} --title {wildcards.experiment} --output {output} > {log} 2>&1"


rule figure_path:
    input:
        lambda w: P.sources.mask_files(f"i2sb/{w.experiment}"),
        unpack(lookup("i2sb/{experiment}", within=FILES["sample"])),
    output:
        drawn("results/i2sb/{experiment}/figures/path.png", "path", "I2SB"),
    log:
        "results/i2sb/{experiment}/logs/figure-path.log",
    resources:
        **network(6000, takes(240, "i2sb/{experiment}", "path")),
    message:
        "Figure: {wildcards.experiment} along the sampling path"
    shell:
        "bridgepipe stage figure path {params.options} --title {wildcards.experiment} --output {output} > {log} 2>&1"


rule photographs:
    input:
        unpack(lookup("i2sb/{experiment}", within=FILES["photographs"])),
    output:
        csv="results/i2sb/{experiment}/photographs.csv",
        markdown=drawn("results/i2sb/{experiment}/photographs.md", "photographs", "I2SB"),
        figure=drawn("results/i2sb/{experiment}/figures/photographs.png", "photographs", "I2SB"),
    log:
        "results/i2sb/{experiment}/logs/photographs.log",
    threads: P.runtime.threads
    resources:
        **network(4000, grows(60)),
    params:
        shipped=lambda w: shipped.digest(),
    message:
        "Restoring test photographs by {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate photographs {params.options} --title {wildcards.experiment} > {log} 2>&1"
