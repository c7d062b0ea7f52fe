//! What the pool has to know of a kind of connection.

use std::{error::Error, future::Future};

/// Makes, checks and closes the connections of one pool.
///
/// Every method is called outside of the pool's lock. Each may panic: the slot it worked for is
/// given back, and the panic counts as a failure.
///
/// # Examples
/// ```
/// use std::convert::Infallible;
///
/// struct Numbers;
///
/// impl monitor_pool::Manager for Numbers {
///     type Connection = u32;
///     type Error = Infallible;
///
///     async fn connect(&self) -> Result<u32, Infallible> {
///         Ok(7)
///     }
/// }
/// ```
pub trait Manager: Send + Sync + 'static {
    /// One connection.
    type Connection: Send + 'static;
    /// Why a connection could not be made, or is no longer fit.
    type Error: Error + Send + Sync + 'static;

    /// Opens a connection.
    ///
    /// Runs in a task of the pool's, within `connect_timeout`: a caller that gives up does not end
    /// it, and the connection serves who waits next.
    ///
    /// # Errors
    /// Fails like the attempt does. The pool waits for its back-off and tries again as long as
    /// somebody waits.
    ///
    /// # Cancel safety
    /// Dropped at `connect_timeout` and when the pool closes.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Sees whether an idle connection still works, and gives it back.
    ///
    /// Takes the connection by value, so that a check that was cut short can never return a
    /// half-used one. Runs in a task of the pool's, within `check_timeout`. The default keeps it.
    ///
    /// # Errors
    /// Fails if it does not work; the connection is gone then.
    ///
    /// # Cancel safety
    /// Dropped at `check_timeout` and when the pool closes; so is the connection.
    fn check(
        &self,
        connection: Self::Connection,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send {
        async { Ok(connection) }
    }

    /// Says without any I/O whether the connection owes nothing: no reply outstanding, no
    /// transaction open. Called at release; `false` closes it. The default says `true`.
    fn is_quiescent(&self, connection: &mut Self::Connection) -> bool {
        let _ = connection;
        true
    }

    /// Says goodbye, within `close_timeout`. The default drops the connection.
    ///
    /// Where no runtime is at hand the connection is dropped instead.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send {
        async { drop(connection) }
    }

    /// Whether this error of [`connect`](Manager::connect) will not go away by itself, as a wrong
    /// password does not: then nobody is left waiting for it. The default says `false`.
    fn is_permanent(&self, error: &Self::Error) -> bool {
        let _ = error;
        false
    }
}
