"""Reads DATA/tables/flows with three other engines and prints rows and bytes as each sees them."""
import json, sys
import deltalake, duckdb, polars
table = sys.argv[1] + "/tables/flows"
delta = deltalake.DeltaTable(table)
arrow = delta.to_pyarrow_table(columns=["tx_bytes"])
lazy = polars.scan_delta(table).select(polars.len(), polars.col("tx_bytes").sum()).collect()
files = [table + "/" + f for f in delta.get_add_actions(flatten=True)["path"].to_pylist()] if not hasattr(delta, "file_uris") else delta.file_uris()
duck = duckdb.execute("SELECT count(*), sum(tx_bytes) FROM read_parquet(?)", [files]).fetchone()
print(json.dumps({
    "deltalake": [arrow.num_rows, sum(arrow["tx_bytes"].to_pylist())],
    "polars": [int(v) for v in lazy.row(0)],
    "duckdb": [int(v) for v in duck],
}))
