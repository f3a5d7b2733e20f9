//! What the demo says, and the links that it gives.

use jiff::Timestamp;

use super::incident::{HOURS, Incident, PERCENT};
use super::options::Demo;
use super::replay::Played;
use super::rhythm::Day;
use super::shop::NODES;

/// The flows of the incident in a link: `workload="orders"` to `peer_workload="products"`, pod by pod, with what tells why.
const ORDERS: &str = "f=workload%3D%22orders%22&f=peer_workload%3D%22products%22&by=pod,peer_pod&\
    cols=bytes,server_retransmits,retransmits,server_timeouts,lost_rx,drops,rtt_p99&order=-server_retransmits";

/// Views on a range of time.
fn links(url: &str, range: &str) -> String {
    format!(
        "  the map:                   {url}/map?{range}\n  \
           the flows of the incident: {url}/flows?{range}&{ORDERS}\n  \
           what changed:              {url}/?{range}\n"
    )
}

/// Links to a range: from some seconds ago until now.
fn lately(url: &str, seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil().max(1.0);
    links(url, &format!("from=now-{minutes}m&to=now"))
}

pub(super) fn started(url: &str, options: &Demo, day: Day, pods: usize, incident: &Incident) {
    let of = incident.pod.of;
    eprintln!(
        "weir demo runs a shop: {pods} pods on {} nodes, real processes in network namespaces of their own. A day takes \
         {:?}, it is 8:00 now. Only the shop is measured, nothing else of this host.\n\n{}\n\
         From {}:00 to {}:00 each day, for the first time in {:.0} s, {PERCENT} % of the packets between orders and one pod of \
         {} are dropped.\nCtrl-C ends it and removes everything{}.",
        NODES.len(),
        options.day,
        lately(url, day.seconds),
        HOURS.0,
        HOURS.1,
        day.seconds_until(HOURS.0),
        of.name,
        options.data.as_ref().map_or_else(String::new, |data| format!(" but {}", data.display())),
    );
}

pub(super) fn incident_begins(incident: &Incident, url: &str, day: Day) {
    eprintln!(
        "\n{}:00: packets between orders and {} on {} are being dropped\n{}",
        HOURS.0,
        incident.pod.name,
        incident.node(),
        lately(url, day.seconds),
    );
}

pub(super) fn incident_ends() {
    eprintln!("{}:00: no more packets are dropped", HOURS.1);
}

pub(super) fn replayed(url: &str, played: &Played) {
    let second = |us: i64| Timestamp::from_microsecond(us).map(|at| at.as_second()).unwrap_or(0);
    let text =
        |us: i64| Timestamp::from_second(second(us)).map(|at| at.to_string()).unwrap_or_default();
    let story = &played.story;
    let began = story.day.began_us;
    let ended = began + (story.day.seconds * 1e6) as i64;
    // A margin, so that what was before and after is there to compare with.
    let margin = (story.incident.1 - story.incident.0) / 2;
    let range = |from: i64, to: i64| format!("from={}&to={}", text(from), text(to));
    let of_incident = range(story.incident.0 - margin, story.incident.1 + margin);
    eprintln!(
        "weir demo plays a day of a shop that was measured on {}: {} rows of flows, as if it had ended just now. \
         From {} to {} packets were dropped.\n\nThe incident\n{}\nThe whole day\n{}\n\
         Ctrl-C ends it.",
        text(played.recorded),
        played.rows,
        text(story.incident.0),
        text(story.incident.1),
        links(url, &of_incident),
        links(url, &range(began, ended)),
    );
}
