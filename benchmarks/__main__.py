"""`python -m benchmarks`: every benchmark, as a table. Ratios above 1 mean that bridgepipe is faster."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import boundary, data, distances, networks, planning, report
from benchmarks.measure import Result
from bridgepipe.evaluation.tables import table, write_table

BENCHMARKS = (
    planning.dry_run_against_empty_snakefile,
    data.store_against_png_folder,
    data.checked_reading_against_unchecked,
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


def main() -> None:
    rows: list[Result] = []
    for benchmark in BENCHMARKS:
        print(f"{benchmark.__name__} …", file=sys.stderr, flush=True)
        found = benchmark()
        rows += [found] if isinstance(found, Result) else list(found)
    frame = table([row.row() for row in rows])
    write_table("results/benchmarks.csv", "results/benchmarks.md", frame)
    print(Path("results/benchmarks.md").read_text(encoding="utf8"))


main()
