//! How a function reaches DynamoDB.
//!
//! `aws_config` would look for settings in files and services that Lambda does not have, and with
//! that code the binary is half a megabyte larger. Lambda passes everything in the environment.

use std::fs;

use aws_config::{
    ecs::EcsCredentialsProvider, environment::EnvironmentVariableCredentialsProvider,
    meta::credentials::CredentialsProviderChain, provider_config::ProviderConfig,
};
use aws_sdk_dynamodb::{
    Client,
    config::{
        BehaviorVersion, Region,
        endpoint::{DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint},
    },
};
use aws_smithy_http_client::{
    Builder, Connector,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use futures_util::FutureExt;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::Pace;
use crate::config::{ConfigError, variable};

/// What TLS is made of.
const TLS: Provider = Provider::Rustls(CryptoMode::Ring);
/// The roots of the certificates of AWS.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon_roots.pem");
/// How the names of the regions begin whose certificates have those roots. China, the sovereign
/// cloud of Europe and the isolated regions are partitions with rules of their own.
const REGIONS_WITH_AMAZON_ROOTS: [&str; 9] =
    ["af-", "ap-", "ca-", "eu-", "il-", "me-", "mx-", "sa-", "us-"];
/// What is in the name of an isolated region.
const ISOLATED: &str = "-iso";

/// Where DynamoDB is, and whose certificate it has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    region: String,
    endpoint: Option<String>,
    use_fips: bool,
    use_dual_stack: bool,
    trust: Trust,
}

/// The roots that a certificate is accepted by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    /// Those of AWS, which are compiled in: to find and read the system's takes several
    /// milliseconds.
    Amazon,
    /// The system's.
    System,
    /// Those of a file.
    Bundle(Vec<u8>),
}

impl Connection {
    /// The connection that the environment describes, by the variables of the AWS SDKs.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(variable)
    }

    /// The connection that variables describe, whose values `get` returns.
    fn read(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION"));
        let region = region.ok_or_else(|| ConfigError::new("AWS_REGION", "is not set"))?;
        let is_on = |name| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = match is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
            true => None,
            false => get("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| get("AWS_ENDPOINT_URL")),
        };
        let trust = match get("AWS_CA_BUNDLE") {
            Some(file) => Trust::Bundle(read_bundle(&file)?),
            None if has_amazon_roots(&region, endpoint.as_deref()) => Trust::Amazon,
            None => Trust::System,
        };
        Ok(Self {
            region,
            endpoint,
            use_fips: is_on("AWS_USE_FIPS_ENDPOINT"),
            use_dual_stack: is_on("AWS_USE_DUALSTACK_ENDPOINT"),
            trust,
        })
    }

    /// A client. All its requests share one pool of connections.
    ///
    /// # Errors
    /// The region has no such endpoint.
    pub fn client(&self, pace: &Pace) -> Result<Client, ConfigError> {
        let http_client = self.http_client(pace);
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .endpoint_resolver(self.endpoint()?)
            .credentials_provider(credentials(http_client.clone()))
            .http_client(http_client);
        Ok(Client::from_conf(pace.client_config(config).build()))
    }

    /// Where all requests go.
    fn endpoint(&self) -> Result<FixedEndpoint, ConfigError> {
        let wrong = |problem: String| ConfigError::new("AWS_REGION", problem);
        let params = Params::builder()
            .region(&self.region)
            .set_endpoint(self.endpoint.clone())
            .use_fips(self.use_fips)
            .use_dual_stack(self.use_dual_stack)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let resolver = DefaultResolver::new();
        let endpoint = resolver.resolve_endpoint(&params).now_or_never();
        let endpoint = endpoint.ok_or_else(|| wrong("has no endpoint".to_owned()))?;
        endpoint.map(FixedEndpoint).map_err(|error| wrong(error.to_string()))
    }

    /// The SDK would make a connector for each set of time-outs, and one more to check the
    /// configuration. All of them read the roots.
    fn http_client(&self, pace: &Pace) -> SharedHttpClient {
        let roots = match &self.trust {
            Trust::Amazon => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
            Trust::System => TrustStore::default(),
            Trust::Bundle(roots) => TrustStore::empty().with_pem_certificate(roots.clone()),
        };
        let settings = HttpConnectorSettings::builder().connect_timeout(pace.connect).build();
        let connector = Connector::builder().connector_settings(settings).tls_provider(TLS);
        let connector = match TlsContext::builder().with_trust_store(roots).build() {
            Ok(context) => connector.tls_context(context),
            // Without a context, a connector trusts the system's roots.
            Err(_) => connector,
        };
        let connector = SharedHttpConnector::new(connector.build());
        http_client_fn(move |_, _| connector.clone())
    }
}

/// What programs outside Lambda speak HTTP by. It trusts the roots of the system.
#[must_use]
pub fn https_client() -> SharedHttpClient {
    Builder::new().tls_provider(TLS).build_https()
}

/// The endpoint of all requests. The SDK would work it out by its rules for most of them, since it
/// remembers only the last one, and they depend on the tables that a request names.
#[derive(Debug)]
struct FixedEndpoint(Endpoint);

impl ResolveEndpoint for FixedEndpoint {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}

/// Lambda passes credentials in the environment, or says there where to ask for them.
fn credentials(http_client: SharedHttpClient) -> CredentialsProviderChain {
    let config = ProviderConfig::without_region().with_http_client(http_client);
    let asked_for = EcsCredentialsProvider::builder().configure(&config).build();
    CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("Container", asked_for)
}

/// Whether the certificate of an endpoint has one of the roots of AWS.
fn has_amazon_roots(region: &str, endpoint: Option<&str>) -> bool {
    match endpoint {
        // Without TLS, no roots are needed, and these take the least time to read.
        Some(url) => url.starts_with("http:"),
        None => {
            let begins = REGIONS_WITH_AMAZON_ROOTS.iter().any(|begin| region.starts_with(begin));
            begins && !region.contains(ISOLATED)
        }
    }
}

/// Reads certificates that a client can be made with: it would panic at others.
fn read_bundle(file: &str) -> Result<Vec<u8>, ConfigError> {
    let wrong = |problem: String| ConfigError::new("AWS_CA_BUNDLE", format!("{file:?} {problem}"));
    let text = fs::read(file).map_err(|error| wrong(format!("can't be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| wrong(format!("is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(format!("has no certificate: {error}")))?;
    }
    match roots.is_empty() {
        true => Err(wrong("has no certificate".to_owned())),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(variables: &[(&str, &str)]) -> Result<Connection, ConfigError> {
        Connection::read(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn trust(variables: &[(&str, &str)]) -> Trust {
        connection(variables).unwrap().trust
    }

    #[test]
    fn the_compiled_roots_are_those_that_the_system_trusts() {
        let system = rustls_native_certs::load_native_certs().certs;
        let roots: Vec<_> =
            CertificateDer::pem_slice_iter(AMAZON_ROOTS).collect::<Result<_, _>>().unwrap();
        assert_eq!(roots.len(), 5);
        for root in &roots {
            assert!(system.contains(root));
        }
    }

    #[test]
    fn only_the_own_endpoints_of_aws_are_known_to_have_its_roots() {
        for region in ["eu-west-1", "us-gov-west-1", "ap-southeast-7", "mx-central-1"] {
            assert_eq!(trust(&[("AWS_REGION", region)]), Trust::Amazon, "{region}");
        }
        for region in ["cn-north-1", "us-iso-east-1", "eu-isoe-west-1", "eusc-de-east-1", "xy-1"] {
            assert_eq!(trust(&[("AWS_REGION", region)]), Trust::System, "{region}");
        }
        let region = ("AWS_REGION", "eu-west-1");
        for (url, expected) in [
            ("https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com", Trust::System),
            ("http://127.0.0.1:8000", Trust::Amazon),
        ] {
            for variable in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
                assert_eq!(trust(&[region, (variable, url)]), expected, "{url}");
            }
        }
        let ignored = [
            region,
            ("AWS_ENDPOINT_URL", "https://localhost"),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ];
        assert_eq!(trust(&ignored), Trust::Amazon);
    }

    #[test]
    fn a_bundle_is_read_at_once_and_what_is_no_certificate_is_refused() {
        let folder = std::env::temp_dir().join(format!("statshub-bundle-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("bundle.pem");
        let name = file.to_str().unwrap();
        let variables = [("AWS_REGION", "eu-west-1"), ("AWS_CA_BUNDLE", name)];
        let not_a_certificate =
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".as_bytes();
        for wrong in [&b""[..], b"text", not_a_certificate] {
            fs::write(&file, wrong).unwrap();
            let error = connection(&variables).unwrap_err().to_string();
            assert!(error.starts_with("AWS_CA_BUNDLE: "), "{error}");
        }
        fs::write(&file, AMAZON_ROOTS).unwrap();
        assert_eq!(trust(&variables), Trust::Bundle(AMAZON_ROOTS.to_vec()));
        fs::remove_dir_all(&folder).unwrap();
        let error = connection(&variables).unwrap_err().to_string();
        assert!(error.contains("can't be read"), "{error}");
    }

    #[test]
    fn requests_go_where_the_sdk_would_send_them() {
        let url = |variables: &[(&str, &str)]| {
            connection(variables).unwrap().endpoint().map(|endpoint| endpoint.0.url().to_owned())
        };
        let region = ("AWS_REGION", "eu-west-1");
        for (more, expected) in [
            (("", ""), "https://dynamodb.eu-west-1.amazonaws.com"),
            (("AWS_USE_FIPS_ENDPOINT", "true"), "https://dynamodb-fips.eu-west-1.amazonaws.com"),
            (("AWS_USE_DUALSTACK_ENDPOINT", "true"), "https://dynamodb.eu-west-1.api.aws"),
            (("AWS_ENDPOINT_URL", "http://localhost:1"), "http://localhost:1"),
            (("AWS_REGION", "cn-north-1"), "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(url(&[more, region]).unwrap(), expected);
        }
        let both = [region, ("AWS_ENDPOINT_URL", "http://a"), ("AWS_USE_FIPS_ENDPOINT", "true")];
        assert!(url(&both).unwrap_err().to_string().starts_with("AWS_REGION: "));
    }

    #[test]
    fn a_region_is_needed() {
        let error = connection(&[]).unwrap_err();
        assert_eq!(error.to_string(), "AWS_REGION: is not set");
        assert!(connection(&[("AWS_DEFAULT_REGION", "eu-west-1")]).is_ok());
    }
}
