"""Expressions over flows.

Windows of flow metrics are `$__interval`, the panel's own step, and not `$__rate_interval`: sums of deltas are
exact for every window, so windows that touch each other count each row once, and steps of 5 minutes or more are
answered from the tiers. Samples (`weir_*`) are Prometheus' own counters, whose `rate` needs `$__rate_interval`.
"""

WINDOW = "[$__interval]"
# Rows of which each byte counts once: those of the client's end, and those of the end that is measured where
# the client is outside of the cluster.
INSIDE = 'role!="server"'
FROM_OUTSIDE = 'role="server", peer_scope=~"cloud|external"'


def labels(*parts):
    """A selector of those parts that are not empty."""
    return "{" + ", ".join(part for part in parts if part) + "}"


def rate(metric, selector, by, window=WINDOW, function="rate", offset=""):
    """The sum by labels of a counter's rate, as one aggregate over the rows."""
    by = f" by ({by})" if by else ""
    return f"sum{by} ({function}({metric}{selector}{window}{offset}))"


def once(metrics, match, by, function="rate", offset=""):
    """The same with each byte counted once, of one metric or the sum of several.

    The two halves keep `role`, so that `or` finds no labels that are in both.
    """
    inner = f"{by}, role" if by else "role"
    halves = [
        " + ".join(rate(m, labels(match, role), inner, WINDOW, function, offset) for m in metrics)
        for role in (INSIDE, FROM_OUTSIDE)
    ]
    by = f" by ({by})" if by else ""
    return f"sum{by} ({halves[0]} or {halves[1]})"


def over_range(expression):
    """What the steps of a range add up to, of an expression that has an `increase` of `$__interval`.

    A subquery's steps are multiples of its resolution, so the tiers can answer it, which they cannot for a window
    of `$__range` that ends now.
    """
    return f"sum_over_time(({expression})[$__range:$__interval])"


def total(metric, selector, by):
    return over_range(rate(metric, selector, by, function="increase"))


def ratio(part, whole):
    """Nothing, instead of NaN, where the whole is nothing."""
    return f"{part}\n/\n({whole} > 0)"


def quantile(q, metric, selector, by="", window=WINDOW):
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(metric, selector, by, window)})"
