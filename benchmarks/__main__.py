"""`python -m benchmarks [NAME ...]`: every benchmark, or some. Ratios above 1 mean that bridgepipe is faster.

All of them together write `benchmarks/results.json` and `.md`, and tell what has moved since the last commit.
"""

from __future__ import annotations

import os
import sys

import bridgepipe.cli  # noqa: F401  sets what PyTorch reads when it is imported
from benchmarks import boundary, data, distances, networks, planning, preparing, record, report, starting
from benchmarks.measure import Result
from bridgepipe.evaluation.tables import markdown, table

BENCHMARKS = (
    planning.dry_run_against_empty_snakefile,
    planning.dry_run_of_more_experiments_against_bare_rules,
    starting.stages_against_their_libraries,
    data.store_against_png_folder,
    data.loading_against_published,
    data.loading_against_conversion,
    data.checked_reading_against_unchecked,
    preparing.folder_against_pillow,
    preparing.draft_against_pillow,
    preparing.all_cores_against_one,
    data.jpeg_against_pillow,
    data.blur_against_image_loop,
    networks.attention_against_matrices,
    networks.channels_last_against_contiguous,
    networks.bf16_against_fp32,
    networks.against_published,
    distances.frechet_against_square_root,
    boundary.gram_against_svc,
    *([report.report_of_many_experiments_against_one] if report.here() else []),
)


def main(names: list[str]) -> None:
    if unknown := set(names) - {benchmark.__name__ for benchmark in BENCHMARKS}:
        listed = " ".join(benchmark.__name__ for benchmark in BENCHMARKS)
        sys.exit(f"no benchmark {' '.join(unknown)}: take some of {listed}")
    on, results = record.machine(), list[Result]()
    for benchmark in BENCHMARKS:
        if names and benchmark.__name__ not in names:
            continue
        print(f"{benchmark.__name__} …", file=sys.stderr, flush=True)
        found = benchmark()
        results += [found] if isinstance(found, Result) else list(found)
    if names:
        print(markdown(table([result.row() for result in results])))
        return
    before = record.committed()
    print(record.write(results, {**on, "load after": round(os.getloadavg()[0], 1)}))
    if before is not None:
        print("moved by more than 10 %:", *(record.moved(before, results) or ["nothing"]), sep="\n  ")


main(sys.argv[1:])
