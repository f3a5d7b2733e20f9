//! DNS of the demo: a name server for the few names that there are outside, and how programs ask it (RFC 1035). Agents read
//! both, which is how peers outside get their names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use simple_dns::rdata::{A, RData};
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};
use tokio::net::UdpSocket;

/// Seconds that an answer may be kept.
const TTL: u32 = 300;
/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most bytes of a message over UDP (RFC 1035, section 2.3.4).
const MESSAGE: usize = 512;

/// Answers for ever.
///
/// # Errors
/// When the place is refused.
pub(super) async fn serve(
    place: SocketAddr,
    names: &HashMap<String, Ipv4Addr>,
) -> anyhow::Result<()> {
    let socket =
        UdpSocket::bind(place).await.with_context(|| format!("cannot listen on {place}"))?;
    let mut message = [0; MESSAGE];
    loop {
        // An error is one of an earlier answer (nobody waited for it).
        let Ok((length, from)) = socket.recv_from(&mut message).await else { continue };
        let question = message.get(..length).unwrap_or_default();
        if let Ok(reply) = reply(question, names) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

fn reply(question: &[u8], names: &HashMap<String, Ipv4Addr>) -> anyhow::Result<Vec<u8>> {
    let mut packet = Packet::parse(question)?.into_reply();
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    let asked = packet.questions.first().context("nothing is asked")?.clone();
    let known = names.get(&asked.qname.to_string());
    match known {
        None => *packet.rcode_mut() = RCODE::NameError,
        // Of what is not IPv4 there is nothing.
        Some(address) if asked.qtype == QTYPE::TYPE(TYPE::A) => {
            let data = RData::A(A { address: (*address).into() });
            packet.answers.push(ResourceRecord::new(asked.qname, CLASS::IN, TTL, data));
        }
        Some(_) => {}
    }
    Ok(packet.build_bytes_vec()?)
}

/// Asks for the address of a name.
///
/// # Errors
/// When there is no answer in time, or none with an address.
pub(super) async fn resolve(server: SocketAddr, name: &str) -> anyhow::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // Only the server asked is heard on this socket, so one number does for all.
    socket.connect(server).await?;
    let mut packet = Packet::new_query(1);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let class = QCLASS::CLASS(CLASS::IN);
    packet.questions.push(Question::new(Name::new(name)?, QTYPE::TYPE(TYPE::A), class, false));
    socket.send(&packet.build_bytes_vec()?).await?;
    let mut message = [0; MESSAGE];
    let answer = tokio::time::timeout(PATIENCE, socket.recv(&mut message));
    let length = answer.await.with_context(|| format!("no answer about {name}"))??;
    let packet = Packet::parse(message.get(..length).unwrap_or_default())?;
    let mut addresses = packet.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(A { address }) => Some(Ipv4Addr::from(*address)),
        _ => None,
    });
    match addresses.next_back() {
        Some(address) => Ok(address.into()),
        None => bail!("{name} has no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_have_addresses_and_others_have_none() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = socket.local_addr().unwrap();
        drop(socket);
        let names = HashMap::from([("pay.example".to_owned(), Ipv4Addr::new(203, 0, 113, 80))]);
        let server = tokio::spawn(async move { serve(place, &names).await });
        // It may not listen yet: then the question is refused at once.
        let mut found = resolve(place, "pay.example").await;
        while found.is_err() && !server.is_finished() {
            found = resolve(place, "pay.example").await;
        }
        assert_eq!(found.unwrap(), IpAddr::from([203, 0, 113, 80]));
        let error = resolve(place, "none.example").await.unwrap_err();
        assert_eq!(error.to_string(), "none.example has no address");
    }
}
