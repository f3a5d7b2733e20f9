"""Asks URL with prometheus-api-client about flows of the minute that ends at NOW (seconds); prints what it sees."""
import json, sys
from datetime import datetime, timedelta, timezone
from prometheus_api_client import PrometheusConnect
url, now = sys.argv[1], float(sys.argv[2])
client = PrometheusConnect(url=url, disable_ssl=True)
end = datetime.fromtimestamp(now, timezone.utc)
metric = "flow_tx_bytes_total"
increase = client.custom_query(f"sum by (workload) (increase({metric}[1m]))", params={"time": now})
rates = client.custom_query_range(
    f'sum(rate({metric}{{workload="nginx"}}[10s]))', start_time=end - timedelta(seconds=30), end_time=end, step="10"
)
print(json.dumps({
    "has_metric": metric in client.all_metrics(),
    "workloads": sorted(client.get_label_values("workload")),
    "increase": {one["metric"]["workload"]: float(one["value"][1]) for one in increase},
    "rates": [float(value) for _, value in rates[0]["values"]][-4:],
    "current": len(client.get_current_metric_value(metric)),
}))
