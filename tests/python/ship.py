"""Ships one batch of flows to a server: ship.py URL SEQUENCE ROWS"""
import sys, time, urllib.request
import pyarrow as pa
url, sequence, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
us = pa.timestamp("us", "UTC")
end = time.time_ns() // 1000
columns = {"start": pa.array([end - 10**7] * n, us), "end": pa.array([end] * n, us), "tx_bytes": pa.array([1000] * n)}
columns |= {k: pa.array([v] * n) for k, v in [("node", "py"), ("workload", "ship.py"), ("protocol", "tcp"), ("role", "client")]}
batch = pa.record_batch(columns)
schema = batch.schema.with_metadata({"weir.version": "1", "weir.agent": "py", "weir.boot": "1", "weir.sequence": sequence})
sink = pa.BufferOutputStream()
with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
    writer.write_batch(batch)
print(urllib.request.urlopen(url + "/v1/flows", sink.getvalue().to_pybytes()).read().decode())
