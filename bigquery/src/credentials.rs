//! Google's credentials, and the access tokens that they give.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use google_cloud_auth::credentials::{
    AccessTokenCredentials, external_account, service_account, user_account,
};
use serde_json::Value;

use crate::{BigQueryError, client::Failure, config::Access};

/// What the tokens allow: to use BigQuery, as far as the account's roles go.
const SCOPE: &str = "https://www.googleapis.com/auth/bigquery";
/// What the emulator takes for a token.
const EMULATOR_TOKEN: &str = "emulator";
/// How long credentials are kept with their token, which lasts an hour.
///
/// The library refreshes a token in the background, by a clock that may stand still while Lambda freezes
/// the process. So it is not relied on after the first token, but told anew.
const KEPT: Duration = Duration::from_secs(30 * 60);

/// Google's credentials, of a kind that is supported.
#[derive(Clone)]
pub struct Credentials {
    kind: Kind,
    json: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ServiceAccount,
    AuthorizedUser,
    /// An account of AWS that is trusted by workload identity federation: no key of Google exists.
    ExternalAccount,
}

impl Credentials {
    /// Reads credentials from JSON, as Google's console and `gcloud` give them.
    ///
    /// # Errors
    /// It is not JSON, or of another kind; in words that show nothing of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut json: Value = serde_json::from_str(text)
            .map_err(|_| "is not JSON: Google credentials are".to_owned())?;
        let kind = match json.get("type").and_then(Value::as_str) {
            Some("service_account") => Kind::ServiceAccount,
            Some("authorized_user") => Kind::AuthorizedUser,
            Some("external_account") => Kind::ExternalAccount,
            _ => {
                return Err(
                    "must be credentials whose `type` is service_account, authorized_user or \
                            external_account"
                        .to_owned(),
                );
            }
        };
        if kind == Kind::ExternalAccount {
            require_aws(&mut json)?;
        }
        Ok(Self { kind, json })
    }

    fn build(&self) -> Result<AccessTokenCredentials, BigQueryError> {
        let json = self.json.clone();
        let built = match self.kind {
            Kind::ServiceAccount => service_account::Builder::new(json)
                .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
                .build_access_token_credentials(),
            Kind::AuthorizedUser => user_account::Builder::new(json)
                .with_scopes([SCOPE])
                .build_access_token_credentials(),
            Kind::ExternalAccount => external_account::Builder::new(json)
                .with_scopes([SCOPE])
                .build_access_token_credentials(),
        };
        built.map_err(|error| BigQueryError::Credentials(error.into()))
    }
}

/// An external account must be one of AWS: that is what the functions have in their environment.
fn require_aws(json: &mut Value) -> Result<(), String> {
    let source = json.get_mut("credential_source").and_then(Value::as_object_mut);
    let is_aws = |environment: &Value| {
        environment.as_str().is_some_and(|environment| environment.starts_with("aws"))
    };
    match source {
        Some(source) if source.get("environment_id").is_some_and(is_aws) => {
            // The metadata service of EC2, which no Lambda function reaches.
            source.remove("imdsv2_session_token_url");
            Ok(())
        }
        _ => Err("must be an external_account whose credential_source is AWS (`environment_id`)"
            .to_owned()),
    }
}

/// Shows nothing of what is secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Gives access tokens.
#[derive(Debug)]
pub(crate) enum Tokens {
    Emulator,
    Google { credentials: Credentials, kept: Mutex<Option<Kept>> },
}

#[derive(Debug, Clone)]
pub(crate) struct Kept {
    credentials: AccessTokenCredentials,
    since: SystemTime,
}

impl Tokens {
    /// # Errors
    /// The credentials lack something.
    pub(crate) fn new(access: &Access) -> Result<Self, BigQueryError> {
        match access {
            Access::Emulator(_) => Ok(Self::Emulator),
            Access::Google(credentials) => {
                let kept = Kept { credentials: credentials.build()?, since: SystemTime::now() };
                Ok(Self::Google { credentials: credentials.clone(), kept: Mutex::new(Some(kept)) })
            }
        }
    }

    /// A token that is good at the moment.
    ///
    /// # Errors
    /// Google gives none, at the moment or for good.
    pub(crate) async fn token(&self) -> Result<String, Failure> {
        let Self::Google { credentials, kept } = self else {
            return Ok(EMULATOR_TOKEN.to_owned());
        };
        let current = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = |kept: &Kept| kept.since.elapsed().is_ok_and(|age| age < KEPT);
        let current = match current.filter(is_fresh) {
            Some(current) => current,
            None => {
                let credentials = credentials.build().map_err(Failure::Final)?;
                let new = Kept { credentials, since: SystemTime::now() };
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
                new
            }
        };
        match current.credentials.access_token().await {
            Ok(token) => Ok(token.token),
            Err(error) => {
                // The library would repeat this error for a while, or for ever.
                self.forget();
                let is_transient = error.is_transient();
                let error = BigQueryError::Credentials(error.into());
                Err(match is_transient {
                    true => Failure::Again { error, after: Duration::ZERO },
                    false => Failure::Final(error),
                })
            }
        }
    }

    /// Forgets the token, since BigQuery takes it no more.
    pub(crate) fn forget(&self) {
        if let Self::Google { kept, .. } = self {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_kinds_and_sources_are_refused_without_being_shown() {
        for wrong in [
            "secret",
            "[]",
            r#"{"type":"secret"}"#,
            r#"{"type":"external_account","credential_source":{"file":"secret"}}"#,
            r#"{"type":"external_account","credential_source":{"executable":{"command":"secret"}}}"#,
            r#"{"type":"external_account"}"#,
        ] {
            let error = Credentials::parse(wrong).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_metadata_service_of_ec2_is_left_out() {
        let credentials = Credentials::parse(
            r#"{"type":"external_account","credential_source":{"environment_id":"aws1",
                "imdsv2_session_token_url":"http://169.254.169.254/latest/api/token"}}"#,
        );
        let credentials = credentials.unwrap();
        assert_eq!(credentials.json.pointer("/credential_source/imdsv2_session_token_url"), None);
    }
}
