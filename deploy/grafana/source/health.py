"""Whether what is shown elsewhere is all there is."""

from . import words
from .panels import RED, YELLOW, board, chart, stat, table, target, variable

NODE = 'node=~"$node"'
# Rows that were measured and are lost for good; the other reasons say what was not measured.
GONE = 'reason="spool_rows"'
# Not a loss of what was there: others stand for it, or its sum is kept.
KEPT = "sampled_out_sockets|folded_flows"
WHOLE = (
    "Rows that agents made and did not lose, of those they made. What the agent could not measure"
    " has no rows and is not in it: see the losses by reason. Rows that wait in a spool come late"
    " and are not lost. "
    + words.SAMPLES
)


def agents(metric, match, by, window="[$__rate_interval]", function="increase"):
    by = f" by ({by})" if by else ""
    return f"sum{by} ({function}({metric}{{{match}}}{window}))"


def complete(by, window):
    gone = agents("weir_agent_losses_total", f"{NODE}, {GONE}", by, window)
    made = agents("weir_agent_rows_total", NODE, by, window)
    return f"1 - {gone} / ({made} > 0)"


def rows():
    steps = [(0.99, YELLOW), (0.999, "green")]
    whole = stat("Complete", WHOLE, "percentunit", complete("", "[$__range]"), steps)
    whole["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] = RED
    silent = (
        "count(sum by (cluster, node) (rate(flow_tx_bytes_total[1h])) "
        "unless sum by (cluster, node) (rate(flow_tx_bytes_total[5m])))"
    )
    yield (
        "Now",
        4,
        [
            (6, whole),
            (
                6,
                stat(
                    "Nodes reporting",
                    "Nodes whose rows arrived within five minutes.",
                    "short",
                    "count(sum by (cluster, node) (rate(flow_tx_bytes_total[5m])))",
                    none="0",
                ),
            ),
            (
                6,
                stat(
                    "Nodes silent",
                    "Nodes that reported within the hour, and not within five minutes: gone, or not"
                    " heard. Late rows of a spool end it.",
                    "short",
                    silent,
                    [(1, RED)],
                    none="0",
                ),
            ),
            (
                6,
                stat(
                    "Agents without BPF",
                    "Agents that poll sock_diag: TCP alone, and no connection shorter than a"
                    " second.",
                    "short",
                    f'count(weir_agent_source_info{{{NODE}, source="sock_diag"}})',
                    [(1, YELLOW)],
                    none="0",
                ),
            ),
        ],
    )
    age = f"time() - max by (cluster, node) (timestamp(weir_agent_intervals_total{{{NODE}}}))"
    lost = (
        f"topk(20, sum by (node, reason) (increase(weir_agent_losses_total{{{NODE}}}[$__range]))"
        " > 0)"
    )
    yield (
        "Agents",
        8,
        [
            (
                12,
                chart(
                    "Complete",
                    WHOLE,
                    "percentunit",
                    [target(complete("node", "[$__rate_interval]"), "{{node}}")],
                ),
            ),
            (
                12,
                chart(
                    "Not seen or not delivered",
                    "By reason, each in its own unit (docs/agent.md), without what is sampled or"
                    f" folded. {words.SAMPLES}",
                    "short",
                    [
                        target(
                            agents(
                                "weir_agent_losses_total", f'{NODE}, reason!~"{KEPT}"', "reason"
                            ),
                            "{{reason}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Sampled and folded",
                    "Sockets that others stand for while the map of sockets is full, and flows that"
                    " are part of their workload's row `other`. Sums are right; single flows are"
                    " missing.",
                    "short",
                    [
                        target(
                            agents(
                                "weir_agent_losses_total",
                                f'{NODE}, reason=~"{KEPT}"',
                                "node, reason",
                            ),
                            "{{node}} {{reason}}",
                        )
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Batches that wait",
                    "In the agents' spools. A spool that fills up drops the oldest."
                    f" {words.SAMPLES}",
                    "short",
                    [target(f"sum by (node) (weir_agent_spool_batches{{{NODE}}})", "{{node}}")],
                ),
            ),
            (
                12,
                chart(
                    "Rows a second",
                    f"Flow rows that agents make. {words.SAMPLES}",
                    "short",
                    [
                        target(
                            agents("weir_agent_rows_total", NODE, "node", function="rate"),
                            "{{node}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Sets of samples that failed",
                    "Sets of the agents' own counters that the server did not take; they are not"
                    " repeated, so those charts have a gap.",
                    "short",
                    [target(agents("weir_agent_samples_failed_total", NODE, "node"), "{{node}}")],
                ),
            ),
            (
                12,
                table(
                    "Last heard",
                    "Seconds since the last sample of each agent that was heard of in the last five"
                    " minutes.",
                    [
                        ("Age", "s", age),
                        (
                            "Waiting batches",
                            "short",
                            f"max by (cluster, node) (weir_agent_spool_batches{{{NODE}}})",
                        ),
                    ],
                    {"Age": [(60, YELLOW), (180, RED)]},
                ),
            ),
            (
                12,
                table(
                    "Losses by node",
                    f"In the time that is shown, each in its reason's own unit. {words.SAMPLES}",
                    [("Count", "short", lost)],
                ),
            ),
        ],
    )
    own = 'job="weir"'
    size = "sum by (table) (weir_table_%s{%s})"
    yield (
        "Server",
        8,
        [
            (
                12,
                chart(
                    "Taken in",
                    "Flow rows a second that were stored, and batches refused and repeated."
                    f" {words.SERVER}",
                    "short",
                    [
                        target(
                            f"sum(rate(weir_ingest_rows_total{{{own}}}[$__rate_interval]))", "rows"
                        ),
                        target(
                            f"sum(rate(weir_ingest_refused_batches_total{{{own}}}[$__rate_interval]))",
                            "batches refused",
                        ),
                        target(
                            f"sum(rate(weir_ingest_repeated_batches_total{{{own}}}[$__rate_interval]))",
                            "batches repeated",
                        ),
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Storage by tier",
                    f"Bytes of files, by table. {words.SERVER}",
                    "bytes",
                    [target(size % ("bytes", own), "{{table}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Files",
                    f"Files by table; compaction keeps them few. {words.SERVER}",
                    "short",
                    [target(size % ("files", own), "{{table}}")],
                ),
            ),
            (
                12,
                chart(
                    "Not in files yet",
                    "Bytes of the log that commits do not cover, and of rows in memory."
                    f" {words.SERVER}",
                    "bytes",
                    [
                        target(f"sum(weir_wal_bytes{{{own}}})", "log"),
                        target(f"sum(weir_memtable_bytes{{{own}}})", "memory"),
                    ],
                ),
            ),
        ],
    )


def dashboard():
    return board(
        "health",
        "Measurement health",
        "Agents that report, what they could not see or deliver, and the server's storage.",
        [variable("node", "Node", "label_values(weir_agent_intervals_total, node)")],
        list(rows()),
    )
