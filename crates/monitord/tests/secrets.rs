//! What a configuration keeps secret stays out of the log.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;

use process::{Running, command, config, run, stderr, stdout};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

/// A word that stands in every place where a secret may, and nowhere else.
const SECRET: &str = "s3cret";

fn assert_no_secret(said: &str) {
    let told: Vec<_> = said.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:#?}");
}

/// OPS-47: the log of a daemon with secrets in URLs, headers and bodies, at its most talkative:
/// through a failure, a refused definition, an edit, a late result and the end.
#[tokio::test]
async fn no_secret_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let target = monitor_testkit::targets::Target::silent().await.unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"secrets.db\"\n\
         [[monitor]]\nid = \"down\"\nurl = \"http://127.0.0.1:1/?token={SECRET}#{SECRET}\"\n\
         interval = \"200ms\"\nheaders = {{ Authorization = \"Bearer {SECRET}\" }}\n\
         [[monitor]]\nid = \"hangs\"\nurl = \"{}?token={SECRET}\"\ninterval = \"1s\"\ntimeout = \"1h\"\n\
         expect_body = \"{SECRET}\"\nheaders = {{ Cookie = \"{SECRET}\" }}\n",
        target.url()
    );
    let path = config(folder.path(), &text);
    let mut command = command(&["run", "--config", &path, "--log-format", "json"]);
    command.env("RUST_LOG", "trace");
    let mut daemon = Running::start(command);
    let ready = daemon.until("\"ready\"");
    let (_, rest) = ready.split_once("http://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    // Perhaps before it was ready.
    daemon.until_said("\"status changed\"");

    let client = reqwest::Client::new();
    let send = async |method: Method, path: &str, body: serde_json::Value| {
        let request = client.request(method, format!("http://{address}{path}"));
        let request = request.header("content-type", "application/json");
        request
            .body(body.to_string())
            .send()
            .await
            .unwrap()
            .status()
    };
    let monitors = "/api/v1/monitors";
    let refused = json!({ "id": SECRET.to_uppercase(), "url": format!("http://u:{SECRET}@h/") });
    assert!(
        send(Method::POST, monitors, refused)
            .await
            .is_client_error()
    );
    let url = format!("http://127.0.0.1:1/?token={SECRET}");
    let taken = json!({ "id": "added", "url": url, "headers": { "X-Key": SECRET } });
    assert!(send(Method::POST, monitors, taken).await.is_success());
    target.until(|seen| seen.requests > 0).await;
    let pause = "/api/admin/probes/hangs/pause";
    assert!(send(Method::POST, pause, json!({})).await.is_success());
    daemon.until("late result refused");
    daemon.signal(Signal::TERM);
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0));
    assert!(said.lines().count() > 20, "it is talkative");
    assert_no_secret(&said);
}

/// OPS-47: nor do the messages about a configuration that is refused repeat what may be a secret,
/// wherever somebody has put it by mistake.
#[test]
fn no_secret_is_in_what_is_said_about_a_broken_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let urls = [
        format!("http://user:{SECRET}@h/"),
        format!("http:// user:{SECRET}@h/?key={SECRET}"),
        format!("https:/h/?key={SECRET}"),
        format!("h/p?key={SECRET}"),
        format!("ftp://user:{SECRET}@h/#{SECRET}"),
        format!("http://user:{SECRET}@h:port/"),
        format!("http://u:{SECRET}@::1/"),
    ];
    let monitor = |(number, url)| {
        format!(
            "[[monitor]]\nid = \"http://u:{SECRET}@h\"\nurl = {url:?}\n\
             headers = {{ Authorization = \"{SECRET}\\n\", X = 7 }}\n\
             [[monitor]]\nid = \"m{number}\"\ntcp = {url:?}\n"
        )
    };
    let monitors: String = urls.iter().enumerate().map(monitor).collect();
    let path = config(folder.path(), &monitors);
    let output = run(&["run", "--config", &path]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.lines().count() > 3 * urls.len(), "{said}");
    assert_no_secret(&said);
}

/// OPS-47: what is refused on the command line is not told with its password, whichever command
/// reads it and however it is written.
#[test]
fn no_secret_is_in_a_refused_argument() {
    let refused = [
        vec!["check", "http://u:PW@h h/"],
        vec!["check", "ftp://u:PW@h/"],
        vec!["check", "http://u:PW@h:port/"],
        vec!["jobs", "list", "--database", "mysql://u:PW@h/x"],
        vec!["jobs", "list", "--database", "postgres://u:PW@:port/x"],
        vec!["doctor", "--database", "mysql://u:PW@h/x"],
        vec!["explain", "m", "--url", "http://u:PW@h:port/"],
    ];
    for args in refused {
        let args: Vec<String> = args.iter().map(|arg| arg.replace("PW", SECRET)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = stderr(&output) + &stdout(&output);
        assert!(said.starts_with("monitord: "), "{said}");
        assert_no_secret(&said);
    }
}
