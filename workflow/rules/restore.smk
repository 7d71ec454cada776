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
