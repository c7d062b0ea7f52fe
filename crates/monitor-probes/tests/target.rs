//! What people write to name a target, and what they are told when it is wrong.

use monitor_probes::{Target, TargetError, parse_target};
use proptest::prelude::*;

#[test]
fn good_targets() {
    for (text, shown) in [
        ("http://example.com", "http://example.com/"),
        (
            "HTTPS://Example.com:8443/a?b=c",
            "https://example.com:8443/a?b=c",
        ),
        ("https://[::1]:8443/", "https://[::1]:8443/"),
        (
            "http://b\u{fc}cher.example/",
            "http://xn--bcher-kva.example/",
        ),
        ("localhost:80", "localhost:80"),
        ("127.0.0.1:65535", "127.0.0.1:65535"),
        ("[::1]:5432", "[::1]:5432"),
        ("db.example.com:5432", "db.example.com:5432"),
        ("tcp://db.example.com:5432", "db.example.com:5432"),
        ("tcp://[::1]:5432/", "[::1]:5432"),
        // A name may look like a scheme.
        ("http:80", "http:80"),
    ] {
        let target = parse_target(text).expect(text);
        assert_eq!(target.to_string(), shown);
        let again: Target = target.to_string().parse().expect(shown);
        assert_eq!(again, target);
    }
}

/// Every mistake is told with what is wrong and what would be right.
#[test]
fn bad_targets() {
    let port = |given| format!("port {given:?} is not a number from 1 to 65535");
    for (text, named) in [
        (
            "",
            "give a URL such as https://example.com/ or host:port".to_owned(),
        ),
        (" ", "white space".to_owned()),
        ("http://exa mple.com/", "white space".to_owned()),
        ("http://example.com/\n", "white space".to_owned()),
        ("http://exam\tple.com/", "white space".to_owned()),
        (
            "example.com",
            "write https://example.com or example.com:443".to_owned(),
        ),
        ("[::1]", "write https://[::1] or [::1]:443".to_owned()),
        (
            "example.com/health",
            "write http://example.com/health or https://".to_owned(),
        ),
        ("example.com:80/health", "has no scheme".to_owned()),
        ("//example.com/", "has no scheme".to_owned()),
        ("http:/example.com", "http://example.com/".to_owned()),
        ("http//example.com", "comes \"://\"".to_owned()),
        ("https:/example.com", "comes \"://\"".to_owned()),
        (
            "ftp://example.com",
            "scheme \"ftp\" is not supported; supported are http".to_owned(),
        ),
        ("://example.com", "scheme \"\" is not supported".to_owned()),
        ("http://", "names no host".to_owned()),
        ("http:///path", "names no host".to_owned()),
        ("http://:80/", "names no host".to_owned()),
        (":80", "names no host".to_owned()),
        ("tcp://:80", "names no host".to_owned()),
        (
            "tcp://example.com",
            "neither a scheme nor a port".to_owned(),
        ),
        ("localhost:70000", port("70000")),
        ("localhost:0", port("0")),
        ("localhost:", port("")),
        ("localhost:http", port("http")),
        ("localhost:+80", port("+80")),
        ("localhost:-1", port("-1")),
        ("http://localhost:70000/", port("70000")),
        ("http://localhost:0/", port("0")),
        ("http://localhost:x/", port("x")),
        ("::1", "needs brackets, as in [::1]:8080".to_owned()),
        ("::1:8080", "needs brackets".to_owned()),
        ("http://::1:8080/", "needs brackets".to_owned()),
        ("http://[::1/", "no valid host".to_owned()),
        ("[::g]:80", "no valid host".to_owned()),
        ("1.2.3.999:80", "no valid host".to_owned()),
        ("http://1.2.3.999/", "no valid host".to_owned()),
        ("a..b:80", "nothing between two dots".to_owned()),
        (
            ".example.com:80",
            "nothing between two dots, or before the first".to_owned(),
        ),
        ("http://a..b/", "nothing between two dots".to_owned()),
        ("exa<mple:80", "no valid host".to_owned()),
        (
            "http://user:s3cret@example.com/",
            "authorization header".to_owned(),
        ),
        ("user@example.com:80", "authorization header".to_owned()),
    ] {
        let message = parse_target(text).expect_err(text).to_string();
        assert!(
            message.contains(&named),
            "{text:?}: {message:?} does not say {named:?}"
        );
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn long_input_is_quoted_short() {
    let label = format!("http://{}.example/", "x".repeat(64));
    assert!(
        parse_target(&label)
            .expect_err("too long")
            .to_string()
            .contains("at most 63 bytes")
    );
    let name = format!("{}example:80", "x.".repeat(130));
    assert!(
        parse_target(&name)
            .expect_err("too long")
            .to_string()
            .contains("at most 253 bytes")
    );
    for text in ["x".repeat(100_000), format!("x:{}", "9".repeat(100_000))] {
        let message = parse_target(&text).expect_err("no target").to_string();
        assert!(message.len() < 500, "{} bytes of message", message.len());
    }
}

proptest! {
    /// Any text is a target or an error with a message, and a target reads back as itself.
    #[test]
    fn any_text(text in "\\PC{0,40}|(https?|tcp|ftp)://[a-z\\[\\]:.@/0-9]{0,30}|[a-z.:\\[\\]0-9]{0,30}") {
        match parse_target(&text) {
            Ok(target) => prop_assert_eq!(parse_target(&target.to_string()), Ok(target)),
            Err(TargetError::Credentials) => {}
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
