# BoundaryDiffusion: the mixing step of a model, latents of images there, and the plane between them.


rule boundary_mixing:
    input:
        unpack(lookup("boundary/{experiment}", within=FILES["mixing"])),
    output:
        output="results/boundary/{experiment}/mixing.json",
        csv="results/boundary/{experiment}/mixing.csv",
        figure=drawn("results/boundary/{experiment}/figures/mixing.png", "boundary-mixing", "Boundaries"),
    log:
        "results/boundary/{experiment}/logs/mixing.log",
    threads: P.runtime.threads
    resources:
        **network(16000, takes(240, "boundary/{experiment}", "mixing")),
    params:
        folds=lambda w: P.experiment(f"boundary/{w.experiment}").mixing.folds,
    message:
        "Mixing step of {wildcards.experiment}"
    shell:
        "bridgepipe stage boundary mixing {params.options} --title {wildcards.experiment} > {log} 2>&1"


rule boundary_latents:
    input:
        unpack(lookup("boundary/{experiment}", within=FILES["latents"])),
    output:
        [
            f"results/boundary/{{experiment}}/latents/{of}.lmdb"
            for of in ("train-z", "train-h", "test-z", "test-h")
        ],
    log:
        "results/boundary/{experiment}/logs/latents.log",
    threads: P.runtime.threads
    resources:
        **network(8000, takes(480, "boundary/{experiment}", "latents")),
    message:
        "Latents of {wildcards.experiment}"
    shell:
        "bridgepipe stage boundary latents {params.options} --output results/boundary/{wildcards.experiment}/latents > {log} 2>&1"


rule boundary_search:
    input:
        config="results/boundary/{experiment}/config/search.json",
        latents=rules.boundary_latents.output,
    output:
        z="results/boundary/{experiment}/z.safetensors",
        h="results/boundary/{experiment}/h.safetensors",
        cards=[f"results/boundary/{{experiment}}/{space}.json" for space in ("z", "h")],
        accuracy="results/boundary/{experiment}/accuracy.json",
    log:
        "results/boundary/{experiment}/logs/search.log",
    threads: P.runtime.threads
    resources:
        mem_mb=grows(16000),
        runtime=grows(120),
    message:
        "Searching the boundary of {wildcards.experiment}"
    shell:
        "bridgepipe stage boundary search --config {input.config} --latents results/boundary/{wildcards.experiment}/latents"
        " --output results/boundary/{wildcards.experiment} --accuracy {output.accuracy} > {log} 2>&1"
