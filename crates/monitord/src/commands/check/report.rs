//! One check, told to people and to programs.

use std::fmt::Write as _;
use std::time::Duration;

use monitor_fault::Fault;
use monitor_model::{Finding, Phase};
use serde_json::{Map, Value, json};

use super::Checked;
use crate::terminal::{Colour, Paint, millis};
use crate::view::words;

/// The width of the longest bar.
const BAR: usize = 40;

/// The check as one JSON object.
pub(super) fn json(checked: &Checked) -> Value {
    let fault = checked.observation.finding.fault().map(|fault| {
        json!({
            "layer": fault.layer().as_str(),
            "reason": fault.reason().as_str(),
            "category": fault.category().as_str(),
            "blame": fault.blame().as_str(),
            "retryable": fault.is_retryable(),
            "detail": fault.detail(),
        })
    });
    let phases: Map<_, _> = checked
        .phases
        .iter()
        .map(|(phase, took)| (phase.as_str().to_owned(), json!(ms(took))))
        .collect();
    json!({
        "target": checked.target,
        "kind": checked.kind,
        "outcome": checked.observation.finding.outcome().as_str(),
        "note": checked.observation.note,
        "fault": fault,
        "took_ms": ms(checked.took),
        "phases_ms": phases,
    })
}

/// Milliseconds with three digits after the point.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The check for people: the verdict first, then where the time went.
pub(super) fn text(checked: &Checked, paint: Paint) -> String {
    let mut text = String::new();
    let finding = &checked.observation.finding;
    let (colour, verdict) = match finding {
        Finding::Up => (Colour::Green, "up"),
        Finding::Degraded(_) => (Colour::Yellow, "degraded"),
        Finding::Down(_) => (Colour::Red, "down"),
        Finding::Unknown(_) => (Colour::Grey, "unknown"),
    };
    let verdict = paint.bold(colour, verdict);
    let took = millis(checked.took);
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{verdict}  {}  in {took}", checked.target);
    if let Some(note) = &checked.observation.note {
        let _ = writeln!(text, "  {note}");
    }
    if let Some(fault) = finding.fault() {
        let _ = writeln!(text, "  {}", sentence(fault));
    }
    if checked.phases.iter().next().is_some() {
        text.push('\n');
        bars(&mut text, checked, paint);
    }
    text
}

/// What went wrong, in words, with what the error itself says.
fn sentence(fault: &Fault) -> String {
    let mut sentence = words::fault(fault);
    if let Some(detail) = fault.detail() {
        let _ = write!(sentence, ": {detail}");
    }
    if !fault.is_retryable() {
        sentence.push_str("; trying again will not help by itself");
    }
    sentence
}

/// Each phase at its place in the whole, so that the bars form a staircase.
fn bars(text: &mut String, checked: &Checked, paint: Paint) {
    let total = checked
        .took
        .max(checked.phases.total())
        .max(Duration::from_micros(1));
    let column = |at: Duration| -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a bar, 0 to its width"
        )]
        let column = (at.as_secs_f64() / total.as_secs_f64() * BAR as f64).round() as usize;
        column.min(BAR)
    };
    let mut at = Duration::ZERO;
    for (phase, took) in checked.phases.iter() {
        let from = column(at).min(BAR - 1);
        at += took;
        let width = column(at).saturating_sub(from).max(1);
        let bar = paint.colour(colour(phase), &"█".repeat(width));
        let _ = writeln!(
            text,
            "  {:<10} {:>10}  {}{bar}",
            label(phase),
            millis(took),
            " ".repeat(from)
        );
    }
    let rest = checked.took.saturating_sub(at);
    if checked.observation.finding.fault().is_some() && rest * 20 > total {
        let from = column(at).min(BAR - 1);
        let bar = paint.colour(Colour::Grey, &"░".repeat((BAR - from).max(1)));
        let _ = writeln!(
            text,
            "  {:<10} {:>10}  {}{bar}",
            "failed",
            millis(rest),
            " ".repeat(from)
        );
    }
    let _ = writeln!(text, "  {:<10} {:>10}", "total", millis(checked.took));
}

const fn label(phase: Phase) -> &'static str {
    match phase {
        Phase::FirstByte => "first byte",
        phase => phase.as_str(),
    }
}

const fn colour(phase: Phase) -> Colour {
    match phase {
        Phase::Resolve => Colour::Cyan,
        Phase::Connect => Colour::Blue,
        Phase::Tls => Colour::Magenta,
        Phase::FirstByte => Colour::Yellow,
        Phase::Transfer => Colour::Green,
    }
}
