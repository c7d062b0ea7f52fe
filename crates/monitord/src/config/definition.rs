//! From what was written to what the core runs.

use std::sync::Arc;
use std::time::Duration;

use monitor_core::{Changes, Definition, OwnPool, Settings};
use monitor_model::{Monitor, Probe, Source};
use monitor_probes::{BuildError, HttpProbe, Target, TcpProbe, parse_target};

use super::{Defaults, HttpSpec, MonitorSpec, Place, Problem, Reuse, TargetSpec, format_duration};

/// What a trial of a half-open breaker gets on top of its own time.
const TRIAL_GRACE: Duration = Duration::from_secs(30);

impl MonitorSpec {
    /// What the core runs for this monitor, with `defaults` where it says nothing itself.
    ///
    /// # Errors
    /// What contradicts what, or why the probe cannot be built. Its place is
    /// [`Place::Request`], for want of a better one.
    pub fn definition(&self, defaults: &Defaults, source: Source) -> Result<Definition, Problem> {
        let refuse = |key: &str, what: String| Problem::new(Place::Request, key, what);
        let policy = self.policy.or(&defaults.policy);
        let interval = self
            .interval
            .or(defaults.interval)
            .unwrap_or_else(|| policy.interval());
        let intervals = policy.intervals();
        if !intervals.contains(&interval) {
            let (low, high) = (
                format_duration(*intervals.start()),
                format_duration(*intervals.end()),
            );
            let what = format!("is out of range for preset `{}`", policy.preset_name());
            return Err(refuse("interval", what)
                .value(format_duration(interval))
                .allowed(format!("{low} to {high}")));
        }
        let timeout = self.timeout.or(defaults.timeout);
        let longest = timeout.unwrap_or_else(|| policy.timeout(interval));
        let (probe, pool) = self.probe(defaults, longest)?;
        let backoff = policy.backoff().map_err(|what| refuse("backoff", what))?;
        let breaker = policy
            .breaker(longest + TRIAL_GRACE)
            .map_err(|what| refuse("circuit_breaker", what))?;
        let monitor = Monitor {
            id: self.id.clone(),
            name: self.name().to_owned(),
            source,
            spec: self.to_json().to_string(),
        };
        Ok(Definition {
            monitor,
            probe,
            pool,
            settings: Settings {
                interval,
                timeout: Some(longest),
                backoff,
                breaker,
                trigger_resets_backoff: policy.trigger_resets_backoff(),
                class: self.priority.unwrap_or_default(),
                by_category: policy.by_category(),
                maintenance: self.maintenance.iter().cloned().collect(),
            },
        })
    }

    /// What looks, and the connections that it keeps.
    fn probe(
        &self,
        defaults: &Defaults,
        longest: Duration,
    ) -> Result<(Arc<dyn Probe>, Option<OwnPool>), Problem> {
        match &self.target {
            TargetSpec::Http(http) => {
                if let Some(slow) = http.degraded_over.filter(|slow| *slow >= longest) {
                    let what = "is not below the time that a check may take, so nothing would \
                                ever be degraded";
                    return Err(Problem::new(Place::Request, "degraded_over", what)
                        .value(format_duration(slow))
                        .allowed(format!("less than {}", format_duration(longest))));
                }
                let changes = Changes::default();
                let probe = http.probe(defaults, &changes)?;
                let pool = probe.pool().map(|pool| OwnPool::new(pool, changes));
                Ok((Arc::new(probe), pool))
            }
            TargetSpec::Tcp { address } => Ok((Arc::new(tcp_probe(address, defaults)?), None)),
        }
    }
}

impl HttpSpec {
    fn probe(&self, defaults: &Defaults, changes: &Changes) -> Result<HttpProbe, Problem> {
        let mut builder = HttpProbe::builder(&self.url).resolver(defaults.resolver.clone());
        if let Some(method) = self.method {
            builder = builder.method(method);
        }
        if let Some(statuses) = &self.expect_status {
            builder = builder.expect_status(statuses.clone());
        }
        if let Some(text) = &self.expect_body {
            builder = builder.expect_body(text);
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        if let Some(limit) = self.body_limit_kb {
            builder = builder.body_limit(usize::try_from(limit).unwrap_or(usize::MAX) * 1024);
        }
        if let Some(slow) = self.degraded_over {
            builder = builder.degraded_over(slow);
        }
        if self.connection == Some(Reuse::Kept) {
            let most = defaults.max_connections_per_probe();
            builder = builder.keep_connections(most, Some(Arc::new(changes.clone())));
        }
        builder
            .build()
            .map_err(|error| Problem::new(Place::Request, key_of(&error), error.to_string()))
    }
}

/// The key whose value the probe does not take.
const fn key_of(error: &BuildError) -> &'static str {
    match error {
        BuildError::HeaderName { .. } | BuildError::HeaderValue { .. } => "headers",
        BuildError::BodyOfHead => "expect_body",
        _ => "url",
    }
}

fn tcp_probe(address: &str, defaults: &Defaults) -> Result<TcpProbe, Problem> {
    let refuse = |what: String| Problem::new(Place::Request, "tcp", what);
    match parse_target(address) {
        Ok(Target::Tcp { host, port }) => {
            let probe = TcpProbe::new(&host.to_string(), port);
            let probe = probe.map_err(|error| refuse(error.to_string()))?;
            Ok(probe.resolver(defaults.resolver.clone()))
        }
        Ok(_) => Err(refuse("is no host:port".to_owned())),
        Err(error) => Err(refuse(error.to_string())),
    }
}
