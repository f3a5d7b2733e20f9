"""One workload, or some: what it does to whom."""

from . import words
from .panels import RED, YELLOW, board, chart, link, stat, table, target, variable
from .promql import labels, quantile, rate, ratio, total

MATCH = 'namespace=~"$namespace", workload=~"$workload"'
SELECTOR = labels(MATCH)
WHO = "namespace, workload"
PEER = "namespace, workload, peer_namespace, peer_workload, role"
TO_EDGE = link(
    "edge",
    "This pair",
    namespace="${__data.fields.namespace}",
    workload="${__data.fields.workload}",
    peer_namespace="${__data.fields.peer_namespace}",
    peer_workload="${__data.fields.peer_workload}",
)


def rows():
    sent, received = (total(f"flow_{d}_bytes_total", SELECTOR, "") for d in ("tx", "rx"))
    again = total("flow_retransmits_total", SELECTOR, "")
    packets = total("flow_tx_packets_total", SELECTOR, "")
    p95 = total("flow_rtt_seconds_bucket", SELECTOR, "le")
    yield (
        "In this time",
        4,
        [
            (4, stat("Sent", f"{words.PAYLOAD} {words.OWN_END}", "decbytes", sent)),
            (4, stat("Received", f"{words.PAYLOAD} {words.OWN_END}", "decbytes", received)),
            (
                4,
                stat(
                    "Retransmitted",
                    words.RETRANSMITS,
                    "percentunit",
                    ratio(again, packets),
                    [(0.01, YELLOW), (0.03, RED)],
                ),
            ),
            (
                4,
                stat(
                    "Timeouts", words.TIMEOUTS, "short", total("flow_timeouts_total", SELECTOR, "")
                ),
            ),
            (
                4,
                stat(
                    "Failed connects",
                    words.CONNECTS,
                    "percentunit",
                    ratio(
                        total("flow_connect_failures_total", SELECTOR, ""),
                        total("flow_connects_total", SELECTOR, ""),
                    ),
                    [(0.01, YELLOW), (0.05, RED)],
                ),
            ),
            (4, stat("RTT p95", words.RTT, "s", f"histogram_quantile(0.95, {p95})")),
        ],
    )
    yield (
        "Over time",
        8,
        [
            (
                12,
                chart(
                    "Traffic",
                    f"Bytes a second sent (above) and received (below). {words.PAYLOAD}"
                    f" {words.OWN_END}",
                    "Bps",
                    [
                        target(
                            f'topk(10, {rate("flow_tx_bytes_total", SELECTOR, WHO)})',
                            "{{namespace}}/{{workload}} sent",
                        ),
                        target(
                            f'-topk(10, {rate("flow_rx_bytes_total", SELECTOR, WHO)})',
                            "{{namespace}}/{{workload}} received",
                        ),
                    ],
                    centred=True,
                ),
            ),
            (
                12,
                chart(
                    "Retransmitted",
                    words.RETRANSMITS,
                    "percentunit",
                    [
                        target(
                            "topk(10, "
                            + rate("flow_retransmits_total", SELECTOR, WHO)
                            + " / ("
                            + rate("flow_tx_packets_total", SELECTOR, WHO)
                            + " > 0))",
                            "{{namespace}}/{{workload}}",
                        )
                    ],
                    [(0.01, YELLOW), (0.03, RED)],
                ),
            ),
            (
                12,
                chart(
                    "RTT",
                    words.RTT,
                    "s",
                    [
                        target(quantile(q, "flow_rtt_seconds_bucket", SELECTOR), f"p{int(q * 100)}")
                        for q in (0.5, 0.95, 0.99)
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Time to connect",
                    words.CONNECT_TIME,
                    "s",
                    [
                        target(
                            quantile(q, "flow_connect_seconds_bucket", SELECTOR), f"p{int(q * 100)}"
                        )
                        for q in (0.5, 0.95, 0.99)
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Connections",
                    "Connections opened (as client), accepted (as server), and tried in vain, a"
                    " second. UDP has none.",
                    "cps",
                    [
                        target(rate("flow_connects_total", SELECTOR, ""), "opened"),
                        target(rate("flow_accepts_total", SELECTOR, ""), "accepted"),
                        target(
                            rate("flow_connect_failures_total", SELECTOR, "reason"),
                            "failed: {{reason}}",
                        ),
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Open connections",
                    "Connections that are established, the last that each node told within five"
                    " minutes. Read from the rows themselves: a time from which only the tiers are"
                    " kept has none.",
                    "short",
                    [
                        target(
                            f"sum by ({WHO}) (flow_active_connections{SELECTOR})",
                            "{{namespace}}/{{workload}}",
                        )
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Timeouts",
                    words.TIMEOUTS,
                    "short",
                    [
                        target(
                            rate("flow_timeouts_total", SELECTOR, "phase", function="increase"),
                            "{{phase}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Resets and drops",
                    f"Connections reset, by whose reset it was. Drops: {words.DROPS}",
                    "short",
                    [
                        target(
                            rate("flow_resets_total", SELECTOR, "side", function="increase"),
                            "reset: {{side}}",
                        ),
                        target(
                            rate("flow_drops_total", SELECTOR, "", function="increase"),
                            "dropped packets",
                        ),
                    ],
                ),
            ),
        ],
    )
    yield (
        "With whom",
        10,
        [
            (
                24,
                table(
                    "Peers",
                    "By role of this workload. An empty peer is outside of the cluster."
                    f" {words.OWN_END} {words.RETRANSMITS}",
                    [
                        (
                            "Bytes",
                            "decbytes",
                            (
                                f"topk(50, {total('flow_tx_bytes_total', SELECTOR, PEER)} +"
                                f" {total('flow_rx_bytes_total', SELECTOR, PEER)})"
                            ),
                        ),
                        (
                            "Retransmitted",
                            "percentunit",
                            (
                                f"{total('flow_retransmits_total', SELECTOR, PEER)} /"
                                f" ({total('flow_tx_packets_total', SELECTOR, PEER)} > 0)"
                            ),
                        ),
                        ("Timeouts", "short", total("flow_timeouts_total", SELECTOR, PEER)),
                        (
                            "RTT p95",
                            "s",
                            (
                                "histogram_quantile(0.95,"
                                f" {total('flow_rtt_seconds_bucket', SELECTOR, 'le, ' + PEER)})"
                            ),
                        ),
                    ],
                    {"Retransmitted": [(0.01, YELLOW), (0.03, RED)]},
                    [TO_EDGE],
                ),
            ),
            (
                12,
                table(
                    "Outside of the cluster",
                    "Cloud services and external peers, by what is known of their addresses. Names"
                    " are those that the workload asked DNS for; by TCP, TLS or HTTPS nobody sees"
                    " the question.",
                    [
                        (
                            "Bytes",
                            "decbytes",
                            "topk(20, "
                            + total(
                                "flow_tx_bytes_total",
                                labels(MATCH, 'peer_scope=~"cloud|external"'),
                                "peer_scope, peer_cloud_service, peer_region, peer_network,"
                                " peer_domain",
                            )
                            + " + "
                            + total(
                                "flow_rx_bytes_total",
                                labels(MATCH, 'peer_scope=~"cloud|external"'),
                                "peer_scope, peer_cloud_service, peer_region, peer_network,"
                                " peer_domain",
                            )
                            + ")",
                        )
                    ],
                ),
            ),
            (
                12,
                table(
                    "Pods",
                    "Uneven load between the pods. By pod, so read from the rows themselves.",
                    [
                        (
                            "Bytes",
                            "decbytes",
                            (
                                f"topk(50, {total('flow_tx_bytes_total', SELECTOR, 'pod, node')} +"
                                f" {total('flow_rx_bytes_total', SELECTOR, 'pod, node')})"
                            ),
                        ),
                        (
                            "Retransmitted",
                            "percentunit",
                            (
                                f"{total('flow_retransmits_total', SELECTOR, 'pod, node')} /"
                                f" ({total('flow_tx_packets_total', SELECTOR, 'pod, node')} > 0)"
                            ),
                        ),
                    ],
                    {"Retransmitted": [(0.01, YELLOW), (0.03, RED)]},
                ),
            ),
        ],
    )


def dashboard():
    return board(
        "workload",
        "Workload",
        "What a workload sends, receives and cannot, as measured at its own end.",
        [
            variable("namespace", "Namespace", "label_values(flow_tx_bytes_total, namespace)"),
            variable(
                "workload",
                "Workload",
                'label_values(flow_tx_bytes_total{namespace=~"$namespace"}, workload)',
            ),
        ],
        list(rows()),
    )
