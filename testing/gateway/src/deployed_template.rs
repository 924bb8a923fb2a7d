//! The API in `template.yaml`: its routes, its functions, its CORS. Reading it here saves saying it
//! twice.

use std::time::Duration;

use saphyr::{LoadableYamlNode, MappingOwned, YamlOwned};

use crate::routes::{InvalidKey, Routes};

/// The API and the functions of a template.
#[derive(Debug, Clone)]
pub struct Template {
    /// The routes, each with the binary that answers.
    pub routes: Routes,
    /// The functions.
    pub functions: Vec<DeployedFunction>,
    /// The rules for browsers, once there are origins to let in.
    cors: Option<CorsRules>,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedFunction {
    /// Its binary, which is its name in the gateway.
    pub binary: String,
    /// How long it may take for an event. At most 15 minutes.
    pub timeout: Duration,
}

/// `CorsConfiguration` without its origins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CorsRules {
    methods: Vec<String>,
    headers: Vec<String>,
    exposed: Vec<String>,
    max_age: Option<u64>,
}

/// The rules for browsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// The origins whose pages may use the API; `*` stands for all.
    pub origins: Vec<String>,
    /// The methods that they may use.
    pub methods: Vec<String>,
    /// The headers that they may send, in lower case.
    pub headers: Vec<String>,
    /// The headers of answers that they may read.
    pub exposed: Vec<String>,
    /// For how many seconds a browser may keep these rules.
    pub max_age: Option<u64>,
}

/// Why a template can't be played.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is not YAML.
    #[error("the template is not YAML: {0}")]
    Yaml(String),
    /// It lacks something.
    #[error("the template has no {0}")]
    Missing(String),
    /// It has an invalid route.
    #[error(transparent)]
    Route(#[from] InvalidKey),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is not YAML, or lacks what an API of Lambda functions has.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let documents = YamlOwned::load_from_str(text)
            .map_err(|error| TemplateError::Yaml(error.to_string()))?;
        let document = documents.first().map(untagged);
        let resources = Resources(mapping(document, "Resources")?);
        let keys: Result<Vec<_>, _> = resources
            .of_type("AWS::ApiGatewayV2::Route")
            .map(|(name, route)| resources.route(name, route))
            .collect();
        let functions: Result<_, _> = resources
            .of_type("AWS::Serverless::Function")
            .map(|(name, function)| DeployedFunction::of(name, function))
            .collect();
        let api = resources.of_type("AWS::ApiGatewayV2::Api").next();
        let configuration = api.and_then(|(_, api)| property(api, "CorsConfiguration"));
        Ok(Self {
            routes: Routes::new(keys?)?,
            functions: functions?,
            cors: configuration.and_then(find_cors),
        })
    }

    /// The rules for browsers if the template's parameter `CorsOrigins` is this: origins separated
    /// by commas, or empty for none.
    #[must_use]
    pub fn cors(&self, origins: &str) -> Option<Cors> {
        let rules = self.cors.clone().filter(|_| !origins.is_empty())?;
        Some(Cors {
            origins: origins.split(',').map(str::to_owned).collect(),
            methods: rules.methods,
            headers: rules.headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            exposed: rules.exposed,
            max_age: rules.max_age,
        })
    }
}

impl DeployedFunction {
    fn of(name: &str, resource: &MappingOwned) -> Result<Self, TemplateError> {
        let seconds = property(resource, "Timeout").and_then(YamlOwned::as_integer);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            binary: binary(name, resource)?,
            timeout: Duration::from_secs(seconds.ok_or_else(|| missing(name, "Timeout"))?),
        })
    }
}

/// The resources by their names.
struct Resources<'a>(&'a MappingOwned);

impl<'a> Resources<'a> {
    fn of_type(&self, kind: &str) -> impl Iterator<Item = (&'a str, &'a MappingOwned)> {
        self.0.iter().filter_map(move |(name, resource)| {
            let resource = untagged(resource).as_mapping()?;
            let is_kind = get(resource, "Type").and_then(YamlOwned::as_str) == Some(kind);
            is_kind.then_some((name.as_str()?, resource))
        })
    }

    fn named(&self, name: &str) -> Option<&'a MappingOwned> {
        get(self.0, name)?.as_mapping()
    }

    /// The key of a route, and the binary that its integration leads to.
    fn route(&self, name: &str, route: &MappingOwned) -> Result<(String, String), TemplateError> {
        let text = |property_name| {
            let text = property(route, property_name).and_then(YamlOwned::as_str);
            text.ok_or_else(|| missing(name, property_name))
        };
        let target = text("Target")?;
        let integration = target
            .strip_prefix("integrations/${")
            .and_then(|target| target.strip_suffix('}'))
            .and_then(|integration| self.named(integration))
            .ok_or_else(|| missing(name, "integration"))?;
        let uri = property(integration, "IntegrationUri").and_then(YamlOwned::as_str);
        let function = uri.and_then(|uri| uri.strip_suffix(".Arn"));
        let function = function.ok_or_else(|| missing(name, "function"))?;
        let resource = self.named(function).ok_or_else(|| missing(name, function))?;
        Ok((text("RouteKey")?.to_owned(), binary(function, resource)?))
    }
}

/// `Metadata.BuildProperties.Binary` of a function.
fn binary(name: &str, resource: &MappingOwned) -> Result<String, TemplateError> {
    let metadata = get(resource, "Metadata").and_then(YamlOwned::as_mapping);
    let build = metadata.and_then(|metadata| get(metadata, "BuildProperties")?.as_mapping());
    let binary = build.and_then(|build| get(build, "Binary")?.as_str());
    binary.map(str::to_owned).ok_or_else(|| missing(name, "Binary"))
}

fn property<'a>(resource: &'a MappingOwned, name: &str) -> Option<&'a YamlOwned> {
    get(get(resource, "Properties")?.as_mapping()?, name)
}

fn get<'a>(mapping: &'a MappingOwned, name: &str) -> Option<&'a YamlOwned> {
    let (_, value) = mapping.iter().find(|(key, _)| key.as_str() == Some(name))?;
    Some(untagged(value))
}

fn mapping<'a>(yaml: Option<&'a YamlOwned>, name: &str) -> Result<&'a MappingOwned, TemplateError> {
    let mapping = yaml.and_then(|yaml| get(yaml.as_mapping()?, name)?.as_mapping());
    mapping.ok_or_else(|| TemplateError::Missing(name.to_owned()))
}

fn missing(resource: &str, what: &str) -> TemplateError {
    TemplateError::Missing(format!("{what} of {resource}"))
}

/// The value behind a tag, such as the text of `!Sub text`.
fn untagged(yaml: &YamlOwned) -> &YamlOwned {
    match yaml {
        YamlOwned::Tagged(_, value) => value,
        other => other,
    }
}

/// The rules are in a mapping, or in one of the cases of an `!If`.
fn find_cors(yaml: &YamlOwned) -> Option<CorsRules> {
    if let Some(cases) = yaml.as_sequence() {
        return cases.iter().map(untagged).find_map(find_cors);
    }
    let rules = yaml.as_mapping()?;
    let list = |name| {
        let items = get(rules, name).and_then(YamlOwned::as_sequence);
        let items = items.into_iter().flatten().filter_map(YamlOwned::as_str);
        items.map(str::to_owned).collect()
    };
    let max_age = get(rules, "MaxAge").and_then(YamlOwned::as_integer);
    Some(CorsRules {
        methods: list("AllowMethods"),
        headers: list("AllowHeaders"),
        exposed: list("ExposeHeaders"),
        max_age: max_age.and_then(|seconds| u64::try_from(seconds).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Resources:
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties:
      CorsConfiguration: !If
        - HasCors
        - AllowOrigins: !Split [",", !Ref CorsOrigins]
          AllowMethods: [GET, POST]
          AllowHeaders: [Authorization]
          ExposeHeaders: [age]
          MaxAge: 3600
        - !Ref AWS::NoValue
  It:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: it } }
    Properties: { Timeout: 29 }
  ItIntegration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      IntegrationUri: !GetAtt It.Arn
  ItRoute:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      RouteKey: "POST /stats/{id+}"
      Target: !Sub integrations/${ItIntegration}
"#;

    #[test]
    fn routes_lead_to_binaries_and_functions_have_their_time() {
        let template = Template::parse(TEMPLATE).unwrap();
        assert_eq!(template.routes, Routes::new([("POST /stats/{id+}", "it")]).unwrap());
        let it = DeployedFunction { binary: "it".to_owned(), timeout: Duration::from_secs(29) };
        assert_eq!(template.functions, [it]);
    }

    #[test]
    fn without_origins_browsers_are_told_nothing() {
        let template = Template::parse(TEMPLATE).unwrap();
        assert_eq!(template.cors(""), None);
        let cors = template.cors("https://a.example,https://b.example").unwrap();
        assert_eq!(cors.origins, ["https://a.example", "https://b.example"]);
        assert_eq!(cors.methods, ["GET", "POST"]);
        assert_eq!(cors.headers, ["authorization"]);
        assert_eq!(cors.exposed, ["age"]);
        assert_eq!(cors.max_age, Some(3_600));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (of, without, error) in [
            ("IntegrationUri: !GetAtt It.Arn", "X: y", "no function of ItRoute"),
            ("{ Timeout: 29 }", "{}", "no Timeout of It"),
            ("{ Binary: it }", "{}", "no Binary of It"),
            ("Resources:", "Other:", "no Resources"),
            ("\"POST /stats/{id+}\"", "stats", "\"stats\" is no key"),
        ] {
            let text = TEMPLATE.replace(of, without);
            let message = Template::parse(&text).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
        assert!(matches!(Template::parse("a: ["), Err(TemplateError::Yaml(_))));
    }

    /// The gateway can play the deployed template, and each of its routes leads to one of its
    /// binaries.
    #[test]
    fn the_template_of_this_project_is_read() {
        let template = Template::parse(include_str!("../../../template.yaml")).unwrap();
        let binaries: Vec<_> = template.functions.iter().map(|it| it.binary.as_str()).collect();
        assert_eq!(binaries, ["update", "query", "history", "dashboard", "archive"]);
        assert!(template.routes.all().iter().all(|route| binaries.contains(&&*route.function)));
        assert!(template.cors("*").is_some());
    }
}
