# What many rules share: what their jobs ask of a machine. Where a rule says nothing, the profile's default holds.
import re


def one_of(names):
    """Pattern of a wildcard that matches exactly these names."""
    return "|".join(sorted(map(re.escape, names))) or "(?!)"


def grows(first):
    """A resource that a job gets more of every time that it is sent again."""
    return lambda wildcards, attempt: first * attempt


def takes(least, experiment, stage):
    """Minutes of a job that calls networks: at least so many, and more where it computes more."""
    return lambda wildcards, attempt: P.durations.minutes(
        least, experiment.format(**wildcards), stage, attempt
    )


def takes_statistics(least):
    """Minutes of a job that takes the features of a split."""
    return lambda wildcards, attempt: P.durations.statistics(
        least, wildcards.dataset, wildcards.split, attempt
    )


def network(memory, minutes):
    """Resources of a job that calls networks: megabytes of memory for each process, and minutes."""
    memory = grows(memory * P.runtime.processes)
    return {"gpu": P.gpus, "mem_mb": memory, "runtime": minutes}


def option(name):
    """Option with an input of that name, where an experiment has one."""
    return lambda wildcards, input: f"--{name} {input[name]}" if input[name] else ""


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
