"""Panels and dashboards, in Grafana's schema (`schemaVersion` 39: Grafana 11 and newer)."""

import string

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
INFINITY = {"type": "yesoreyeram-infinity-datasource", "uid": "${infinity}"}
# One point a minute at least: six reports of an agent.
STEP = "1m"
BOARDS = [
    ("overview", "Overview"),
    ("workload", "Workload"),
    ("edge", "Edge"),
    ("nodes", "Nodes"),
    ("cost", "Cost by zone crossing"),
    ("health", "Measurement health"),
    ("map", "Service map"),
]
GREEN, YELLOW, RED = "green", "#EAB839", "red"


def link(board, text, **variables):
    """A link to another dashboard, for the same time and data source."""
    query = "".join(f"&var-{name}={value}" for name, value in variables.items())
    url = f"/d/weir-{board}?${{__url_time_range}}&${{datasource:queryparam}}{query}"
    return {"title": text, "url": url}


def target(expression, legend="", instant=False, table=False):
    one = {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend or "__auto",
    }
    one |= {"instant": True, "range": False} if instant else {"instant": False, "range": True}
    return one | {"format": "table" if table else "time_series"}


def thresholds(*steps):
    """Colours from a value on; the first from the beginning."""
    colours = [{"color": GREEN, "value": None}]
    colours += [{"color": colour, "value": value} for value, colour in steps]
    return {"mode": "absolute", "steps": colours}


def panel(kind, title, description, unit, targets, steps=(), links=(), **rest):
    for letter, one in zip(string.ascii_uppercase, targets):
        one["refId"] = letter
    defaults = {"unit": unit, "thresholds": thresholds(*steps), "links": list(links)}
    made = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "interval": STEP,
        "targets": list(targets),
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
    return made | rest


def chart(
    title, description, unit, targets, steps=(), stacked=False, links=(), centred=False, top=None
):
    """Values over time. With thresholds, a dashed line says where one begins."""
    made = panel("timeseries", title, description, unit, targets, steps, links)
    custom = {
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8,
        "showPoints": "auto",
        "spanNulls": False,
    }
    custom["stacking"] = {"mode": "normal" if stacked else "none", "group": "A"}
    custom["thresholdsStyle"] = {"mode": "dashed" if steps else "off"}
    if centred:
        custom["axisCenteredZero"] = True
    else:
        made["fieldConfig"]["defaults"]["min"] = 0
    if top is not None:
        made["fieldConfig"]["defaults"]["max"] = top
    made["fieldConfig"]["defaults"]["custom"] = custom
    made["options"] = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["mean", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def stat(title, description, unit, expression, steps=(), none="none"):
    """One number for the whole range; `none` is what is shown where there is nothing to tell."""
    made = panel("stat", title, description, unit, [target(expression, instant=True)], steps)
    made["fieldConfig"]["defaults"]["noValue"] = none
    calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    colour = "background" if steps else "none"
    return made | {
        "options": {
            "reduceOptions": calculation,
            "colorMode": colour,
            "graphMode": "none",
            "textMode": "auto",
        }
    }


def table(title, description, columns, steps=None, links=()):
    """One row for each set of labels. Columns: heading, unit, expression; the first orders them."""
    targets = [target(expression, instant=True, table=True) for _, _, expression in columns]
    made = panel("table", title, description, "short", targets, (), links)
    names = {
        f"Value #{letter}": heading
        for letter, (heading, _, _) in zip(string.ascii_uppercase, columns)
    }
    if len(columns) == 1:
        names = {"Value": columns[0][0]}
    else:
        transformations = [{"id": "merge", "options": {}}]
    organise = {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": {}}
    made["transformations"] = ([] if len(columns) == 1 else transformations) + [
        {"id": "organize", "options": organise}
    ]
    for heading, unit, _ in columns:
        properties = [{"id": "unit", "value": unit}]
        if steps and heading in steps:
            properties += [
                {"id": "thresholds", "value": thresholds(*steps[heading])},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
            ]
        made["fieldConfig"]["overrides"].append(
            {"matcher": {"id": "byName", "options": heading}, "properties": properties}
        )
    order = [{"displayName": columns[0][0], "desc": True}]
    return made | {"options": {"showHeader": True, "cellHeight": "sm", "sortBy": order}}


def variable(name, label, query, multi=True, description=""):
    """Values of a label. `All` is `.*`, which also finds what has no such label."""
    made = {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {
            "qryType": 5,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "refresh": 2,
        "sort": 1,
        "multi": multi,
        "includeAll": multi,
        "description": description,
    }
    if multi:
        made |= {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return made


def choice(name, label, values, description):
    options = [{"text": v, "value": v, "selected": i == 0} for i, v in enumerate(values)]
    return {
        "name": name,
        "label": label,
        "type": "custom",
        "query": ",".join(values),
        "options": options,
        "current": {"text": values[0], "value": values[0]},
        "multi": False,
        "includeAll": False,
        "description": description,
    }


def board(name, title, description, variables, rows, since="now-6h"):
    """Rows: heading and its panels with their widths (of 24) and height."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Weir", "value": "weir"},
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    }
    panels, y = [], 0
    for heading, height, placed in rows:
        panels.append(
            {
                "type": "row",
                "title": heading,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
            }
        )
        x, y = 0, y + 1
        for width, one in placed:
            if x + width > 24:
                x, y = 0, y + height
            one["gridPos"] = {"x": x, "y": y, "w": width, "h": height}
            panels.append(one)
            x += width
        y += height
    for number, one in enumerate(panels, 1):
        one["id"] = number
    links = [
        {
            "type": "link",
            "title": text,
            "url": f"/d/weir-{board}",
            "icon": "dashboard",
            "keepTime": True,
            "includeVars": False,
            "targetBlank": False,
            "asDropdown": False,
            "tags": [],
        }
        for board, text in BOARDS
        if board != name
    ]
    return {
        "uid": f"weir-{name}",
        "title": f"Weir / {title}",
        "description": description,
        "tags": ["weir"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "",
        "time": {"from": since, "to": "now"},
        "links": links,
        "templating": {"list": [source, *variables]},
        "annotations": {"list": []},
        "panels": panels,
    }
