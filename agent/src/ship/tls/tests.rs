//! Real handshakes on loopback.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::super::post::{Poster, SendError, Target};
use super::*;

/// An authority, and the folder that its files are in.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for 127.0.0.1 and its key, in PEM.
    fn issue(&self, last_year: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    /// The same as files.
    fn client(&self) -> (PathBuf, PathBuf) {
        let (cert, key) = self.issue(2100);
        let at = |name: &str| self.folder.path().join(name);
        fs::write(at("client.pem"), cert).unwrap();
        fs::write(at("client.key"), key).unwrap();
        (at("client.pem"), at("client.key"))
    }
}

/// Answers every request with 204, for as long as the test runs; clients need a certificate of `clients`, if given.
fn server(of: &Authority, last_year: i32, clients: Option<&Authority>) -> String {
    let (cert, key) = of.issue(last_year);
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let mut buffer = [0; 4096];
            // A handshake that fails ends the connection.
            while let Ok(1..) = stream.read(&mut buffer) {
                if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                    break;
                }
            }
        }
    });
    url
}

fn post(url: &str, files: TlsFiles) -> Result<(), String> {
    let target = Target { server: url.to_owned(), token_file: None };
    let poster = Poster::new(target, Arc::new(Clients::new(files).unwrap()));
    poster.post("/v1/flows", b"", &[]).map_err(|error: SendError| error.to_string())
}

#[test]
fn a_private_authority_is_trusted_if_it_is_given() {
    let (ours, other) = (Authority::new(), Authority::new());
    let url = server(&ours, 2100, None);
    let trusting = |ca: Option<PathBuf>| TlsFiles { ca, client: None };
    assert_eq!(post(&url, trusting(Some(ours.ca()))), Ok(()));
    for wrong in [None, Some(other.ca())] {
        let error = post(&url, trusting(wrong)).unwrap_err();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
    let url = server(&ours, 2021, None);
    let error = post(&url, trusting(Some(ours.ca()))).unwrap_err();
    assert!(error.to_lowercase().contains("expired"), "{error}");
}

#[test]
fn a_server_that_asks_who_is_there_is_told() {
    let (ours, other) = (Authority::new(), Authority::new());
    let url = server(&ours, 2100, Some(&ours));
    let known = |client| TlsFiles { ca: Some(ours.ca()), client };
    assert_eq!(post(&url, known(Some(ours.client()))), Ok(()));
    for wrong in [None, Some(other.client())] {
        assert!(post(&url, known(wrong)).is_err());
    }
}

#[test]
fn renewed_certificates_are_used_and_damaged_ones_are_not() {
    let (ours, other) = (Authority::new(), Authority::new());
    let url = server(&ours, 2100, None);
    let ca = ours.ca();
    fs::copy(other.ca(), &ca).unwrap();
    let files = TlsFiles { ca: Some(ca.clone()), client: None };
    let target = Target { server: url, token_file: None };
    let poster = Poster::new(target, Arc::new(Clients::new(files).unwrap()));
    assert!(poster.post("/", b"", &[]).is_err());
    fs::write(&ca, format!("# renewed\n{}", ours.issuer.pem())).unwrap();
    assert!(poster.post("/", b"", &[]).is_ok());
    fs::write(&ca, "nothing").unwrap();
    assert!(poster.post("/", b"", &[]).is_ok());
    fs::remove_file(&ca).unwrap();
    assert!(poster.post("/", b"", &[]).is_ok());
}

#[test]
fn files_of_no_use_are_named() {
    let ours = Authority::new();
    let (cert, key) = ours.client();
    let none = ours.folder.path().join("none");
    let refused = |ca: Option<&PathBuf>, client: Option<(&PathBuf, &PathBuf)>| {
        let client = client.map(|(cert, key)| (cert.clone(), key.clone()));
        Clients::new(TlsFiles { ca: ca.cloned(), client }).unwrap_err().to_string()
    };
    assert!(refused(Some(&none), None).contains("none cannot be read"));
    assert!(refused(Some(&key), None).contains("client.key has no certificate"));
    assert!(refused(None, Some((&cert, &cert))).contains("client.pem has no private key"));
}
