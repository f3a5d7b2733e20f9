"""What several panels have to say of their numbers (docs/agent.md, docs/metrics.md)."""

ONCE = (
    "Each byte counts once: by the client's end, or by the end in the cluster where the client is"
    " outside of it. What a client on a node without an agent does is missing."
)
OWN_END = "Measured at this workload's own end, as client and as server."
PAYLOAD = "Payload: what TCP's peer acknowledged, what datagrams carry; no headers, no repetitions."
RETRANSMITS = (
    "TCP segments sent again, of data segments sent. The sender's own count (the kernel's"
    " RetransSegs): a segment that was late counts like one that was lost, and SYN-ACKs of"
    " handshakes never completed belong to no socket."
)
TIMEOUTS = (
    "Retransmission timeouts that fired (TCPTimeouts): nothing was acknowledged for that long,"
    " usually 200 ms or more. Those of SYN-ACKs are not counted; connections older than the agent"
    " have none."
)
RTT = (
    "Round trips as TCP measured them, from histograms with two buckets for each power of two; so a"
    " percentile is exact to its bucket. Before Linux 6.10 they are the smoothed estimate. UDP has"
    " none."
)
CONNECTS = (
    "Attempts to connect that did not succeed, by the client's end. Without the kernel's type"
    " information (BTF) every reason is `other`."
)
CONNECT_TIME = (
    "From the first SYN to the established connection, a repeated SYN included. By the client's"
    " end."
)
DROPS = (
    "Packets that the node's kernel dropped, each counted in the row of the end that it was for."
    " Needs Linux 5.17 with BTF: without, there is nothing. A device's own drops are not among"
    " them."
)
SAMPLES = (
    "From the agent's own counters, which it sends every interval unless it was started with"
    " --no-samples."
)
SERVER = (
    "From the server's own /metrics. It is here only if a Prometheus scrapes Weir and writes to it"
    " (job `weir`); docs/grafana.md tells how."
)
