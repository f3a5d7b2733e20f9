//! Lists as providers publish them, and lists that none of them would.

use super::compact::{compact, parse};
use super::*;

const AWS: &str = r#"{"syncToken": "1", "prefixes": [
    {"ip_prefix": "192.0.2.0/24", "region": "eu-west-1", "service": "AMAZON"},
    {"ip_prefix": "192.0.2.0/24", "region": "eu-west-1", "service": "S3"},
    {"ip_prefix": "192.0.2.0/24", "region": "eu-west-1", "service": "EC2"},
    {"ip_prefix": "192.0.2.128/25", "region": "eu-west-1", "service": "AMAZON"},
    {"ip_prefix": "192.0.2.128/25", "region": "eu-west-1", "service": "DYNAMODB"},
    {"ip_prefix": "192.0.2.130/32", "region": "eu-west-1", "service": "DYNAMODB"}],
    "ipv6_prefixes": [{"ipv6_prefix": "2001:db8::/32", "region": "us-east-1", "service": "AMAZON"}]}"#;
const GOOGLE: &str = r#"{"prefixes": [
    {"ipv4Prefix": "198.51.100.0/24", "service": "Google Cloud", "scope": "europe-west1"},
    {"ipv6Prefix": "2001:db8:1::/48", "service": "Google Cloud", "scope": "asia-east1"}]}"#;
const AZURE: &str = r#"{"cloud": "Public", "values": [
    {"name": "AzureCloud", "properties": {"region": "", "addressPrefixes": ["203.0.113.0/24"]}},
    {"name": "Storage", "properties": {"region": "", "addressPrefixes": ["203.0.113.0/25"]}},
    {"name": "Storage.WestEurope", "properties":
        {"region": "westeurope", "addressPrefixes": ["203.0.113.0/25"]}}]}"#;

fn examples() -> Clouds {
    let lists = [AWS, GOOGLE, AZURE].map(|text| Published::parse(text.as_bytes()).unwrap());
    Clouds::with(&lists)
}

#[test]
fn a_service_beats_virtual_machines_and_these_beat_the_provider() {
    let clouds = examples();
    for (address, service, region) in [
        ("192.0.2.1", "S3", "eu-west-1"),
        ("192.0.2.130", "DYNAMODB", "eu-west-1"),
        ("2001:db8::1", "AMAZON", "us-east-1"),
        ("198.51.100.7", "Google Cloud", "europe-west1"),
        ("2001:db8:1::1", "Google Cloud", "asia-east1"),
        ("203.0.113.1", "Storage", "westeurope"),
        ("203.0.113.200", "AzureCloud", ""),
    ] {
        assert_eq!(clouds.get(address.parse().unwrap()), Some((service, region)), "{address}");
    }
}

#[test]
fn the_compact_form_says_the_same_in_fewer_lines() {
    let lists = [AWS, GOOGLE, AZURE].map(|text| text.as_bytes().to_vec());
    let text = compact(&lists).unwrap();
    assert_eq!(text.lines().count(), 1 + 3 + 2 + 2, "{text}");
    let lists = parse(&text).unwrap();
    let clouds = Clouds::with(&lists);
    let published = examples();
    for address in ["192.0.2.1", "192.0.2.130", "198.51.100.7", "203.0.113.1", "2001:db8::1"] {
        let address = address.parse().unwrap();
        assert_eq!(clouds.get(address), published.get(address));
    }
}

#[test]
fn what_is_no_list_is_refused_by_what_it_is() {
    for text in ["", "[]", "{}", r#"{"prefixes": []}"#, r#"{"prefixes": [{"ip_prefix": 1}]}"#] {
        assert!(Published::parse(text.as_bytes()).is_err(), "{text}");
    }
    let azure = |name: &str, prefixes: &str| {
        let tag =
            format!(r#"{{"name": "{name}", "properties": {{"addressPrefixes": {prefixes}}}}}"#);
        Published::parse(format!(r#"{{"values": [{tag}]}}"#).as_bytes()).map(|_| ())
    };
    assert!(matches!(azure("x", "[]"), Err(CloudError::Empty)));
    // Nothing is left out without a word.
    let error = azure("Storage", r#"["192.0.2.0/24", "192.0.2.0/40"]"#).unwrap_err();
    assert_eq!(error.to_string(), "`Storage` has a range `192.0.2.0/40`");
    assert!(matches!(azure(r"a\tb", r#"["192.0.2.0/24"]"#), Err(CloudError::Name(_))));
    assert!(parse("weir-clouds 2\n").is_none());
}

fn refusal(text: &str) -> String {
    Published::parse(text.as_bytes()).unwrap_err().to_string()
}

fn aws(prefixes: impl IntoIterator<Item = String>) -> String {
    let prefixes = prefixes.into_iter().map(|prefix| {
        format!(r#"{{"ip_prefix": "{prefix}", "region": "moon-1", "service": "S3"}}"#)
    });
    format!(r#"{{"prefixes": [{}]}}"#, prefixes.collect::<Vec<_>>().join(","))
}

fn published(count: usize) -> Published {
    let prefixes = (0..count).map(|n| format!("203.{}.{}.0/24", n / 256, n % 256));
    Published::parse(aws(prefixes).as_bytes()).unwrap()
}

#[test]
fn no_provider_has_such_ranges() {
    let wide = |prefix: &str| refusal(&aws([prefix.to_owned()]));
    assert_eq!(wide("0.0.0.0/0"), "`S3` is said to have all of 0.0.0.0/0");
    assert_eq!(wide("52.0.0.0/7"), "`S3` is said to have all of 52.0.0.0/7");
    assert_eq!(wide("::/0"), "`S3` is said to have all of ::/0");
    assert_eq!(wide("2000::/18"), "`S3` is said to have all of 2000::/18");
    for prefix in ["3.0.0.0/8", "2400::/19"] {
        assert!(Published::parse(aws([prefix.to_owned()]).as_bytes()).is_ok(), "{prefix}");
    }
    let many = refusal(&aws((0..33).map(|n| format!("{}.0.0.0/8", n + 20))));
    assert_eq!(many, format!("claims {} IPv4 addresses, over an eighth of all", 33u64 << 24));
    // One within the other is no more.
    let nested = (0..64).map(|n| format!("20.{n}.0.0/16")).chain(["20.0.0.0/8".into()]);
    assert!(Published::parse(aws(nested).as_bytes()).is_ok());
    let long = format!("{}{}", " ".repeat(usize::try_from(published::MAX_LIST).unwrap()), AWS);
    assert!(matches!(Published::parse(long.as_bytes()), Err(CloudError::Size)));
}

#[test]
fn a_list_takes_the_place_of_one_that_is_not_much_longer() {
    let before = published(100);
    assert!(published(50).can_replace(Some(&before)).is_ok());
    let error = published(49).can_replace(Some(&before)).unwrap_err().to_string();
    assert_eq!(error, "has 49 ranges, and the one that it would replace has 100");
    let google = Published::parse(GOOGLE.as_bytes()).unwrap();
    let error = google.can_replace(Some(&before)).unwrap_err().to_string();
    assert_eq!(error, "is the list `google`, and was `aws` before");
    // Nothing came before: the shipped list tells how long it ought to be.
    assert!(matches!(published(100).can_replace(None), Err(CloudError::Fewer { now: 100, .. })));
    assert!(published(5000).can_replace(None).is_ok());
}

#[test]
fn what_google_has_besides_its_cloud_has_no_region() {
    let text = r#"{"syncToken": "1", "creationTime": "2026-01-01T00:00:00", "prefixes": [
        {"ipv4Prefix": "8.8.8.0/24"}, {"ipv4Prefix": "198.51.100.128/25"},
        {"ipv6Prefix": "2001:db8::/32"}]}"#;
    let goog = Published::parse(text.as_bytes()).unwrap();
    // There is no such list among those that are shipped.
    assert!(goog.can_replace(None).is_ok());
    let cloud = Published::parse(GOOGLE.as_bytes()).unwrap();
    for lists in [[&goog, &cloud], [&cloud, &goog]] {
        let clouds = Clouds::with(lists);
        let get = |address: &str| clouds.get(address.parse().unwrap());
        assert_eq!(get("8.8.8.8"), Some(("Google", "")));
        assert_eq!(get("2001:db8::1"), Some(("Google", "")));
        assert_eq!(get("198.51.100.200"), Some(("Google Cloud", "europe-west1")));
        assert_eq!(get("2001:db8:1::1"), Some(("Google Cloud", "asia-east1")));
    }
    // Alone it leaves the shipped list of Google's cloud in use.
    let clouds = Clouds::with([&goog]);
    assert_eq!(clouds.get("34.1.208.1".parse().unwrap()), Some(("Google Cloud", "africa-south1")));
}
