//! Grafana's dashboards (`deploy/grafana/dashboards`) against a real server: every expression of every panel and every
//! query of a variable is asked, with the variables replaced as Grafana does it, and has to find something in a history
//! that has something for each. Grafana itself is not there: what it draws is not tested, what it would ask is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "dashboards/grafana.rs"]
mod grafana;
#[path = "dashboards/history.rs"]
mod history;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use grafana::{Choice, Range, dashboards, interpolate, items, label_values, text};
use history::{MINUTE, MINUTES};
use serde_json::Value;
use support::{Server, now_us, program, run};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn committed_dashboards_are_what_the_source_gives() {
    let Some(python) = program("python3", &["--version"]) else { return };
    run(Command::new(python).arg(format!("{HERE}/deploy/grafana/generate")).arg("--check"));
}

/// A server with the history, and the hour of it that is looked at.
fn shop(directory: &std::path::Path) -> (Server, Range) {
    let prices = format!("{HERE}/deploy/prices/aws.toml");
    let server = Server::start(directory, &["--prices", &prices]);
    let end = now_us() / MINUTE * MINUTE;
    history::post(&server, end);
    let end = end / 1_000_000;
    (server, Range { start: end - MINUTES * 60, end, step: 60 })
}

/// What is chosen for each variable of a dashboard; `several` in place of `All`.
fn choices(board: &Value, several: bool) -> BTreeMap<String, Choice> {
    let mut all = BTreeMap::new();
    for variable in items(&board["templating"]["list"]) {
        let name = text(&variable["name"]);
        let choice = match (name, variable["multi"] == true) {
            ("namespace", true) if several => Choice::Several(vec!["shop", "a.b (it's|no) \\ one"]),
            ("workload", true) if several => Choice::Several(vec!["web", "api", "a+b?"]),
            ("node", true) if several => Choice::Several(vec!["n1", "n2", "n3"]),
            (_, true) => Choice::All,
            ("namespace" | "peer_namespace", false) => Choice::One("shop"),
            ("workload", false) => Choice::One("web"),
            ("peer_workload", false) => Choice::One("api"),
            ("before", false) => Choice::One("1d"),
            ("edges", false) => Choice::One("500"),
            ("level", false) => Choice::One("workload"),
            ("datasource" | "infinity", false) => Choice::One("weir"),
            other => panic!("variable {other:?} has no value in this test"),
        };
        all.insert(name.to_owned(), choice);
    }
    all
}

/// The series of a target.
fn ask(server: &Server, target: &Value, range: Range, expression: &str) -> Vec<Value> {
    let instant = target["instant"] == true;
    assert_ne!(target["range"] == true, instant, "{target}");
    let [start, end, step] = [range.start, range.end, range.step].map(|n| n.to_string());
    let (status, answer) = if instant {
        server.form("/api/v1/query", &[("query", expression), ("time", &end)])
    } else {
        let fields = [("query", expression), ("start", &start), ("end", &end), ("step", &step)];
        server.form("/api/v1/query_range", &fields)
    };
    assert_eq!(status, 200, "{expression}: {answer}");
    assert!(answer.get("warnings").is_none(), "{expression}: {answer}");
    items(&answer["data"]["result"]).to_vec()
}

/// Whether there is a number among the values of a series.
fn has_number(series: &Value) -> bool {
    let is_number = |point: &Value| point[1].as_str().is_some_and(|v| v != "NaN");
    is_number(&series["value"]) || items(&series["values"]).iter().any(is_number)
}

#[test]
fn every_panel_and_variable_finds_something() {
    let dir = tempfile::tempdir().unwrap();
    let (server, range) = shop(dir.path());
    let (mut asked, mut empty) = (0, Vec::new());
    for (name, board) in dashboards() {
        for several in [false, true] {
            let choices = choices(&board, several);
            for variable in items(&board["templating"]["list"]) {
                if variable["type"] != "query" {
                    continue;
                }
                let query = interpolate(text(&variable["query"]["query"]), range, &choices);
                let (selector, label) = label_values(&query).unwrap();
                let [start, end] = [range.start, range.end].map(|n| n.to_string());
                let fields = [("match[]", selector), ("start", &start), ("end", &end)];
                let answer = get(&server, &format!("/api/v1/label/{label}/values"), &fields);
                assert!(!items(&answer["data"]).is_empty(), "{name}: {query}: {answer}");
            }
            for panel in items(&board["panels"]) {
                for target in items(&panel["targets"]) {
                    let Some(expression) = target["expr"].as_str() else { continue };
                    let expression = interpolate(expression, range, &choices);
                    asked += 1;
                    if !ask(&server, target, range, &expression).iter().any(has_number) {
                        empty.push(format!("{name} / {}: {expression}", panel["title"]));
                    }
                }
            }
        }
    }
    assert!(empty.is_empty(), "{} expressions found nothing:\n{}", empty.len(), empty.join("\n"));
    assert!(asked > 200, "{asked} expressions");
}

fn get(server: &Server, path: &str, fields: &[(&str, &str)]) -> Value {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.get(format!("{}{path}", server.url));
    let mut response = fields.iter().fold(request, |r, (n, v)| r.query(*n, *v)).call().unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path} {fields:?}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// The values of a panel's first target at the end of the range, by the label that is named.
fn values(
    server: &Server,
    range: Range,
    board: &str,
    title: &str,
    by: &str,
) -> BTreeMap<String, f64> {
    let (_, board) = dashboards().into_iter().find(|(name, _)| name == board).unwrap();
    let panels = items(&board["panels"]);
    let panel = panels.iter().find(|p| p["title"] == title && p["type"] != "row").unwrap();
    let target = &panel["targets"][0];
    let expression = interpolate(text(&target["expr"]), range, &choices(&board, false));
    let result = ask(server, target, range, &expression);
    let number = |series: &Value| -> f64 {
        let point = items(&series["values"]).last().unwrap_or(&series["value"]);
        text(&point[1]).parse().unwrap()
    };
    let key = |series: &Value| series["metric"][by].as_str().unwrap_or_default().to_owned();
    result.iter().map(|series| (key(series), number(series))).collect()
}

#[test]
fn numbers_are_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let (server, range) = shop(dir.path());
    let all = |board: &str, title: &str, by: &str| values(&server, range, board, title, by);
    let one = |board: &str, title: &str| {
        let found = all(board, title, "");
        assert_eq!(found.len(), 1, "{board} / {title}: {found:?}");
        found.into_values().next().unwrap()
    };
    let near = |found: f64, wanted: f64, what: &str| {
        assert!((found - wanted).abs() <= 1e-9 * wanted.abs(), "{what}: {found}, not {wanted}");
    };
    // Of a minute, each byte once: web to api, web to S3, visitors to web. The row of api's end is the same bytes.
    let [inside, cloud, visitors] = [660_000.0, 18_000.0, 33_000.0];
    let bytes = inside + cloud + visitors;
    near(one("overview", "Retransmitted"), 30.0 / 3040.0, "retransmitted in the hour");
    near(one("edge", "Bytes to the server"), 60_000.0 * 60.0, "bytes to the server");
    near(one("edge", "Packets lost on the way"), 15.0, "1000 were sent, 985 arrived, in a minute");
    near(one("edge", "Client sends again"), 0.02, "the client's retransmits");
    near(one("edge", "Server sends again"), 0.005, "the server's retransmits");
    near(one("edge", "Failed connects"), 0.2, "2 of 10 connects");
    near(
        one("workload", "Sent"),
        (60_000.0 + 600_000.0 + 6000.0 + 30_000.0) * 60.0,
        "both workloads' own ends",
    );
    near(one("cost", "Across zones"), inside * 60.0, "bytes across zones");
    near(one("cost", "Share that leaves the zone"), inside / bytes, "share across zones");
    near(one("health", "Nodes silent"), 1.0, "n3 has fallen silent");
    near(one("health", "Nodes reporting"), 2.0, "n1 and n2 report");
    near(one("overview", "Traffic"), bytes * 60.0, "traffic of the hour");
    let crossing = all("cost", "Traffic by crossing", "crossing");
    near(crossing["cross-zone"], inside / 60.0, "bytes a second across zones");
    near(
        crossing["internet"],
        visitors / 60.0,
        "bytes a second of visitors, counted by the end that is measured",
    );
    // n2 lost 2 of 100 rows, n1 none.
    let whole = one("health", "Complete");
    assert!((whole - 0.99).abs() < 1e-6, "{whole}");
    let p95 = one("edge", "RTT p95");
    assert!((512e-6..=1024e-6).contains(&p95), "99 of 100 round trips take 900 us: {p95}");
}

/// Long ranges are answered from the tiers: both charts and the totals of tables.
#[test]
fn long_ranges_read_tiers() {
    let dir = tempfile::tempdir().unwrap();
    let (server, range) = shop(dir.path());
    let (_, board) = dashboards().into_iter().find(|(name, _)| name == "overview").unwrap();
    let day = Range { start: range.end - 86_400, end: range.end, step: 300 };
    for title in ["Traffic", "Most traffic", "Most retransmits"] {
        for panel in items(&board["panels"]).iter().filter(|p| p["title"] == title) {
            let expression = text(&panel["targets"][0]["expr"]);
            let expression = interpolate(expression, day, &choices(&board, false));
            let end = day.end.to_string();
            let fields = [("query", expression.as_str()), ("time", &end), ("stats", "all")];
            let (status, answer) = if panel["targets"][0]["instant"] == true {
                server.form("/api/v1/query", &fields)
            } else {
                let [start, end] = [day.start, day.end].map(|n| (n / 300 * 300).to_string());
                let fields = [
                    ("query", expression.as_str()),
                    ("start", &start),
                    ("end", &end),
                    ("step", "300"),
                    ("stats", "all"),
                ];
                server.form("/api/v1/query_range", &fields)
            };
            assert_eq!(status, 200, "{expression}: {answer}");
            let tiers = &answer["data"]["stats"]["tiers"];
            assert!(tiers.to_string().contains("\"5m\""), "{title}: {tiers}: {expression}");
        }
    }
}

/// What the data source Infinity would ask, and the two frames that the panel would be given.
#[test]
fn service_map_is_a_node_graph() {
    let dir = tempfile::tempdir().unwrap();
    let (server, range) = shop(dir.path());
    let (_, board) = dashboards().into_iter().find(|(name, _)| name == "map").unwrap();
    let time = |seconds| jiff::Timestamp::from_second(seconds).unwrap().to_string();
    let frame = |letter: &str| -> Vec<Value> {
        let targets = items(&board["panels"][1]["targets"]);
        let target = targets.iter().find(|t| t["refId"] == letter).unwrap();
        let url = text(&target["url"])
            .replace("${__from:date:iso}", &time(range.start))
            .replace("${__to:date:iso}", &time(range.end));
        let answer = get(&server, &interpolate(&url, range, &choices(&board, false)), &[]);
        let path = text(&target["root_selector"]).split('.');
        items(path.fold(&answer, |value, key| &value[key])).to_vec()
    };
    let (nodes, edges) = (frame("A"), frame("B"));
    let ids: BTreeSet<&str> = nodes.iter().map(|node| text(&node["id"])).collect();
    let titles: BTreeSet<&str> = nodes.iter().map(|node| text(&node["title"])).collect();
    assert!(titles.contains("web") && titles.contains("api"), "{titles:?}");
    for edge in &edges {
        for end in ["source", "target"] {
            assert!(ids.contains(text(&edge[end])), "{edge}: {ids:?}");
        }
    }
    let pair = |edge: &&Value| {
        text(&edge["source"]).contains("shop/web") && text(&edge["target"]).contains("shop/api")
    };
    let edge = edges.iter().find(pair).unwrap();
    assert_eq!(edge["mainstat"], 660_000.0 * MINUTES as f64, "{edge}");
    assert_eq!(edge["secondarystat"], 0.02, "{edge}");
}

/// Names in expressions are those of the documents and of the server, not of this test.
#[test]
fn metrics_are_those_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut known = server.get("/metrics").1;
    for document in ["agent.md", "metrics.md"] {
        known.push_str(&std::fs::read_to_string(format!("{HERE}/docs/{document}")).unwrap());
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let known: BTreeSet<&str> = known.split(|c| !is_word(c)).collect();
    let mut found = BTreeSet::new();
    for (name, board) in dashboards() {
        for panel in items(&board["panels"]) {
            for expression in items(&panel["targets"]).iter().filter_map(|t| t["expr"].as_str()) {
                for word in expression.split(|c| !is_word(c)) {
                    if word.starts_with("weir_") || word.starts_with("flow_") {
                        let family = word.trim_end_matches("_bucket");
                        assert!(known.contains(word) || known.contains(family), "{name}: {word}");
                        found.insert(word.to_owned());
                    }
                }
            }
        }
    }
    assert!(found.len() > 40, "{found:?}");
}

#[test]
fn dashboards_are_well_formed() {
    let boards = dashboards();
    let uids: BTreeSet<&str> = boards.iter().map(|(_, b)| text(&b["uid"])).collect();
    assert_eq!(uids.len(), boards.len(), "uids are unique");
    assert_eq!(boards.len(), 7);
    for (name, board) in &boards {
        assert_eq!(text(&board["uid"]), format!("weir-{name}"));
        assert!(board.get("__inputs").is_none() && board.get("id").is_none(), "{name}");
        let variables = items(&board["templating"]["list"]);
        let defined: BTreeSet<&str> = variables.iter().map(|v| text(&v["name"])).collect();
        let panels = items(&board["panels"]);
        let ids: BTreeSet<i64> = panels.iter().map(|p| p["id"].as_i64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: ids are unique");
        let mut taken = BTreeSet::new();
        for panel in panels {
            let title = text(&panel["title"]);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|k| panel["gridPos"][k].as_i64().unwrap());
            assert!(w > 0 && h > 0 && x >= 0 && x + w <= 24, "{name} / {title}: place");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name} / {title} lies over another panel");
            }
            if panel["type"] == "row" {
                continue;
            }
            assert!(text(&panel["description"]).len() > 30, "{name} / {title}: no description");
            let targets = items(&panel["targets"]);
            let letters: BTreeSet<&str> = targets.iter().map(|t| text(&t["refId"])).collect();
            assert!(!targets.is_empty() && letters.len() == targets.len(), "{name} / {title}");
            for target in targets {
                let source = text(&target["datasource"]["uid"]);
                let variable = source.trim_start_matches("${").trim_end_matches('}');
                assert!(source.starts_with("${") && defined.contains(variable), "{name} / {title}");
                if panel["type"] != "nodeGraph" {
                    let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
                    assert!(!unit.is_empty(), "{name} / {title}: no unit");
                }
            }
        }
        // Links lead to dashboards that there are, and set variables that they have.
        let all = board.to_string();
        for link in all.split("/d/").skip(1) {
            let uid = link.split(['?', '"']).next().unwrap();
            let (_, to) = boards.iter().find(|(_, b)| b["uid"] == uid).unwrap();
            let url = link.split('"').next().unwrap();
            for set in url.split("&var-").skip(1) {
                let variable = set.split('=').next().unwrap();
                let list = items(&to["templating"]["list"]);
                assert!(
                    list.iter().any(|v| v["name"] == variable),
                    "{name}: {uid} has no {variable}"
                );
            }
        }
    }
}
