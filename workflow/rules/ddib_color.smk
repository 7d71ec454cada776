# DDIB between the colours of two photographs, both ways.


rule color_transfer:
    input:
        unpack(lookup("ddib/color/{experiment}", within=FILES["translate"])),
        config="results/ddib/color/{experiment}/config/translate.json",
        truth=lookup("ddib/color/{experiment}/truth", within=FILES["evaluate"]),
    output:
        "results/ddib/color/{experiment}/transferred.safetensors",
    log:
        "results/ddib/color/{experiment}/logs/transfer.log",
    benchmark:
        "results/ddib/color/{experiment}/benchmarks/transfer.tsv"
    threads: P.runtime.threads
    resources:
        **network(4000, grows(240)),
    message:
        "Colour transfer {wildcards.experiment}"
    shell:
        "bridgepipe stage color-transfer --config {input.config}"
        " --source {input.source} --source-config {input.source_config} --source-pixels {input.data}"
        " --target {input.target} --target-config {input.target_config} --target-pixels {input.truth}"
        " --output {output} > {log} 2>&1"


rule evaluate_color:
    input:
        transferred="results/ddib/color/{experiment}/transferred.safetensors",
        source=lookup("ddib/color/{experiment}/data", within=FILES["translate"]),
        target=lookup("ddib/color/{experiment}/truth", within=FILES["evaluate"]),
    output:
        metrics="results/ddib/color/{experiment}/transfer.json",
        figure=report(
            "results/ddib/color/{experiment}/figures/transfer.png",
            caption="../report/ddib/color.rst",
            category="DDIB, colours",
        ),
    log:
        "results/ddib/color/{experiment}/logs/evaluate.log",
    message:
        "Measuring and drawing the colour transfer {wildcards.experiment}"
    shell:
        "bridgepipe stage evaluate-color --transferred {input.transferred}"
        " --source-pixels {input.source} --target-pixels {input.target}"
        " --metrics {output.metrics} --figure {output.figure} --title {wildcards.experiment} > {log} 2>&1"


rule color_picture:
    input:
        transferred="results/ddib/color/{experiment}/transferred.safetensors",
        source=lookup("ddib/color/{experiment}/data", within=FILES["translate"]),
        target=lookup("ddib/color/{experiment}/truth", within=FILES["evaluate"]),
    output:
        "results/ddib/color/{experiment}/{picture}.png",
    log:
        "results/ddib/color/{experiment}/logs/{picture}.log",
    wildcard_constraints:
        picture=one_of(P.outcomes.pictures()),
    message:
        "Picture of {wildcards.experiment}: {wildcards.picture}"
    shell:
        "bridgepipe stage color-picture --transferred {input.transferred}"
        " --source-pixels {input.source} --target-pixels {input.target} --output {output} > {log} 2>&1"
