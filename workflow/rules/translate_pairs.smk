# Pairs of classes that one experiment names: one job translates them all, each part with the networks loaded once.
# What follows is of every pair alone, as an experiment of its own.

from bridgepipe.runtime import cluster


def each(option, files):
    """An option for every file."""
    return " ".join(f"--{option} {file}" for file in files)


def part_of(experiments, kind):
    """A part of what each of several experiments makes."""
    return [f"results/{name}/parts/{kind}-{{part}}-of-{{parts}}.lmdb" for name in experiments]


for group, pairs in P.resolved.groups.items():

    rule:
        name:
            cluster.rule_of_pairs(group)
        input:
            **lookup(pairs[0], within=FILES["sample"]),
            configs=[f"results/{pair}/config/sample.json" for pair in pairs],
        output:
            translated=temp(part_of(pairs, "translated")),
            latents=temp(part_of(pairs, "latents")),
            states=temp(part_of(pairs, "states")),
        log:
            f"results/{group}/logs/translate-{{part}}-of-{{parts}}.log",
        resources:
            **network(6000, takes(240, pairs, "sample")),
        params:
            models=models_of(pairs[0]),
            configs=lambda w, input: each("config", input.configs),
            made=lambda w, output: " ".join(each(kind, files) for kind, files in output.items()),
        message:
            f"Translating the pairs of {group}, part {{wildcards.part}} of {{wildcards.parts}}"
        shell:
            "bridgepipe stage translate-classes {params.configs} {params.models} --data {input.data}"
            " --part {wildcards.part} --parts {wildcards.parts} {params.made} > {log} 2>&1"
