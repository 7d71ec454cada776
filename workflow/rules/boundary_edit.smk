# BoundaryDiffusion: edits across a boundary, what flips and what is preserved, and the pictures.


rule boundary_strips:
    input:
        [f"results/boundary/{{experiment}}/{space}.safetensors" for space in ("z", "h")],
        [f"results/boundary/{{experiment}}/latents/test-{space}.lmdb" for space in ("z", "h")],
        unpack(lookup("boundary/{experiment}", within=FILES["edit"])),
    output:
        edited="results/boundary/{experiment}/edited.lmdb",
        control="results/boundary/{experiment}/control.lmdb",
        plain="results/boundary/{experiment}/plain.lmdb",
    log:
        "results/boundary/{experiment}/logs/strips.log",
    threads: P.runtime.threads
    resources:
        **network(8000, takes(480, "boundary/{experiment}", "strips")),
    message:
        "Edits across the boundary of {wildcards.experiment}"
    shell:
        "bridgepipe stage boundary strips {params.options} --boundary results/boundary/{wildcards.experiment}"
        " --latents results/boundary/{wildcards.experiment}/latents > {log} 2>&1"


rule boundary_judge:
    input:
        unpack(lookup("boundary/{experiment}", within=FILES["judge"])),
    output:
        "results/boundary/{experiment}/judge.safetensors",
    log:
        "results/boundary/{experiment}/logs/judge.log",
    threads: P.runtime.threads
    resources:
        mem_mb=grows(8000),
        runtime=grows(120),
    message:
        "Training a classifier of the attribute of {wildcards.experiment}"
    shell:
        "bridgepipe stage boundary judge {params.options} --output {output} > {log} 2>&1"


rule boundary_evaluate:
    input:
        lambda w: P.sources.start_files(f"boundary/{w.experiment}"),
        unpack(lookup("boundary/{experiment}", within=FILES["evaluate"])),
    output:
        output="results/boundary/{experiment}/edit.json",
        csv="results/boundary/{experiment}/edit.csv",
    log:
        "results/boundary/{experiment}/logs/evaluate.log",
    resources:
        **network(8000, takes(120, "boundary/{experiment}", "features")),
    message:
        "What the edits of {wildcards.experiment} flip and preserve"
    shell:
        "bridgepipe stage boundary evaluate {params.options} > {log} 2>&1"
