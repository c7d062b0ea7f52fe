//! hickory: what a resolver answered, or that it did not.

use std::error::Error;
use std::time::Duration;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;

use crate::{Fault, Layer, Reason};

pub(super) fn recognise(error: &(dyn Error + 'static)) -> Option<Fault> {
    if let Some(error) = error.downcast_ref::<DnsError>() {
        return Some(of_dns(error));
    }
    let reason = match error.downcast_ref::<NetError>()? {
        NetError::Dns(error) => return Some(of_dns(error)),
        NetError::Timeout => Reason::Timeout,
        NetError::Proto(_) | NetError::Truncated | NetError::QueryCaseMismatch => Reason::Malformed,
        NetError::ForeignClassRecord { .. } => Reason::Malformed,
        _ => Reason::Other,
    };
    Some(Fault::new(Layer::Dns, reason))
}

/// The error that `NetError` carries without naming it as its source.
pub(super) fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<NetError>()? {
        NetError::Io(error) => Some(&**error),
        _ => None,
    }
}

fn of_dns(error: &DnsError) -> Fault {
    match error {
        DnsError::NoRecordsFound(none) => {
            let reason = match none.response_code {
                ResponseCode::NXDomain => Reason::Nxdomain,
                _ => Reason::NoRecords,
            };
            let ttl = none
                .negative_ttl
                .map(|seconds| Duration::from_secs(u64::from(seconds)));
            Fault::new(Layer::Dns, reason).with_retry_after(ttl)
        }
        DnsError::ResponseCode(code) => Fault::new(Layer::Dns, of_code(*code)),
        _ => Fault::new(Layer::Dns, Reason::Other),
    }
}

fn of_code(code: ResponseCode) -> Reason {
    match code {
        ResponseCode::NXDomain => Reason::Nxdomain,
        ResponseCode::ServFail => Reason::Servfail,
        ResponseCode::Refused | ResponseCode::NotAuth => Reason::LookupRefused,
        ResponseCode::FormErr => Reason::Malformed,
        _ => Reason::Other,
    }
}
