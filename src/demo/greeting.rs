//! What the demo says, and the links that it gives.

use jiff::Timestamp;

use super::incident::HOURS;
use super::options::Demo;
use super::replay::Played;
use super::rhythm::{Day, FIRST_HOUR};
use super::shop::NODES;

/// The flows of the incident in a link: `workload="orders"` to `peer_workload="products"`, pod by pod, with what tells why.
const ORDERS: &str = "f=workload%3D%22orders%22&f=peer_workload%3D%22products%22&by=pod,peer_pod&\
    cols=bytes,server_retransmits,retransmits,server_timeouts,lost_tx,lost_rx,drops,server_drops,rtt_p99&order=-server_retransmits";

/// Views on a range of time.
fn links(url: &str, range: &str) -> String {
    format!(
        "  the map:                   {url}/map?{range}\n  \
           the flows of the incident: {url}/flows?{range}&{ORDERS}\n  \
           what changed:              {url}/?{range}\n"
    )
}

/// A moment, in microseconds since the Unix epoch, as links have it.
fn moment(us: i64) -> String {
    let whole = Timestamp::from_second(us.div_euclid(1_000_000));
    whole.map(|at| at.to_string()).unwrap_or_default()
}

/// From one moment to another.
fn between(from: i64, to: i64) -> String {
    format!("from={}&to={}", moment(from), moment(to))
}

/// It does not tell where packets get lost: that is what the map is for.
pub(super) fn started(url: &str, options: &Demo, day: Day, pods: usize) {
    let minutes = (day.seconds / 60.0).ceil();
    eprintln!(
        "weir demo runs a shop: {pods} pods on {} nodes, real processes in network namespaces of their own. A day takes \
         {:?}, it is {FIRST_HOUR}:00 now. Only the shop is measured, nothing else of this host.\n\n{}\n\
         From {}:00 to {}:00 each day, for the first time in {:.0} s, packets get lost somewhere. The map shows where, the flows \
         show why.\nCtrl-C ends it and removes everything{}.",
        NODES.len(),
        options.day,
        links(url, &format!("from=now-{minutes}m&to=now")),
        HOURS.0,
        HOURS.1,
        day.seconds_until(HOURS.0),
        options.data.as_ref().map_or_else(String::new, |data| format!(" but {}", data.display())),
    );
}

/// With links that show it from its beginning on.
pub(super) fn incident_begins(url: &str, since_us: i64) {
    let links = links(url, &format!("from={}&to=now", moment(since_us)));
    eprintln!("\n{}:00: packets get lost\n{links}", HOURS.0);
}

/// With links that show all of it.
pub(super) fn incident_ends(url: &str, since_us: i64, until_us: i64) {
    eprintln!(
        "{}:00: no more packets get lost\n{}",
        HOURS.1,
        links(url, &between(since_us, until_us))
    );
}

pub(super) fn replayed(url: &str, played: &Played) {
    let story = &played.story;
    let (began, (from, to)) = (story.day.began_us, story.incident);
    let ended = began + (story.day.seconds * 1e6) as i64;
    eprintln!(
        "weir demo plays a day of a shop that was measured on {}: {} rows of flows, as if it had ended just now. \
         From {} to {} packets got lost.\n\nThe incident\n{}\nThe whole day\n{}\nCtrl-C ends it.",
        moment(played.recorded),
        played.rows,
        moment(from),
        moment(to),
        links(url, &between(from, to)),
        links(url, &between(began, ended)),
    );
}
