"""A folder of any length through a model by Spark: spark-submit spark_translate.py RUN FOLDER OUT [PARTITIONS]

Each row is the number of a part of the folder, and what comes back are lines, so that no picture travels. All machines see
RUN, FOLDER and OUT under the same paths. A task that is lost is tried again by Spark, and the same command again does what
is missing: `translate` notes what it has made.
"""

import sys
from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession

from diptych import translate


def main(run: str, folder: str, out: str, partitions: int = 8) -> None:
    def part(frames: Iterator[Any]) -> Iterator[Any]:
        """A row for each picture that was skipped."""
        import pandas

        for frame in frames:
            for number in frame["id"]:
                problems = translate(run, folder, out=out, shard=f"{number}/{partitions}", skip_existing=True)
                yield pandas.DataFrame({"part": number, "skipped": problems})

    spark = SparkSession.builder.appName("diptych translate").getOrCreate()
    parts = spark.range(0, partitions, numPartitions=partitions)
    for row in parts.mapInPandas(part, "part long, skipped string").toLocalIterator():
        print(f"part {row.part} skipped: {row.skipped}")
    spark.stop()


if __name__ == "__main__":
    run, folder, out, *more = sys.argv[1:]
    main(run, folder, out, *map(int, more[:1]))
