"""What nodes and the pods on them count beside flows: interfaces, allowances, connection tracking, DNS."""

from . import words
from .panels import RED, YELLOW, board, chart, stat, target, variable

NODE = 'node=~"$node"'
HOST = f'{NODE}, netns="host"'
KERNEL = (
    "The kernel's own counters of the host's network namespace, headers and forwarded packets"
    " included."
)
DNS = (
    "Questions over UDP port 53 alone: DNS over TCP, TLS and HTTPS is not seen, and an agent with"
    " --no-dns counts none."
)


def rate(metric, match, by):
    return f"sum by ({by}) (rate({metric}{{{match}}}[$__rate_interval]))"


def increase(metric, match, by):
    return f"sum by ({by}) (increase({metric}{{{match}}}[$__rate_interval]))"


def rows():
    used = f"max(weir_conntrack_entries{{{NODE}}} / weir_conntrack_entries_limit{{{NODE}}})"
    kinds = ["bw_in", "bw_out", "pps", "conntrack", "linklocal"]
    exceeded = " + ".join(
        f"sum(increase(weir_nic_{k}_allowance_exceeded_total{{{NODE}}}[$__range]))" for k in kinds
    )
    refused = f'sum(increase(weir_dns_answers_total{{{NODE}, code!~"NOERROR|NXDOMAIN"}}[$__range]))'
    yield (
        "In this time",
        4,
        [
            (
                6,
                stat(
                    "Allowances exceeded",
                    "Packets queued or dropped because an allowance of the machine was used up, as"
                    " the driver (ENA) tells. Other drivers have no such counters: none is not"
                    " zero.",
                    "short",
                    exceeded,
                    [(1, RED)],
                ),
            ),
            (
                6,
                stat(
                    "Connection tracking, fullest node",
                    "Tracked connections of how many there may be (nf_conntrack_max). At 100 % new"
                    " connections are dropped.",
                    "percentunit",
                    used,
                    [(0.7, YELLOW), (0.9, RED)],
                ),
            ),
            (
                6,
                stat(
                    "DNS timeouts",
                    f"Questions without an answer within 5 s. {DNS}",
                    "short",
                    f"sum(increase(weir_dns_timeouts_total{{{NODE}}}[$__range]))",
                    [(1, YELLOW)],
                ),
            ),
            (
                6,
                stat(
                    "DNS failures",
                    f"Answers other than NOERROR and NXDOMAIN, such as SERVFAIL. {DNS}",
                    "short",
                    refused,
                    [(1, YELLOW)],
                ),
            ),
        ],
    )
    yield (
        "Interfaces and TCP",
        8,
        [
            (
                12,
                chart(
                    "Traffic of the host",
                    f"Bytes a second received (above) and sent (below). {KERNEL}",
                    "Bps",
                    [
                        target(
                            rate("weir_interface_rx_bytes_total", HOST, "node, device"),
                            "{{node}} {{device}} received",
                        ),
                        target(
                            "-" + rate("weir_interface_tx_bytes_total", HOST, "node, device"),
                            "{{node}} {{device}} sent",
                        ),
                    ],
                    centred=True,
                ),
            ),
            (
                12,
                chart(
                    "Errors and drops of interfaces",
                    f"Packets that the device or its queue lost. {KERNEL}",
                    "pps",
                    [
                        target(
                            rate(f"weir_interface_{d}_{what}_total", HOST, "node, device"),
                            f"{{{{node}}}} {{{{device}}}} {d} {what}",
                        )
                        for what in ("errors", "dropped")
                        for d in ("rx", "tx")
                    ],
                ),
            ),
            (
                12,
                chart(
                    "TCP segments sent again",
                    "RetransSegs of the host's namespace and of those of pods, all sockets, by"
                    " node; flows tell whose.",
                    "short",
                    [
                        target(
                            rate("weir_tcp_retransmitted_segments_total", NODE, "node"), "{{node}}"
                        )
                    ],
                ),
            ),
            (
                12,
                chart(
                    "TCP timeouts",
                    "TCPTimeouts of all namespaces, by node.",
                    "short",
                    [target(rate("weir_tcp_timeouts_total", NODE, "node"), "{{node}}")],
                ),
            ),
            (
                12,
                chart(
                    "Packets dropped by the kernel",
                    "By the kernel's reason, forwarded packets included. Needs Linux 5.17 with"
                    " BTF.",
                    "pps",
                    [
                        target(
                            f'topk(10, {rate("weir_node_drops_total", NODE, "reason, protocol")})',
                            "{{reason}} ({{protocol}})",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Packets of pods",
                    "Packets a second of the ten busiest network namespaces of pods. A namespace"
                    " that the agent may not enter is missing.",
                    "pps",
                    [
                        target(
                            "topk(10, "
                            + rate(
                                "weir_interface_rx_packets_total",
                                f'{NODE}, netns!="host", device!="lo"',
                                "node, pod, workload",
                            )
                            + ")",
                            "{{node}} {{pod}}{{workload}}",
                        )
                    ],
                ),
            ),
        ],
    )
    yield (
        "Allowances of the machine, and connection tracking",
        8,
        [
            (
                12,
                chart(
                    "Allowances exceeded",
                    "Packets queued or dropped in each interval, by the driver's counters (ENA)."
                    " Any is too many: the machine type is too small, or its traffic too uneven.",
                    "short",
                    [
                        target(
                            increase(
                                f"weir_nic_{k}_allowance_exceeded_total", NODE, "node, device"
                            ),
                            f"{{{{node}}}} {{{{device}}}} {k}",
                        )
                        for k in kinds
                    ],
                    [(1, RED)],
                ),
            ),
            (
                12,
                chart(
                    "Connections tracked",
                    "nf_conntrack_count of nf_conntrack_max, of the host's namespace.",
                    "percentunit",
                    [
                        target(
                            f"weir_conntrack_entries{{{NODE}}} /"
                            f" weir_conntrack_entries_limit{{{NODE}}}",
                            "{{node}}",
                        )
                    ],
                    [(0.7, YELLOW), (0.9, RED)],
                ),
            ),
            (
                12,
                chart(
                    "Connections that the machine can still track",
                    "conntrack_allowance_available of the driver (ENA). At 0 new connections are"
                    " dropped.",
                    "short",
                    [
                        target(
                            f"weir_nic_conntrack_allowance_available{{{NODE}}}",
                            "{{node}} {{device}}",
                        )
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Elastic fabric",
                    "Bytes a second of EFA devices, from the driver's counters; retransmitted ones"
                    " beside them.",
                    "Bps",
                    [
                        target(
                            rate(f"weir_efa_{name}_total", NODE, "node, device"),
                            f"{{{{node}}}} {{{{device}}}} {name}",
                        )
                        for name in ("tx_bytes", "rx_bytes", "retrans_bytes")
                    ],
                ),
            ),
        ],
    )
    yield (
        "DNS",
        8,
        [
            (
                12,
                chart(
                    "Questions",
                    f"By type of the record asked for. {DNS}",
                    "reqps",
                    [target(rate("weir_dns_questions_total", NODE, "type"), "{{type}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Answers",
                    f"By code. NXDOMAIN is usual where search domains are tried. {DNS}",
                    "reqps",
                    [
                        target(rate("weir_dns_answers_total", NODE, "code"), "{{code}}"),
                        target(rate("weir_dns_timeouts_total", NODE, "job"), "timeout"),
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Time to answer",
                    f"Of questions that were answered. {DNS}",
                    "s",
                    [
                        target(
                            f"histogram_quantile({q},"
                            f" {rate('weir_dns_latency_seconds_bucket', NODE, 'le')})",
                            f"p{int(q * 100)}",
                        )
                        for q in (0.5, 0.95, 0.99)
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Who waits in vain",
                    "Workloads with most timeouts and answers other than NOERROR and NXDOMAIN."
                    " `pod` is a uid: the agent asks no cluster.",
                    "reqps",
                    [
                        target(
                            "topk(10, "
                            + rate("weir_dns_timeouts_total", NODE, "workload, pod")
                            + " > 0)",
                            "{{workload}} {{pod}}: timeout",
                        ),
                        target(
                            "topk(10, "
                            + rate(
                                "weir_dns_answers_total",
                                f'{NODE}, code!~"NOERROR|NXDOMAIN"',
                                "workload, pod, code",
                            )
                            + " > 0)",
                            "{{workload}} {{pod}}: {{code}}",
                        ),
                    ],
                ),
            ),
        ],
    )
    yield (
        "Workloads on the node, by the agent",
        8,
        [
            (
                12,
                chart(
                    "Connections opened and accepted",
                    "A second, TCP. Workloads beyond 10,000 on a node are counted as `other`.",
                    "cps",
                    [
                        target(
                            "topk(10, "
                            + rate("weir_workload_flows_opened_total", NODE, "workload, direction")
                            + ")",
                            "{{workload}} {{direction}}",
                        )
                    ],
                ),
            ),
            (
                12,
                chart(
                    "Packets dropped of workloads",
                    "By the kernel's reason, of the flows of this node. Needs Linux 5.17 with BTF.",
                    "pps",
                    [
                        target(
                            "topk(10, "
                            + rate("weir_workload_drops_total", NODE, "workload, reason")
                            + ")",
                            "{{workload}}: {{reason}}",
                        )
                    ],
                ),
            ),
        ],
    )


def dashboard():
    return board(
        "nodes",
        "Nodes",
        f"Counters of nodes and network namespaces. {words.SAMPLES}",
        [variable("node", "Node", "label_values(weir_agent_intervals_total, node)")],
        list(rows()),
    )
