# Parts of one stage, computed by several jobs, become one file.


rule gather:
    input:
        parts=expand(
            "results/{{name}}/parts/{{kind}}-{part}-of-{parts}.lmdb",
            part=range(P.runtime.partitions),
            parts=P.runtime.partitions,
        ),
    output:
        "results/{name}/{kind}.lmdb",
    log:
        "results/{name}/logs/gather-{kind}.log",
    wildcard_constraints:
        kind="restored|corrupted|samples|translated|latents|states|back",
    message:
        "Joining the {wildcards.kind} of {wildcards.name}"
    shell:
        "bridgepipe stage gather {input.parts} --output {output} > {log} 2>&1"
