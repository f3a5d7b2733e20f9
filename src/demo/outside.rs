//! What is outside of the nodes: the network between them, the name server, the payment provider, S3, and visitors. All of it is in one
//! network namespace, with the addresses of everybody outside.

use std::fs;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::dns;
use super::node::{forward, ipv4_alone, until_the_end};
use super::process::{Orders, ip};
use super::rhythm::Day;
use super::service::{self, Service};
use super::shop::{DNS_PORT, NAME_SERVER, NAMES, NODES, PAYMENTS, S3, VISITORS, WAY_IN};

/// What it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    /// Lay a link to the node of this number, whose first process has this id.
    Link(u8, u32),
    /// Be everybody outside.
    Be(Vec<Service>, Day),
}

/// Runs until standard input ends.
///
/// # Errors
/// When something that it is told cannot be done.
pub(super) async fn outside() -> anyhow::Result<()> {
    let orders = Orders::new();
    orders.done(&build())?;
    while let Some(order) = orders.next(|| Ok(()))? {
        match order {
            Order::Link(number, id) => orders.done(&link(number, id))?,
            Order::Be(services, day) => {
                let names = NAMES.map(|(_, name, address)| (name.to_owned(), address)).into();
                let running = tokio::spawn(async move {
                    tokio::select! {
                        ended = dns::serve((NAME_SERVER, DNS_PORT).into(), &names) => ended,
                        ended = service::run(&services, day) => ended,
                    }
                });
                orders.done(&Ok(()))?;
                return until_the_end(orders, running).await;
            }
        }
    }
    Ok(())
}

fn build() -> anyhow::Result<()> {
    ipv4_alone()?;
    let mut lines = vec![
        "link set lo up".to_owned(),
        // Its own address: a bridge without one takes that of a link, another one with each link that comes, and nodes
        // go on writing to the one before.
        "link add between address 02:00:00:00:00:fe type bridge".to_owned(),
        format!("address add {WAY_IN}/24 dev between"),
        "link set between up".to_owned(),
    ];
    let everybody = [S3, PAYMENTS, NAME_SERVER].into_iter().chain(VISITORS);
    lines.extend(everybody.map(|address| format!("address add {address}/32 dev lo")));
    for node in NODES {
        lines.push(format!("route add 10.244.{}.0/24 via {}", node.number, node.address()));
    }
    ip(&lines)?;
    forward()
}

fn link(number: u8, id: u32) -> anyhow::Result<()> {
    let id = fs::read_to_string(format!("/proc/{id}/stat"))
        .map(|_| id)
        .with_context(|| format!("node {number} has ended"))?;
    ip(&[
        format!("link add node{number} type veth peer name eth0 netns {id}"),
        format!("link set node{number} master between"),
        format!("link set node{number} up"),
    ])
}
