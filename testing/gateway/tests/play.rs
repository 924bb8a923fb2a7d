//! Clients on one side; on the other, processes that speak the runtime API, as on Lambda.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::{net::SocketAddr, process::Command, sync::Arc, thread, time::Duration};

use gateway::{
    deployed_template::Template,
    http_api::{HttpApi, LONGEST_INTEGRATION},
    listeners, runtime_api,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use ureq::{
    Agent, Body,
    http::{Request, Response},
};

const TEMPLATE: &str = r#"
Resources:
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties:
      CorsConfiguration:
        AllowMethods: [GET, POST]
        AllowHeaders: [authorization]
        ExposeHeaders: [age]
        MaxAge: 60
  It:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: it } }
    Properties: { Timeout: 29 }
  Job:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: job } }
    Properties: { Timeout: 900 }
  ItIntegration:
    Type: AWS::ApiGatewayV2::Integration
    Properties: { IntegrationUri: !GetAtt It.Arn }
  IdRoute:
    Type: AWS::ApiGatewayV2::Route
    Properties: { RouteKey: "POST /stats/{id+}", Target: !Sub "integrations/${ItIntegration}" }
  OtherRoute:
    Type: AWS::ApiGatewayV2::Route
    Properties: { RouteKey: $default, Target: !Sub "integrations/${ItIntegration}" }
"#;

/// A gateway, and the addresses of its two sides.
struct Gateway {
    clients: SocketAddr,
    processes: SocketAddr,
    agent: Agent,
}

impl Gateway {
    async fn start(origins: &str, longest: Duration) -> Self {
        let api = HttpApi::new(Template::parse(TEMPLATE).unwrap(), origins, longest);
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (clients, processes) = (listen().await, listen().await);
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        let gateway = Self {
            clients: clients.local_addr().unwrap(),
            processes: processes.local_addr().unwrap(),
            agent,
        };
        let functions = api.functions();
        tokio::spawn(listeners::clients(clients, Arc::new(api)));
        tokio::spawn(listeners::processes(processes, functions));
        gateway
    }

    /// Starts a process of a function. It answers each event by `answer`, and ends when that is
    /// none.
    fn process(
        &self,
        function: &str,
        answer: impl Fn(Value) -> Option<String> + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let api = runtime_api::endpoint(&self.processes.to_string(), function);
        thread::spawn(move || {
            let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
            let api = format!("{api}/2018-06-01/runtime/invocation");
            while let Ok(mut next) = agent.get(format!("{api}/next")).call() {
                let id =
                    next.headers()["lambda-runtime-aws-request-id"].to_str().unwrap().to_owned();
                let event = next.body_mut().read_json().unwrap();
                let Some(answer) = answer(event) else { return };
                agent.post(format!("{api}/{id}/response")).send(answer).unwrap();
            }
        })
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let (agent, address) = (self.agent.clone(), self.clients);
        tokio::task::spawn_blocking(move || {
            let (mut parts, body) = request.into_parts();
            parts.uri = format!("http://{address}{}", parts.uri).parse().unwrap();
            let response: Response<Body> = agent.run(Request::from_parts(parts, body)).unwrap();
            let (parts, mut body) = response.into_parts();
            let body = body.with_config().limit(100_000_000).read_to_vec().unwrap();
            Response::from_parts(parts, body)
        })
        .await
        .unwrap()
    }

    async fn get(&self, path: &str) -> Response<Vec<u8>> {
        self.send(Request::get(path).body(Vec::new()).unwrap()).await
    }
}

/// Answers with the event itself.
#[allow(clippy::unnecessary_wraps, reason = "a process may have no answer")]
fn echo(event: Value) -> Option<String> {
    Some(json!({"statusCode": 200, "body": event.to_string()}).to_string())
}

fn event(response: &Response<Vec<u8>>) -> Value {
    assert_eq!(response.status(), 200);
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn a_request_becomes_an_event_and_its_answer_a_response() {
    let gateway = Gateway::start("", LONGEST_INTEGRATION).await;
    gateway.process("it", echo);
    let request = Request::post("/stats/a%2Fb?x=1").header("X-A", "1").header("X-A", "2");
    let answer = gateway.send(request.body(b"\xff".to_vec()).unwrap()).await;
    let event = event(&answer);
    assert_eq!(event["pathParameters"]["id"], "a/b");
    assert_eq!(
        (&event["rawQueryString"], &event["headers"]["x-a"]),
        (&json!("x=1"), &json!("1,2"))
    );
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
    assert!(answer.headers().contains_key("apigw-requestid"));
}

#[tokio::test]
async fn the_answer_to_a_head_has_the_length_of_a_get_and_no_body() {
    let gateway = Gateway::start("", LONGEST_INTEGRATION).await;
    gateway.process("it", |_| Some(json!({"statusCode": 200, "body": "12345"}).to_string()));
    let head = gateway.send(Request::head("/x").body(Vec::new()).unwrap()).await;
    let get = gateway.get("/x").await;
    assert_eq!((&head.headers()["content-length"], head.body().len()), (&"5".parse().unwrap(), 0));
    assert_eq!((&get.headers()["content-length"], get.body().len()), (&"5".parse().unwrap(), 5));
}

#[tokio::test]
async fn large_answers_arrive_whole_and_larger_ones_than_lambda_carries_do_not() {
    let gateway = Gateway::start("", LONGEST_INTEGRATION).await;
    gateway.process("it", |event| {
        let bytes = event["rawQueryString"].as_str().unwrap().parse().unwrap();
        Some(json!({"statusCode": 200, "body": "x".repeat(bytes)}).to_string())
    });
    for bytes in [4_200_000, 6_200_000, 4_200_000, 6_200_000] {
        assert_eq!(gateway.get(&format!("/x?{bytes}")).await.body().len(), bytes);
    }
    let refused = gateway.get("/x?6300000").await;
    assert_eq!(refused.status(), 500);
    assert_eq!(refused.body(), br#"{"message":"Internal Server Error"}"#);
    let request = Request::post("/stats/a").body(vec![b'x'; 11_000_000]).unwrap();
    assert_eq!(gateway.send(request).await.status(), 413);
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_not_waited_for() {
    let gateway = Gateway::start("", Duration::from_millis(50)).await;
    assert_eq!(gateway.get("/x").await.status(), 503);
    // An event that no process took in time is not done later.
    gateway.process("it", echo);
    assert_eq!(event(&gateway.get("/y").await)["rawPath"], "/y");
}

#[tokio::test]
async fn a_process_that_ends_leaves_nobody_waiting() {
    let gateway = Gateway::start("", LONGEST_INTEGRATION).await;
    let ended = gateway.process("it", |_| None);
    let answer = gateway.get("/x").await;
    assert_eq!(answer.status(), 500);
    ended.join().unwrap();
    gateway.process("it", echo);
    assert_eq!(event(&gateway.get("/y").await)["rawPath"], "/y");
}

#[tokio::test]
async fn clients_do_not_reach_the_runtime_api() {
    let gateway = Gateway::start("", LONGEST_INTEGRATION).await;
    gateway.process("it", echo);
    let path = "/.rt/it/2018-06-01/runtime/invocation/next";
    assert_eq!(event(&gateway.get(path).await)["rawPath"], path);
}

/// As the listener does for a client on another machine.
async fn from_elsewhere(api: Arc<HttpApi>) -> SocketAddr {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4_711));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let api = api.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| api.clone().answer(request, peer));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn from_another_machine_only_the_api_is_reached_whatever_the_address_it_listens_on() {
    let api = HttpApi::new(Template::parse(TEMPLATE).unwrap(), "", LONGEST_INTEGRATION);
    let functions = api.functions();
    let elsewhere = from_elsewhere(Arc::new(api)).await;
    let processes = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = processes.local_addr().unwrap();
    tokio::spawn(listeners::processes(processes, functions));
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let gateway = Gateway { clients: elsewhere, processes: address, agent };
    gateway.process("it", echo);
    gateway.process("job", |_| panic!("a client on another machine invoked a function"));
    // All that is not a route of the API goes to `$default`: nothing takes an event, nothing
    // answers for a function, nothing invokes one.
    for path in [
        "/.rt/it/2018-06-01/runtime/invocation/next",
        "/.rt/it/2018-06-01/runtime/invocation/1/response",
        "/2018-06-01/runtime/invocation/next",
        "/2015-03-31/functions/job/invocations",
        "/2015-03-31/functions/it/invocations",
    ] {
        for method in ["GET", "POST"] {
            let request = Request::builder().method(method).uri(path);
            let answer = gateway.send(request.body(Vec::new()).unwrap()).await;
            assert_eq!(event(&answer)["rawPath"], path, "{method}");
            assert_eq!(event(&answer)["requestContext"]["http"]["sourceIp"], "192.0.2.1");
        }
    }
}

#[test]
fn the_runtime_api_listens_on_loopback_or_not_at_all() {
    let refused = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--runtime-listen",
            "0.0.0.0:0",
            "--template",
            "/dev/null",
        ])
        .output()
        .unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && error.contains("let it listen on loopback"), "{error}");
}

#[tokio::test]
async fn functions_can_be_invoked_as_by_lambdas_own_api() {
    let gateway = Gateway::start("", LONGEST_INTEGRATION).await;
    gateway.process("job", |event| Some(json!({"got": event}).to_string()));
    let invoke = async |name: &str| {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        gateway.send(Request::post(path).body(br#"{"a":1}"#.to_vec()).unwrap()).await
    };
    assert_eq!(event(&invoke("job").await), json!({"got": {"a": 1}}));
    assert_eq!(invoke("nobody").await.status(), 404);
}

#[tokio::test]
async fn pages_of_the_origins_of_the_template_are_let_in_and_no_others() {
    let gateway = Gateway::start("https://a.example", LONGEST_INTEGRATION).await;
    gateway.process("it", |_| Some(json!({"statusCode": 204}).to_string()));
    let ask = async |origin: &str| {
        let request = Request::options("/x").header("Origin", origin);
        let request = request.header("Access-Control-Request-Method", "POST");
        gateway.send(request.body(Vec::new()).unwrap()).await
    };
    let known = ask("https://a.example").await;
    assert_eq!(known.headers()["access-control-allow-origin"], "https://a.example");
    assert_eq!(known.headers()["access-control-allow-methods"], "GET,POST");
    let unknown = ask("https://b.example").await;
    assert!(!unknown.headers().contains_key("access-control-allow-origin"));
}
