# What many rules share: what their jobs ask of a machine. Where a rule says nothing, the profile's default holds.
# The benchmark of a job that makes something from files lies beside its log.
#
# `{params.options}` are the inputs and outputs that have a name, as options of the verb: data=FILE becomes --data FILE.
# For an input without a name a job only waits. `lookup("METHOD/NAME", within=FILES[STAGE])` is what a stage reads of
# others, as files() of the experiment's class says (src/bridgepipe/config), beside its own configuration.
from bridgepipe import config
from bridgepipe.photographs import shipped
from bridgepipe.workflow.resources import grows
from bridgepipe.workflow.wildcards import lookup, one_of

network, takes, takes_statistics = P.asks.network, P.asks.takes, P.asks.takes_statistics


def named(*methods):
    """Pattern of the experiments ``method/name`` of methods."""
    return one_of(name for method in methods for name in P.resolved.of(method))


def drawn(path, caption, category):
    """A figure or a table in the report, under a page of workflow/report."""
    return report(path, caption=f"../report/{caption}.rst", category=category)


def prepared_as(*stores):
    """Datasets that one job prepares as exactly these stores; as none: points."""
    together = ((name, dataset) for name, dataset in P.datasets.items() if not config.comes_apart(dataset))
    return one_of(name for name, dataset in together if config.stores_of(dataset) == stores)


def models_of(translation):
    """The models of a translation as options of its verbs."""
    return " ".join(f"--{option} {folder}" for option, folder in P.experiment(translation).folders.items())


def alone(method):
    """Names of the experiments of a method that no other is made together with."""
    together = {name for names in P.resolved.groups.values() for name in names}
    return [name.rsplit("/", 1)[1] for name in P.resolved.of(method) if name not in together]


def shape(wildcards):
    """Option with the size of square images, or the domain of points."""
    dataset = P.datasets[P.experiment(wildcards.name).dataset]
    if on_points(wildcards):  # of colours none are published
        return f"--domain {dataset.domain}"
    return f"--size {dataset.size}" if isinstance(getattr(dataset, "size", None), int) else ""


def on_points(wildcards):
    """Whether a network is of points. Two of them beside each other are twice as fast as one on two cores."""
    return config.is_points(P.datasets[P.experiment(wildcards.name).dataset])
