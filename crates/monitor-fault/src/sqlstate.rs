//! What an SQLSTATE says about a database.

use crate::{Fault, Layer, Reason};

impl Fault {
    /// Makes the fault of an SQLSTATE, the five characters of a database's error.
    ///
    /// | SQLSTATE | Means | Reason | Category |
    /// |---|---|---|---|
    /// | 28xxx | wrong password, no such role, no access from here | [`Unauthorized`](Reason::Unauthorized) | authentication |
    /// | 42501 | not allowed | [`Forbidden`](Reason::Forbidden) | authentication |
    /// | 53300 | too many connections | [`RateLimited`](Reason::RateLimited) | rate limit |
    /// | 57014 | the server gave up in time (`statement_timeout`) | [`Timeout`](Reason::Timeout) | timeout |
    /// | 57P01, 57P02, 57P05 | the session was ended: shutdown, crash, idle | [`Closed`](Reason::Closed) | network |
    /// | 08P01 | not the protocol | [`Malformed`](Reason::Malformed) | protocol |
    /// | other 08xxx | the connection failed | [`Closed`](Reason::Closed) | network |
    /// | 40xxx, 53xxx, 55xxx, 57xxx, 58xxx, XXxxx | collisions, out of something, starting up, broken | [`ServerError`](Reason::ServerError) | assertion, retryable |
    /// | any other: 3D000 no such database, 42P01 no such table, ... | asked for what is not there | [`Status`](Reason::Status) | assertion |
    ///
    /// A database that is not there is the target's fault and not the configuration's, although
    /// it often is a slip in there: no answer of a target may suspend its own check.
    ///
    /// Codes: [PostgreSQL, appendix A](https://www.postgresql.org/docs/current/errcodes-appendix.html).
    #[must_use]
    pub fn from_sqlstate(code: &str) -> Self {
        let (layer, reason) = match code {
            "42501" => (Layer::Response, Reason::Forbidden),
            "53300" => (Layer::Response, Reason::RateLimited),
            "57014" => (Layer::Response, Reason::Timeout),
            "57P01" | "57P02" | "57P05" => (Layer::Response, Reason::Closed),
            "57P04" => (Layer::Response, Reason::Status), // the database was dropped
            "08P01" => (Layer::Protocol, Reason::Malformed),
            _ => (Layer::Response, of_class(code.get(..2).unwrap_or_default())),
        };
        Self::new(layer, reason).with_detail(format!("SQLSTATE {code}"))
    }
}

fn of_class(class: &str) -> Reason {
    match class {
        "08" => Reason::Closed,
        "28" => Reason::Unauthorized,
        "40" | "53" | "55" | "57" | "58" | "XX" => Reason::ServerError,
        _ => Reason::Status,
    }
}
