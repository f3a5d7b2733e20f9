"""Reads a table as other engines do. Arguments: table folder, its Parquet files.

Prints for each engine: rows, sum of n, sum over the lists of buckets, rows without a namespace,
rows of workload 'web', smallest and largest time in microseconds.
"""

import sys

import deltalake
import duckdb
import polars as pl
import pyarrow.compute as pc

table, files = sys.argv[1], sys.argv[2:]


def show(engine, *values):
    print(engine, *(int(v) for v in values))


for engine, frame in (
    ("polars", pl.scan_delta(table)),
    ("polars-parquet", pl.scan_parquet(files)),
):
    schema = frame.collect_schema()
    assert schema["workload"] == pl.String, schema
    assert schema["end"] == pl.Datetime("us", "UTC"), schema
    row = frame.select(
        pl.len().alias("rows"),
        pl.col("n").sum(),
        pl.col("buckets").list.sum().sum().alias("buckets"),
        pl.col("namespace").is_null().sum().alias("nulls"),
        (pl.col("workload") == "web").sum().alias("web"),
        pl.col("end").min().dt.timestamp("us").alias("min"),
        pl.col("end").max().dt.timestamp("us").alias("max"),
    ).collect()
    show(engine, *row.row(0))

delta = deltalake.DeltaTable(table)
arrow = deltalake.QueryBuilder().register("t", delta).execute(
    "select count(*), sum(n), sum(b), count(*) - count(namespace),"
    " sum(case when workload = 'web' then 1 else 0 end),"
    " min(cast(\"end\" as bigint)), max(cast(\"end\" as bigint))"
    " from (select *, array_element(buckets, 1) + array_element(buckets, 2) as b from t)"
) if hasattr(deltalake, "QueryBuilder") else None
if arrow is not None:
    rows = arrow.read_all() if hasattr(arrow, "read_all") else arrow
    show("deltalake", *(c[0].as_py() for c in rows.columns))

# Rows by partition, as the commit's own record has it: pruned without opening a file.
day = pl.scan_delta(table).filter(pl.col("date") == pl.col("end").dt.date())
print("dates", day.select(pl.len()).collect().item())

query = """
    select count(*), sum(n), sum(list_sum(buckets)), count(*) - count(namespace),
           count(*) filter (workload = 'web'), epoch_us(min("end")), epoch_us(max("end"))
    from read_parquet(?, hive_partitioning = true)
"""
show("duckdb", *duckdb.execute(query, [files]).fetchone())
pruned = duckdb.execute(
    "select count(*) from read_parquet(?, hive_partitioning = true) where date = date '2026-11-22'",
    [files],
).fetchone()[0]
print("duckdb-date", pruned)
