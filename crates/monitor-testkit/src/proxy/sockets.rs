//! The kernel's own table of TCP connections.

use std::collections::BTreeSet;
use std::{fs, io};

/// The states of `/proc/net/tcp` in which a socket's owner has not closed it: established, and
/// closed by the other side only.
const HELD: [&str; 2] = ["01", "08"];

/// The local ports of the sockets that are connected to the loopback port `remote` and that their
/// owners have not closed.
pub(super) fn established_to(remote: u16) -> io::Result<BTreeSet<u16>> {
    Ok(parse(&fs::read_to_string("/proc/net/tcp")?, remote))
}

/// Each line is a number, local and remote address as `0100007F:1F90`, the state and more.
fn parse(table: &str, remote: u16) -> BTreeSet<u16> {
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, other, state) = (fields.next()?, fields.next()?, fields.next()?);
            (port(other) == Some(remote) && HELD.contains(&state)).then(|| port(local))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_their_owners_have_closed_are_not_held() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0100007F:0FA0 0100007F:1F90 01 00000000:00000000\n\
            1: 0100007F:0FA1 0100007F:1F90 08 00000000:00000000\n\
            2: 0100007F:0FA2 0100007F:1F90 05 00000000:00000000\n\
            3: 0100007F:1F90 0100007F:0FA0 01 00000000:00000000\n\
            4: 0100007F:0FA4 0100007F:1F91 01 00000000:00000000\n";
        assert_eq!(parse(table, 8080), BTreeSet::from([4000, 4001]));
    }
}
