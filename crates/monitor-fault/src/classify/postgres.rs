//! tokio-postgres: the server's errors by their SQLSTATE.
//!
//! tokio-postgres keeps the kind of its own errors to itself, but for `is_closed`. Below them is
//! the server's error with its code, or the I/O error, or a mere text (no password was configured,
//! an authentication method that it does not know), which is not looked at.

use std::error::Error;

use tokio_postgres::error::DbError;

use crate::{Fault, Layer, Reason};

pub(super) fn recognise(error: &(dyn Error + 'static), stage: Layer) -> Option<Fault> {
    if let Some(error) = error.downcast_ref::<DbError>() {
        return Some(of_server(error));
    }
    let error = error.downcast_ref::<tokio_postgres::Error>()?;
    if let Some(error) = error.as_db_error() {
        return Some(of_server(error));
    }
    let reason = if error.is_closed() {
        Reason::Closed
    } else {
        Reason::Other
    };
    Some(Fault::new(stage, reason))
}

fn of_server(error: &DbError) -> Fault {
    let code = error.code().code();
    Fault::from_sqlstate(code).with_detail(format!("PostgreSQL {code}: {}", error.message()))
}
