# DDIB between six domains of the plane, and between the colours of two photographs: no images, but points.


rule sample_points:
    input:
        unpack(lookup("ddib/sample/{experiment}", within=FILES["sample"])),
    output:
        "results/ddib/sample/{experiment}/samples.safetensors",
    log:
        "results/ddib/sample/{experiment}/logs/sample.log",
    threads: P.runtime.threads
    resources:
        **network(4000, takes(480, "ddib/sample/{experiment}", "sample")),
    message:
        "Sampling {wildcards.experiment}"
    shell:
        "bridgepipe stage sample-points {params.options} --output {output} > {log} 2>&1"


rule translate_points:
    input:
        unpack(lookup("ddib/points/{experiment}", within=FILES["translate"])),
    output:
        "results/ddib/points/{experiment}/translated.safetensors",
    log:
        "results/ddib/points/{experiment}/logs/translate.log",
    resources:
        **network(4000, grows(240)),
    message:
        "Translating {wildcards.experiment}"
    shell:
        "bridgepipe stage translate-points {params.options} --threads {threads} --output {output} > {log} 2>&1"


rule cycle_points:
    input:
        unpack(lookup("ddib/points/{experiment}", within=FILES["cycle"])),
    output:
        "results/ddib/points/{experiment}/cycle.json",
    log:
        "results/ddib/points/{experiment}/logs/cycle.log",
    resources:
        **network(4000, grows(480)),
    message:
        "Cycles of {wildcards.experiment}"
    shell:
        "bridgepipe stage cycle-points {params.options} --threads {threads} --output {output} > {log} 2>&1"


rule figure_densities:
    input:
        unpack(lookup("ddib/points/{experiment}", within=FILES["translate"])),
    output:
        drawn(
            "results/ddib/points/{experiment}/figures/densities.png",
            "ddib/densities",
            "DDIB, points and colours",
        ),
    log:
        "results/ddib/points/{experiment}/logs/figure-densities.log",
    resources:
        **network(4000, grows(240)),
    message:
        "Figure: densities of {wildcards.experiment} on its way"
    shell:
        "bridgepipe stage figure densities {params.options} --title {wildcards.experiment} --threads {threads}"
        " --output {output} > {log} 2>&1"


rule color_transfer:
    input:
        unpack(lookup("ddib/color/{experiment}", within=FILES["translate"])),
    output:
        "results/ddib/color/{experiment}/transferred.safetensors",
    log:
        "results/ddib/color/{experiment}/logs/transfer.log",
    threads: P.runtime.threads
    resources:
        **network(4000, grows(240)),
    message:
        "Colour transfer {wildcards.experiment}"
    shell:
        "bridgepipe stage color-transfer {params.options} --output {output} > {log} 2>&1"


rule color_picture:
    input:
        unpack(lookup("ddib/color/{experiment}", within=FILES["evaluate"])),
    output:
        "results/ddib/color/{experiment}/{picture}.png",
    log:
        "results/ddib/color/{experiment}/logs/{picture}.log",
    wildcard_constraints:
        picture=one_of(P.outcomes.pictures()),
    message:
        "Picture of {wildcards.experiment}: {wildcards.picture}"
    shell:
        "bridgepipe stage color-picture {params.options} --output {output} > {log} 2>&1"
