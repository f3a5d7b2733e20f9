"""One pair of workloads, client and server, measured at both ends."""

from . import words
from .panels import RED, YELLOW, board, chart, stat, table, target, variable
from .promql import labels, quantile, rate, ratio, total

CLIENT = labels(
    'namespace="$namespace"',
    'workload="$workload"',
    'peer_namespace="$peer_namespace"',
    'peer_workload="$peer_workload"',
    'role!="server"',
)
SERVER = labels(
    'namespace="$peer_namespace"',
    'workload="$peer_workload"',
    'peer_namespace="$namespace"',
    'peer_workload="$workload"',
    'role="server"',
)
BOTH = (("client", CLIENT), ("server", SERVER))
ENDS = (
    "The server's end is missing where its node has no agent, and where addresses are hidden on the"
    " way."
)


def lost(direction, make):
    """Packets that one end sent and the other did not get."""
    sent, got = (CLIENT, SERVER) if direction == "to the server" else (SERVER, CLIENT)
    return f'{make("flow_tx_packets_total", sent, "")} - {make("flow_rx_packets_total", got, "")}'


def again(selector, make):
    return ratio(
        make("flow_retransmits_total", selector, ""), make("flow_tx_packets_total", selector, "")
    )


def increase(metric, selector, by):
    return rate(metric, selector, by, function="increase")


def rows():
    steps = [(0.01, YELLOW), (0.03, RED)]
    yield (
        "In this time",
        4,
        [
            (
                4,
                stat(
                    "Bytes to the server",
                    f"By the client's end. {words.PAYLOAD}",
                    "decbytes",
                    total("flow_tx_bytes_total", CLIENT, ""),
                ),
            ),
            (
                4,
                stat(
                    "Bytes to the client",
                    f"By the client's end. {words.PAYLOAD}",
                    "decbytes",
                    total("flow_rx_bytes_total", CLIENT, ""),
                ),
            ),
            (
                4,
                stat(
                    "Client sends again",
                    words.RETRANSMITS,
                    "percentunit",
                    again(CLIENT, total),
                    steps,
                ),
            ),
            (
                4,
                stat(
                    "Server sends again",
                    f"{words.RETRANSMITS} {ENDS}",
                    "percentunit",
                    again(SERVER, total),
                    steps,
                ),
            ),
            (
                4,
                stat(
                    "Failed connects",
                    words.CONNECTS,
                    "percentunit",
                    ratio(
                        total("flow_connect_failures_total", CLIENT, ""),
                        total("flow_connects_total", CLIENT, ""),
                    ),
                    [(0.01, YELLOW), (0.05, RED)],
                ),
            ),
            (
                4,
                stat(
                    "RTT p95",
                    f"By the client's end. {words.RTT}",
                    "s",
                    f'histogram_quantile(0.95, {total("flow_rtt_seconds_bucket", CLIENT, "le")})',
                ),
            ),
        ],
    )
    yield (
        "Both ends",
        8,
        [
            (
                12,
                chart(
                    "Bytes to the server",
                    "What the client sent and what the server received; where they part, something"
                    f" is on its way or one end is not measured. {words.PAYLOAD} {ENDS}",
                    "Bps",
                    [
                        target(rate("flow_tx_bytes_total", CLIENT, ""), "sent by the client"),
                        target(rate("flow_rx_bytes_total", SERVER, ""), "received by the server"),
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Bytes to the client",
                    f"What the server sent and what the client received. {words.PAYLOAD} {ENDS}",
                    "Bps",
                    [
                        target(rate("flow_tx_bytes_total", SERVER, ""), "sent by the server"),
                        target(rate("flow_rx_bytes_total", CLIENT, ""), "received by the client"),
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Packets lost on the way",
                    "Packets that one end sent, repetitions included, and the other did not get."
                    " Over an interval packets on their way count too, so single points may be"
                    f" below zero; sums are right. {ENDS}",
                    "short",
                    [target(lost(d, increase), d) for d in ("to the server", "to the client")],
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
                        target(again(s, lambda m, sel, by: rate(m, sel, by)), f"by the {who}")
                        for who, s in BOTH
                    ],
                    steps,
                ),
            ),
            (
                12,
                chart(
                    "Timeouts",
                    f"{words.TIMEOUTS}",
                    "short",
                    [
                        target(increase("flow_timeouts_total", s, "phase"), f"{who}: {{{{phase}}}}")
                        for who, s in BOTH
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "RTT",
                    "At both ends: a server's round trips include the client's delay, and the"
                    f" other way round. {words.RTT}",
                    "s",
                    [
                        target(quantile(q, "flow_rtt_seconds_bucket", s), f"{who} p{int(q * 100)}")
                        for who, s in BOTH
                        for q in (0.5, 0.95)
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Connects",
                    f"Attempts, and those in vain by reason. {words.CONNECTS}",
                    "short",
                    [
                        target(increase("flow_connects_total", CLIENT, ""), "attempts"),
                        target(
                            increase("flow_connect_failures_total", CLIENT, "reason"),
                            "failed: {{reason}}",
                        ),
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
                            quantile(q, "flow_connect_seconds_bucket", CLIENT), f"p{int(q * 100)}"
                        )
                        for q in (0.5, 0.95, 0.99)
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Drops",
                    words.DROPS,
                    "short",
                    [
                        target(increase("flow_drops_total", s, ""), f"at the {who}'s node")
                        for who, s in BOTH
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Resets",
                    "Connections that ended otherwise than by an exchange of FINs, by whose reset"
                    " it was.",
                    "short",
                    [
                        target(increase("flow_resets_total", s, "side"), f"{who}: {{{{side}}}}")
                        for who, s in BOTH
                    ],
                    stacked=True,
                ),
            ),
        ],
    )
    pods = "pod, node, peer_pod, peer_node"
    yield (
        "Where",
        9,
        [
            (
                16,
                table(
                    "Pods",
                    "Which of the pods at either end it is. By the client's end, from the rows"
                    " themselves.",
                    [
                        (
                            "Retransmitted",
                            "percentunit",
                            (
                                f"topk(50, {total('flow_retransmits_total', CLIENT, pods)} /"
                                f" ({total('flow_tx_packets_total', CLIENT, pods)} > 0))"
                            ),
                        ),
                        (
                            "Bytes to the server",
                            "decbytes",
                            total("flow_tx_bytes_total", CLIENT, pods),
                        ),
                        ("Timeouts", "short", total("flow_timeouts_total", CLIENT, pods)),
                        (
                            "RTT p95",
                            "s",
                            (
                                "histogram_quantile(0.95,"
                                f" {total('flow_rtt_seconds_bucket', CLIENT, 'le, ' + pods)})"
                            ),
                        ),
                    ],
                    {"Retransmitted": steps},
                ),
            ),
            (
                8,
                chart(
                    "Bytes by crossing",
                    "Bytes a second in both directions, by how far apart the ends are. Absent where"
                    " a zone is not known.",
                    "Bps",
                    [
                        target(
                            f'{rate("flow_tx_bytes_total", CLIENT, "crossing")} +'
                            f' {rate("flow_rx_bytes_total", CLIENT, "crossing")}',
                            "{{crossing}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
        ],
    )


def dashboard():
    within = 'namespace="$namespace", workload="$workload", role!="server"'
    return board(
        "edge",
        "Edge",
        "One pair of workloads: the client's end beside the server's.",
        [
            variable(
                "namespace",
                "Client's namespace",
                'label_values(flow_tx_bytes_total{role!="server"}, namespace)',
                multi=False,
            ),
            variable(
                "workload",
                "Client",
                'label_values(flow_tx_bytes_total{namespace="$namespace", role!="server"},'
                " workload)",
                multi=False,
            ),
            variable(
                "peer_namespace",
                "Server's namespace",
                f"label_values(flow_tx_bytes_total{{{within}}}, peer_namespace)",
                multi=False,
            ),
            variable(
                "peer_workload",
                "Server",
                f'label_values(flow_tx_bytes_total{{{within}, peer_namespace="$peer_namespace"}},'
                " peer_workload)",
                multi=False,
            ),
        ],
        list(rows()),
    )
