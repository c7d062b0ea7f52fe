//! Chains of errors: which link decides, and what is said.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use monitor_fault::{Category, Fault, Layer, Reason};

/// An error with a source, as libraries wrap them.
#[derive(Debug)]
struct Wrapped(Option<Box<dyn Error + Send + Sync>>);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("authentication failed, certificate expired")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|error| error as _)
    }
}

/// ROB-53, ROB-54: the source chain is followed to the innermost error that is recognised, whose
/// text is kept; an I/O error that merely wraps another does not hide it.
#[test]
fn the_most_specific_source_wins() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let error = Wrapped(Some(Box::new(io::Error::new(
        io::ErrorKind::TimedOut,
        refused,
    ))));
    let fault = Fault::classify(&error, Layer::Connect);
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Connect, Reason::Refused)
    );
    let detail = fault.detail().expect("the chain's text");
    assert!(
        detail.contains("authentication failed") && detail.contains("refused"),
        "{detail}"
    );

    let unknown = Wrapped(Some(Box::new(Wrapped(None))));
    let error = io::Error::new(io::ErrorKind::TimedOut, unknown);
    assert_eq!(
        Fault::classify(&error, Layer::Connect).reason(),
        Reason::Timeout
    );
}

/// ROB-55: a fault that travels inside another error arrives unchanged.
#[test]
fn a_fault_in_the_chain_is_taken_as_it_is() {
    let fault = Fault::new(Layer::Protocol, Reason::TooLarge).with_detail("the head");
    let wrapped = io::Error::other(Wrapped(Some(Box::new(fault.clone()))));
    assert_eq!(Fault::classify(&wrapped, Layer::Connect), fault);
    assert_eq!(
        Fault::classify(&io::Error::other(fault.clone()), Layer::Tls),
        fault
    );
}

/// An error that is its own source.
#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endless")
    }
}

impl Error for Endless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[test]
fn an_endless_chain_ends() {
    let fault = Fault::classify(&Arc::new(Endless), Layer::Connect);
    assert_eq!(
        fault,
        Fault::new(Layer::Connect, Reason::Other).with_detail("endless")
    );
}

/// An error that says much and has no type that anybody knows.
#[derive(Debug)]
struct Says(&'static str);

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Says {}

/// ROB-54: text is never searched. `bad authenticator field` and `certificate authority` once
/// became authentication failures because they contain `auth`.
#[test]
fn text_never_decides() {
    for text in [
        "bad authenticator field",
        "certificate authority",
        "Authentication failed",
        "connection refused",
        "timed out",
        "NXDOMAIN",
        "certificate has expired",
    ] {
        for layer in Layer::ALL {
            let fault = Fault::classify(&Says(text), *layer);
            assert_eq!(
                (fault.layer(), fault.reason()),
                (*layer, Reason::Other),
                "{text}"
            );
            assert_ne!(fault.category(), Category::Authentication, "{text}");
            assert_eq!(fault.detail(), Some(text), "the text is kept for people");
        }
    }
}

/// Text that quotes its source, as many libraries write it.
#[derive(Debug)]
struct Quoting(io::Error);

impl fmt::Display for Quoting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the check failed: {}", self.0)
    }
}

impl Error for Quoting {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// PRB-30: nothing is said twice, however the libraries on the way quote each other.
#[test]
fn the_detail_says_nothing_twice() {
    let error = Quoting(io::Error::other(Quoting(io::Error::other(Says("why")))));
    let fault = Fault::classify(&error, Layer::Connect);
    let once = "the check failed: the check failed: why";
    assert_eq!(fault.detail(), Some(once));
}

/// ROB-54: a rule of the caller's comes first, at any depth, and its words replace the link's.
#[test]
fn a_rule_of_the_callers_knows_more_types() {
    let rule = |link: &(dyn Error + 'static)| {
        let says = link.downcast_ref::<Says>()?;
        Some(Fault::new(Layer::Assertion, Reason::Mismatch).with_detail(says.0.to_uppercase()))
    };
    let inner = io::Error::new(io::ErrorKind::TimedOut, Says("wrong colour"));
    let error = Quoting(inner);
    let fault = Fault::classify_with(&error, Layer::Connect, rule);
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Assertion, Reason::Mismatch)
    );
    assert_eq!(fault.detail(), Some("the check failed: WRONG COLOUR"));
    let known = io::Error::from(io::ErrorKind::ConnectionRefused);
    let fault = Fault::classify_with(&known, Layer::Connect, rule);
    assert_eq!(fault.reason(), Reason::Refused);
}

/// ROB-53: an inner link that is known, but only as something else, does not hide what an outer one
/// is known for.
#[test]
fn something_else_does_not_hide_what_is_known() {
    let rule = |link: &(dyn Error + 'static)| {
        let reason = if link.is::<Wrapped>() {
            Reason::Refused
        } else {
            Reason::Other
        };
        Some(Fault::new(Layer::Connect, reason))
    };
    let error = Wrapped(Some(Box::new(fmt::Error)));
    let fault = Fault::classify_with(&error, Layer::Connect, rule);
    assert_eq!(fault.reason(), Reason::Refused);
}
