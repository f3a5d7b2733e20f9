"""The whole cluster at a glance."""

from . import words
from .panels import RED, YELLOW, board, chart, choice, link, stat, table, target, variable
from .promql import labels, once, over_range, quantile, rate, ratio, total

MATCH = 'namespace=~"$namespace"'
SELECTOR = labels(MATCH)
BYTES = ["flow_tx_bytes_total", "flow_rx_bytes_total"]
PAIR = "namespace, workload, peer_namespace, peer_workload"
TO_EDGE = link(
    "edge",
    "This pair",
    namespace="${__data.fields.namespace}",
    workload="${__data.fields.workload}",
    peer_namespace="${__data.fields.peer_namespace}",
    peer_workload="${__data.fields.peer_workload}",
)
TO_WORKLOAD = link(
    "workload",
    "This workload",
    namespace="${__data.fields.namespace}",
    workload="${__data.fields.workload}",
)


def rtt(q, by=""):
    return quantile(q, "flow_rtt_seconds_bucket", SELECTOR, by)


def retransmit_ratio(function):
    make = total if function == "total" else (lambda m, s, by: rate(m, s, by))
    return ratio(
        make("flow_retransmits_total", SELECTOR, ""), make("flow_tx_packets_total", SELECTOR, "")
    )


def rows():
    p95 = total("flow_rtt_seconds_bucket", SELECTOR, "le")
    yield (
        "In this time",
        4,
        [
            (
                4,
                stat(
                    "Traffic",
                    f"Bytes in both directions. {words.PAYLOAD} {words.ONCE}",
                    "decbytes",
                    over_range(once(BYTES, MATCH, "", "increase")),
                ),
            ),
            (
                4,
                stat(
                    "Retransmitted",
                    words.RETRANSMITS,
                    "percentunit",
                    retransmit_ratio("total"),
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
                    "short",
                    total("flow_connect_failures_total", SELECTOR, ""),
                ),
            ),
            (4, stat("RTT p95", words.RTT, "s", f"histogram_quantile(0.95, {p95})")),
            (
                4,
                stat(
                    "Nodes reporting",
                    "Nodes whose rows arrived in the last five minutes of this time. A node that is"
                    " gone and one that is silent look the same here: see Measurement health.",
                    "short",
                    "count(sum by (cluster, node) (rate(flow_tx_bytes_total[5m])))",
                    none="0",
                ),
            ),
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
                    "Bytes a second in both directions, and the same so long ago as chosen above. "
                    f"{words.PAYLOAD} {words.ONCE}",
                    "Bps",
                    [
                        target(once(BYTES, MATCH, ""), "now"),
                        target(once(BYTES, MATCH, "", offset=" offset $before"), "$before before"),
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Traffic by the client's namespace",
                    f"Bytes a second in both directions. {words.ONCE}",
                    "Bps",
                    [target(f'topk(10, {once(BYTES, MATCH, "namespace")})', "{{namespace}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Retransmitted",
                    words.RETRANSMITS,
                    "percentunit",
                    [target(retransmit_ratio("rate"), "retransmitted")],
                    [(0.01, YELLOW), (0.03, RED)],
                ),
            ),
            (
                12,
                chart(
                    "RTT",
                    words.RTT,
                    "s",
                    [target(rtt(q), f"p{int(q * 100)}") for q in (0.5, 0.95, 0.99)],
                ),
            ),
            (
                12,
                chart(
                    "Timeouts",
                    f"{words.TIMEOUTS} By phase: `syn` is the handshake, `closing` after the local"
                    " end's FIN.",
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
                    "Failed connects",
                    words.CONNECTS,
                    "short",
                    [
                        target(
                            rate(
                                "flow_connect_failures_total",
                                SELECTOR,
                                "reason",
                                function="increase",
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
                    "Drops",
                    words.DROPS,
                    "pps",
                    [
                        target(
                            f'topk(10, {rate("flow_drops_total", SELECTOR, "namespace, workload")}'
                            " > 0)",
                            "{{namespace}}/{{workload}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Resets",
                    "Connections that ended otherwise than by an exchange of FINs, by whose reset"
                    " it was; `other` is retransmission given up, or not known (without BTF all"
                    " are).",
                    "short",
                    [
                        target(
                            rate("flow_resets_total", SELECTOR, "side", function="increase"),
                            "{{side}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
        ],
    )
    match = labels(MATCH, 'role!="server"')
    yield (
        "Who",
        10,
        [
            (
                12,
                table(
                    "Most traffic",
                    "Pairs with the most bytes in both directions, by the client's end; an empty"
                    f" peer is outside of the cluster. {words.PAYLOAD}",
                    [
                        (
                            "Bytes",
                            "decbytes",
                            (
                                f"topk(20, {total('flow_tx_bytes_total', match, PAIR)} + "
                                f"{total('flow_rx_bytes_total', match, PAIR)})"
                            ),
                        )
                    ],
                    links=[TO_EDGE, TO_WORKLOAD],
                ),
            ),
            (
                12,
                table(
                    "Most retransmits",
                    "Who sends again what it sends to whom, at least 100 packets."
                    f" {words.RETRANSMITS}",
                    [
                        (
                            "Retransmitted",
                            "percentunit",
                            "topk(20, "
                            + total("flow_retransmits_total", SELECTOR, PAIR)
                            + " / ("
                            + total("flow_tx_packets_total", SELECTOR, PAIR)
                            + " >= 100) > 0)",
                        )
                    ],
                    {"Retransmitted": [(0.01, YELLOW), (0.03, RED)]},
                    [TO_EDGE, TO_WORKLOAD],
                ),
            ),
            (
                12,
                table(
                    "Most timeouts",
                    words.TIMEOUTS,
                    [
                        (
                            "Timeouts",
                            "short",
                            f"topk(20, {total('flow_timeouts_total', SELECTOR, PAIR)} > 0)",
                        )
                    ],
                    links=[TO_EDGE, TO_WORKLOAD],
                ),
            ),
            (
                12,
                table(
                    "Most failed connects",
                    words.CONNECTS,
                    [
                        (
                            "Failed",
                            "short",
                            f"topk(20, {total('flow_connect_failures_total', SELECTOR, PAIR)} > 0)",
                        )
                    ],
                    links=[TO_EDGE, TO_WORKLOAD],
                ),
            ),
        ],
    )


def variables():
    return [
        variable(
            "namespace",
            "Namespace",
            "label_values(flow_tx_bytes_total, namespace)",
            description="Namespace of the local end.",
        ),
        choice("before", "Compare with", ["1d", "1h", "1w"], "How long before the overlay was."),
    ]


def dashboard():
    return board(
        "overview",
        "Overview",
        "Traffic, retransmits, timeouts, failed connects and round trips of the whole cluster.",
        variables(),
        list(rows()),
    )
