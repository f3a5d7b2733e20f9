"""Reads a table in a bucket with two other engines and prints rows and bytes as each sees them."""
import json, os, sys
import deltalake, polars
table, endpoint = sys.argv[1:3]
options = {
    "AWS_ENDPOINT_URL": endpoint,
    "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
    "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}
arrow = deltalake.DeltaTable(table, storage_options=options).to_pyarrow_table(columns=["tx_bytes"])
lazy = polars.scan_delta(table, storage_options=options)
row = lazy.select(polars.len(), polars.col("tx_bytes").sum()).collect().row(0)
print(json.dumps({
    "deltalake": [arrow.num_rows, sum(arrow["tx_bytes"].to_pylist())],
    "polars": [int(v) for v in row],
}))
