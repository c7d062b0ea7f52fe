//! What the pieces of the page look like as text.

use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::Lifecycle;

use super::*;
use crate::view::sample::{NOW, faulty, moment, point, subject};

fn frame(is_admin: bool) -> Frame {
    Frame {
        title: "Status".into(),
        is_admin,
        style: "/assets/s.css".into(),
        script: "/assets/s.js".into(),
        icon: "/assets/s.svg".into(),
    }
}

#[test]
fn what_is_checked_without_noise() {
    let cases = [
        (
            "http",
            "https://api.example.net/health",
            "https · api.example.net/health",
        ),
        ("http", "http://127.0.0.1:80/", "http · 127.0.0.1:80"),
        ("http", "http://h/a/", "http · h/a/"),
        ("tcp", "db-1:5432", "tcp · db-1:5432"),
    ];
    for (kind, target, text) in cases {
        assert_eq!(what(kind, target), text);
    }
}

#[test]
fn why_it_is_as_it_is() {
    let mut subject = faulty(
        "a",
        Outcome::Down,
        Fault::new(Layer::Connect, Reason::Refused),
    );
    subject.breaker = Some(Breaker::Open {
        retry_after: Duration::from_secs(42),
    });
    (subject.backoff, subject.failures) = (Some(Duration::from_secs(10)), 3);
    let text = |subject: &Subject| -> Vec<String> {
        facts(subject, &subject.tally, &moment())
            .into_iter()
            .map(|f| {
                format!(
                    "{}{}",
                    f.until.map(|(_, text)| text).unwrap_or_default(),
                    f.text
                )
            })
            .collect()
    };
    let expected = [
        "in 4 s, every 30 s ± 20 %",
        "connection refused · connect · target",
        "open for 42 s more",
        "10 s after 3 failures in a row",
        "4 of 20 in use",
        "0 since the start",
        "— in 24 hours",
        "—",
    ];
    assert_eq!(text(&subject), expected);

    subject.status.fault = None;
    subject.points = vec![
        crate::view::Point {
            fault: Some((Layer::Tls, Reason::CertExpired)),
            ..point(NOW, Outcome::Down)
        },
        point(NOW + 1000, Outcome::Up),
    ];
    subject.running_since_unix_ms = Some(NOW - 3000);
    subject.breaker = Some(Breaker::Closed { failures: 2, of: 5 });
    (subject.backoff, subject.failures) = (None, 0);
    let calm = text(&subject);
    assert_eq!(calm[0], "running for 3 s, every 30 s ± 20 %");
    assert_eq!(calm[1], "certificate expired · tls · 14:02");
    assert_eq!(calm[2], "closed, 2 of 5 failures");
    assert_eq!(calm[3], "none: answers arrive");

    subject.stuck = true;
    assert_eq!(text(&subject)[0], "stuck: the check before it does not end");
    (subject.stuck, subject.running_since_unix_ms) = (false, None);
    subject.maintenance_until_unix_ms = Some(NOW + 90_000);
    assert_eq!(text(&subject)[0], "in 1 min 30 s, after the maintenance");
    subject.status.lifecycle = Lifecycle::Paused;
    assert_eq!(text(&subject)[0], "none while it is paused");
}

#[test]
fn the_page_is_complete_and_escapes_what_others_wrote() {
    let mut evil = faulty(
        "evil",
        Outcome::Down,
        Fault::new(Layer::Response, Reason::Status),
    );
    evil.monitor.name = "<script>alert(1)</script>".into();
    evil.target = "http://h/\"><img src=x>".into();
    let html = page(
        &frame(false),
        &[evil, subject("ok", Some(Outcome::Up))],
        &moment(),
        "7-1",
    );
    assert!(
        !html.contains("<script>") && !html.contains("<img"),
        "{html}"
    );
    assert!(html.contains("1 of 2 is up"));
    assert!(
        !html.contains(" style="),
        "the content policy forbids inline styles"
    );
    assert!(html.contains("data-known=\"7-1\""));
    assert!(
        !html.contains("data-action"),
        "no actions without the right to act"
    );
    for part in ["m-ok.row", "m-ok.time", "m-ok.why"] {
        assert_eq!(html.matches(&format!("id=\"{part}\"")).count(), 1, "{part}");
    }
}

#[test]
fn an_update_carries_the_changed_rows_and_no_others() {
    let subjects = [
        subject("a", Some(Outcome::Up)),
        subject("b", Some(Outcome::Up)),
    ];
    let html = update(&frame(true), &subjects, &moment(), |s| {
        s.monitor.id.as_str() == "b"
    });
    assert!(html.contains("id=\"headline\"") && html.contains("id=\"incidents\""));
    assert!(html.contains("id=\"m-b.row\"") && !html.contains("id=\"m-a.row\""));
    assert!(html.contains("data-action=\"pause\""));
    let mut paused = subjects[0].clone();
    paused.status.lifecycle = Lifecycle::Paused;
    let html = update(&frame(true), &[paused], &moment(), |_| true);
    assert!(html.contains("data-action=\"resume\"") && !html.contains("data-action=\"pause\""));
    let by_hand = "data-action=\"trigger\">Check now";
    assert!(
        html.contains(by_hand),
        "a paused monitor is checked by hand"
    );
}
