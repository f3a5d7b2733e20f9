"""The service map as Grafana's node graph, by the Infinity data source, so that the others need no plugin."""

from .panels import INFINITY, board, choice

URL = "/api/v1/service-map?format=node-graph&start=${__from:date:iso}&end=${__to:date:iso}&level=${level}&limit=${edges}"


def query(letter, what, form):
    """One of the two frames of a node graph, as the server's answer has it below `data`."""
    return {
        "refId": letter,
        "datasource": INFINITY,
        "type": "json",
        "source": "url",
        "format": form,
        "parser": "backend",
        "url": URL,
        "url_options": {"method": "GET", "data": ""},
        "root_selector": f"data.{what}",
        "columns": [],
        "filters": [],
    }


def dashboard():
    graph = {
        "type": "nodeGraph",
        "title": "Service map",
        "datasource": INFINITY,
        "description": (
            "Workloads and what they send to each other; the server's `/api/v1/service-map` gives"
            " both frames. An edge's first number is bytes of both directions, counted once, the"
            " second the share of segments sent again. Edges beyond the limit, the smallest, are"
            " left out."
        ),
        "targets": [
            query("A", "nodes", "node-graph-nodes"),
            query("B", "edges", "node-graph-edges"),
        ],
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {
            "nodes": {"mainStatUnit": "decbytes"},
            "edges": {"mainStatUnit": "decbytes", "secondaryStatUnit": "percentunit"},
        },
    }
    infinity = {
        "name": "infinity",
        "label": "Infinity",
        "type": "datasource",
        "query": "yesoreyeram-infinity-datasource",
        "current": {"text": "Weir (Infinity)", "value": "weir-infinity"},
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    }
    level = choice(
        "level", "Level", ["workload", "namespace", "pod"], "What a node of the graph is."
    )
    edges = choice(
        "edges", "Edges", ["500", "100", "1000", "5000"], "How many of the biggest edges are drawn."
    )
    return board(
        "map",
        "Service map",
        "Needs the Infinity data source: docs/grafana.md.",
        [infinity, level, edges],
        [("Map", 24, [(24, graph)])],
        since="now-1h",
    )
