"""What crosses zones and regions, and what it costs."""

from . import words
from .panels import board, chart, link, stat, table, target, variable
from .promql import labels, once, over_range, rate, total

MATCH = 'namespace=~"$namespace"'
BYTES = ["flow_tx_bytes_total", "flow_rx_bytes_total"]
CHARGED = labels(MATCH)
PRICED = (
    "In the currency of the server's price list (--prices; without one there is nothing), which"
    " holds for the past as well. Each row costs what its own end is charged, so all rows count,"
    " those of both ends. Rounding, free tiers and discounts are not in it."
)
CROSSING = (
    "`same-region` is a provider's service, whose zone is not published. Absent where a zone or"
    " region is not known, and for external peers in a named network."
)
PAIR = "namespace, workload, peer_namespace, peer_workload, peer_cloud_service, crossing"
TO_EDGE = link(
    "edge",
    "This pair",
    namespace="${__data.fields.namespace}",
    workload="${__data.fields.workload}",
    peer_namespace="${__data.fields.peer_namespace}",
    peer_workload="${__data.fields.peer_workload}",
)


def rows():
    zones = f'{MATCH}, crossing="cross-zone"'
    all_ = f'{MATCH}, crossing!=""'
    bytes_ = lambda match: over_range(once(BYTES, match, "", "increase"))
    yield (
        "In this time",
        4,
        [
            (6, stat("Cost", PRICED, "currencyUSD", total("flow_cost_total", CHARGED, ""))),
            (
                6,
                stat(
                    "Cost of 30 days like this",
                    "The cost of this time, stretched to 30 days; less than a day does not stand"
                    f" for one. {PRICED}",
                    "currencyUSD",
                    f'{total("flow_cost_total", CHARGED, "")} / $__range_s * 2592000',
                ),
            ),
            (
                6,
                stat(
                    "Across zones",
                    f"Bytes in both directions between zones of a region. {words.ONCE}",
                    "decbytes",
                    bytes_(zones),
                ),
            ),
            (
                6,
                stat(
                    "Share that leaves the zone",
                    f"Bytes across zones, of all whose crossing is known. {words.ONCE}",
                    "percentunit",
                    f"{bytes_(zones)} / ({bytes_(all_)} > 0)",
                ),
            ),
        ],
    )
    cost = rate("flow_cost_total", CHARGED, "crossing", function="increase")
    yield (
        "Over time",
        8,
        [
            (
                12,
                chart(
                    "Cost by crossing",
                    f"In each interval. {PRICED}",
                    "currencyUSD",
                    [target(cost, "{{crossing}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Traffic by crossing",
                    f"Bytes a second in both directions. {CROSSING} {words.ONCE}",
                    "Bps",
                    [target(once(BYTES, all_, "crossing"), "{{crossing}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Cost by namespace",
                    f"In each interval, by the namespace of the end that is charged. {PRICED}",
                    "currencyUSD",
                    [
                        target(
                            "topk(10,"
                            f' {rate("flow_cost_total", CHARGED, "namespace", function="increase")})',
                            "{{namespace}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                chart(
                    "Traffic between zones",
                    "Bytes a second from zone to zone, by the client's end, both directions."
                    f" {words.PAYLOAD}",
                    "Bps",
                    [
                        target(
                            "topk(10, "
                            + " + ".join(
                                rate(m, labels(zones, 'role!="server"'), "zone, peer_zone")
                                for m in BYTES
                            )
                            + ")",
                            "{{zone}} - {{peer_zone}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
        ],
    )
    yield (
        "Who",
        10,
        [
            (
                12,
                table(
                    "Most cost",
                    f"By workload, peer or cloud service, and crossing. {PRICED}",
                    [
                        (
                            "Cost",
                            "currencyUSD",
                            f"topk(30, {total('flow_cost_total', CHARGED, PAIR)} > 0)",
                        )
                    ],
                    links=[TO_EDGE],
                ),
            ),
            (
                12,
                table(
                    "Most across zones",
                    f"Bytes in both directions, by the client's end. {words.PAYLOAD}",
                    [
                        (
                            "Bytes",
                            "decbytes",
                            "topk(30, "
                            + " + ".join(
                                total(
                                    m,
                                    labels(zones, 'role!="server"'),
                                    "namespace, workload, peer_namespace, peer_workload, zone,"
                                    " peer_zone",
                                )
                                for m in BYTES
                            )
                            + ")",
                        )
                    ],
                    links=[TO_EDGE],
                ),
            ),
        ],
    )


def dashboard():
    return board(
        "cost",
        "Cost by zone crossing",
        "What leaves zone, region and cloud, who sends it, and what it costs.",
        [variable("namespace", "Namespace", "label_values(flow_tx_bytes_total, namespace)")],
        list(rows()),
        since="now-24h",
    )
