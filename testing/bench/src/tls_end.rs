//! A TLS end in front of a DynamoDB on this machine, and the authority that its certificate is
//! signed by. DynamoDB itself is only to be reached by TLS.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// Where the system has its roots, as far as distributions of Linux agree on a place.
const SYSTEM_ROOTS: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// An end of TLS on a loopback port, for as long as the runtime runs.
#[derive(Debug, Clone)]
pub struct TlsEnd {
    /// Where it listens, as a URL.
    pub url: String,
    /// A file with the root of its certificate.
    pub root: PathBuf,
    /// A file with the system's roots, and this one.
    pub all_roots: PathBuf,
}

impl TlsEnd {
    /// Starts an end of TLS that passes everything on to `upstream`, a `host:port`. Its files go to
    /// `folder`.
    ///
    /// # Errors
    /// There is no port left, or the files can't be written.
    pub async fn start(upstream: String, folder: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new([])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let root = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let host = Ipv4Addr::LOCALHOST.to_string();
        let certificate = CertificateParams::new([host])?.signed_by(&key, &issuer)?;

        fs::create_dir_all(folder)?;
        let (root_file, all_roots) = (folder.join("root.pem"), folder.join("all-roots.pem"));
        let system = SYSTEM_ROOTS.iter().find_map(|file| fs::read_to_string(file).ok());
        let system = system.context("the roots of this system are not where they are expected")?;
        fs::write(&all_roots, format!("{system}\n{root}"))?;
        fs::write(&root_file, root)?;

        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        // As DynamoDB has it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("https://{}", listener.local_addr()?);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(loopback::accept(listener, move |stream, _| {
            let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
            async move {
                // A client that breaks off is no news.
                let _ = pass_on(acceptor, stream.into_inner(), &upstream).await;
            }
        }));
        Ok(Self { url, root: root_file, all_roots })
    }
}

async fn pass_on(acceptor: TlsAcceptor, client: TcpStream, upstream: &str) -> std::io::Result<()> {
    let mut client = acceptor.accept(client).await?;
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}
