//! Google's credentials, and the access tokens they give.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use google_cloud_auth::credentials::{
    AccessTokenCredentials, external_account, service_account, user_account,
};
use serde_json::Value;

use crate::{BigQueryError, config::Access, failure::Failure};

/// What the tokens allow: to use BigQuery, as far as the account's roles go.
const SCOPE: &str = "https://www.googleapis.com/auth/bigquery";
/// A token that the emulator accepts.
const EMULATOR_TOKEN: &str = "emulator";
/// How long built credentials are held with their token, which lasts an hour.
///
/// The library refreshes a token in the background, by a clock that may stand still while Lambda
/// freezes the process. So don't rely on that: build the credentials anew.
const LONGEST_HOLD: Duration = Duration::from_secs(30 * 60);

/// Google's credentials, of a kind that is supported.
#[derive(Clone)]
pub struct Credentials {
    kind: CredentialKind,
    json: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CredentialKind {
    ServiceAccount,
    AuthorizedUser,
    /// An account of AWS that workload identity federation trusts: no key of Google exists.
    ExternalAccount,
}

impl Credentials {
    /// Reads credentials from JSON, as Google's console and `gcloud` give them.
    ///
    /// # Errors
    /// The text is not JSON, or of another kind. The error shows nothing of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut json: Value = serde_json::from_str(text)
            .map_err(|_| "is not JSON: Google credentials are".to_owned())?;
        let kind = match json.get("type").and_then(Value::as_str) {
            Some("service_account") => CredentialKind::ServiceAccount,
            Some("authorized_user") => CredentialKind::AuthorizedUser,
            Some("external_account") => CredentialKind::ExternalAccount,
            _ => {
                return Err(
                    "must be credentials whose `type` is service_account, authorized_user or \
                            external_account"
                        .to_owned(),
                );
            }
        };
        if kind == CredentialKind::ExternalAccount {
            require_aws(&mut json)?;
        }
        Ok(Self { kind, json })
    }

    /// Whether they hold a secret that is valid until somebody revokes it. Whoever finds it can use
    /// it from anywhere.
    #[must_use]
    pub fn are_long_lived(&self) -> bool {
        match self.kind {
            CredentialKind::ServiceAccount | CredentialKind::AuthorizedUser => true,
            CredentialKind::ExternalAccount => false,
        }
    }

    fn build(&self) -> Result<AccessTokenCredentials, BigQueryError> {
        let json = self.json.clone();
        let built = match self.kind {
            CredentialKind::ServiceAccount => service_account::Builder::new(json)
                .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
                .build_access_token_credentials(),
            CredentialKind::AuthorizedUser => user_account::Builder::new(json)
                .with_scopes([SCOPE])
                .build_access_token_credentials(),
            CredentialKind::ExternalAccount => external_account::Builder::new(json)
                .with_scopes([SCOPE])
                .build_access_token_credentials(),
        };
        built.map_err(|error| BigQueryError::Credentials(error.into()))
    }
}

/// Requires that an external account is one of AWS, which the functions have in their environment.
fn require_aws(json: &mut Value) -> Result<(), String> {
    let source = json.get_mut("credential_source").and_then(Value::as_object_mut);
    let is_aws = |environment: &Value| {
        environment.as_str().is_some_and(|environment| environment.starts_with("aws"))
    };
    match source {
        Some(source) if source.get("environment_id").is_some_and(is_aws) => {
            // The metadata service of EC2, which Lambda functions can't reach.
            source.remove("imdsv2_session_token_url");
            Ok(())
        }
        _ => Err("must be an external_account whose credential_source is AWS (`environment_id`)"
            .to_owned()),
    }
}

/// Shows no secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Where access tokens come from.
#[derive(Debug)]
pub(crate) enum AccessTokens {
    Emulator,
    Google { credentials: Credentials, held: Mutex<Option<HeldCredentials>> },
}

#[derive(Debug, Clone)]
pub(crate) struct HeldCredentials {
    credentials: AccessTokenCredentials,
    since: SystemTime,
}

impl AccessTokens {
    /// # Errors
    /// The credentials lack something.
    pub(crate) fn new(access: &Access) -> Result<Self, BigQueryError> {
        match access {
            Access::Emulator(_) => Ok(Self::Emulator),
            Access::Google(credentials) => {
                let held = HeldCredentials::new(credentials)?;
                Ok(Self::Google { credentials: credentials.clone(), held: Mutex::new(Some(held)) })
            }
        }
    }

    /// A token that is valid now.
    ///
    /// # Errors
    /// Google gives none, for now or for good.
    pub(crate) async fn token(&self) -> Result<String, Failure> {
        let Self::Google { credentials, held } = self else {
            return Ok(EMULATOR_TOKEN.to_owned());
        };
        let current = held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let current = match current.filter(HeldCredentials::is_fresh) {
            Some(current) => current,
            None => {
                let new = HeldCredentials::new(credentials).map_err(Failure::Final)?;
                *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
                new
            }
        };
        match current.credentials.access_token().await {
            Ok(token) => Ok(token.token),
            Err(error) => {
                // The library would repeat this error for a while, or forever.
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

    /// Forgets the token, which BigQuery no longer takes.
    pub(crate) fn forget(&self) {
        if let Self::Google { held, .. } = self {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl HeldCredentials {
    fn new(credentials: &Credentials) -> Result<Self, BigQueryError> {
        Ok(Self { credentials: credentials.build()?, since: SystemTime::now() })
    }

    fn is_fresh(&self) -> bool {
        self.since.elapsed().is_ok_and(|age| age < LONGEST_HOLD)
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
    fn whatever_holds_a_key_of_google_is_long_lived() {
        let aws = r#"{"type":"external_account","credential_source":{"environment_id":"aws1"}}"#;
        for (text, long_lived) in [
            (r#"{"type":"service_account"}"#, true),
            (r#"{"type":"authorized_user"}"#, true),
            (aws, false),
        ] {
            assert_eq!(Credentials::parse(text).unwrap().are_long_lived(), long_lived, "{text}");
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
