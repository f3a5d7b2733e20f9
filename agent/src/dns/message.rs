//! What is read of a message (RFC 1035, section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use simple_dns::rdata::RData;
use simple_dns::{Packet, PacketFlag, QTYPE, RCODE, TYPE};

/// Addresses of one answer that are kept.
const MAX_ADDRESSES: usize = 64;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    Question(Question),
    Answer(Answer),
}

/// Asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u16,
    /// The type that is asked for, or `other`.
    pub(super) kind: &'static str,
}

/// Answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: u16,
    /// The response code by its name in RFC 1035 and 2136, or `other`.
    pub(super) code: &'static str,
    /// The name that was asked for: where a chain of aliases begins.
    pub(super) name: Arc<str>,
    pub(super) addresses: Vec<IpAddr>,
    /// The shortest time to live of the answer's records, seconds.
    pub(super) ttl: u32,
}

/// Reads a message with one question, which is what is in use; `None` for any other.
pub(super) fn parse(bytes: &[u8]) -> Option<Parsed> {
    let packet = Packet::parse(bytes).ok()?;
    let [question] = packet.questions.as_slice() else { return None };
    let id = packet.id();
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Some(Parsed::Question(Question { id, kind: kind(question.qtype) }));
    }
    let mut addresses = Vec::new();
    let mut ttl = u32::MAX;
    for record in &packet.answers {
        match &record.rdata {
            RData::A(a) => addresses.push(IpAddr::from(Ipv4Addr::from(a.address))),
            RData::AAAA(a) => {
                addresses.push(IpAddr::from(Ipv6Addr::from(a.address)).to_canonical());
            }
            RData::CNAME(_) => {}
            _ => continue,
        }
        ttl = ttl.min(record.ttl);
    }
    addresses.truncate(MAX_ADDRESSES);
    let name = question.qname.to_string().trim_end_matches('.').to_ascii_lowercase();
    let code = code(packet.rcode());
    Some(Parsed::Answer(Answer { id, code, name: name.into(), addresses, ttl }))
}

fn kind(asked: QTYPE) -> &'static str {
    match asked {
        QTYPE::TYPE(TYPE::A) => "A",
        QTYPE::TYPE(TYPE::AAAA) => "AAAA",
        QTYPE::TYPE(TYPE::CNAME) => "CNAME",
        QTYPE::TYPE(TYPE::PTR) => "PTR",
        QTYPE::TYPE(TYPE::SRV) => "SRV",
        QTYPE::TYPE(TYPE::TXT) => "TXT",
        QTYPE::TYPE(TYPE::MX) => "MX",
        QTYPE::TYPE(TYPE::NS) => "NS",
        QTYPE::TYPE(TYPE::HTTPS) => "HTTPS",
        QTYPE::ANY => "ANY",
        _ => "other",
    }
}

fn code(code: RCODE) -> &'static str {
    match code {
        RCODE::NoError => "NOERROR",
        RCODE::FormatError => "FORMERR",
        RCODE::ServerFailure => "SERVFAIL",
        RCODE::NameError => "NXDOMAIN",
        RCODE::NotImplemented => "NOTIMP",
        RCODE::Refused => "REFUSED",
        _ => "other",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME};
    use simple_dns::{CLASS, Name, QCLASS, Question as Asked, ResourceRecord};

    use super::*;

    fn name(text: &str) -> Name<'_> {
        Name::new(text).unwrap()
    }

    fn asked(of: &str, kind: TYPE) -> Asked<'_> {
        Asked::new(name(of), kind.into(), QCLASS::CLASS(CLASS::IN), false)
    }

    pub(in crate::dns) fn question(id: u16, of: &str) -> Vec<u8> {
        let mut packet = Packet::new_query(id);
        packet.questions.push(asked(of, TYPE::A));
        packet.build_bytes_vec().unwrap()
    }

    /// Through an alias.
    pub(in crate::dns) fn answer(id: u16, of: &str, ttl: u32, to: &[IpAddr]) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        packet.questions.push(asked(of, TYPE::A));
        let alias = RData::CNAME(CNAME(name("alias.example.net")));
        packet.answers.push(ResourceRecord::new(name(of), CLASS::IN, 86_400, alias));
        for address in to {
            let data = match address {
                IpAddr::V4(ip) => RData::A(A { address: (*ip).into() }),
                IpAddr::V6(ip) => RData::AAAA(AAAA { address: (*ip).into() }),
            };
            let owner = name("alias.example.net");
            packet.answers.push(ResourceRecord::new(owner, CLASS::IN, ttl, data));
        }
        packet.build_bytes_vec_compressed().unwrap()
    }

    #[test]
    fn a_chain_of_aliases_belongs_to_the_name_that_was_asked_for() {
        let to = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let Some(Parsed::Answer(answer)) = parse(&answer(7, "Shop.Example.com", 300, &to)) else {
            panic!("it is an answer");
        };
        assert_eq!((answer.id, answer.code, &*answer.name), (7, "NOERROR", "shop.example.com"));
        assert_eq!((answer.addresses.as_slice(), answer.ttl), (&to[..], 300));
        let question = parse(&question(9, "example.com"));
        assert_eq!(question, Some(Parsed::Question(Question { id: 9, kind: "A" })));
    }

    #[test]
    fn a_real_servers_answer() {
        // dnsmasq 2.90: shop.test is hosted.test is 192.0.2.2.
        let hex = "1234858000010002000000000473686f7004746573740000010001c00c00050001000000000\
                   00d06686f73746564047465737400c02700010001000000000004c0000202";
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(pair).collect();
        let Some(Parsed::Answer(answer)) = parse(&bytes) else { panic!("it is an answer") };
        assert_eq!((&*answer.name, answer.code, answer.ttl), ("shop.test", "NOERROR", 0));
        assert_eq!(answer.addresses, ["192.0.2.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let whole = answer(7, "shop.example.com", 300, &["192.0.2.1".parse().unwrap()]);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn names_that_point_at_themselves_end() {
        let mut bytes = question(1, "example.com");
        // The name is a pointer to itself.
        bytes.truncate(12);
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(parse(&bytes), None);
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damage_never_panics(at in 0usize..100, byte in any::<u8>()) {
            let mut bytes = answer(7, "shop.example.com", 300, &["192.0.2.1".parse().unwrap()]);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = parse(&bytes);
        }
    }
}
