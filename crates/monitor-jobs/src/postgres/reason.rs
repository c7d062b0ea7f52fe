//! Why a job is as urgent as it is: the chain that it inherits from, a query for each link.

use monitor_pool::managers::postgres::tokio_postgres::Row;

use super::failure::Failure;
use super::rows::{get, priority};
use super::{PgJobs, PgManager};
use crate::{JobId, Priority, Reason};

const FIGURES: &str = "SELECT priority, base, effective FROM job WHERE job_id = $1
    UNION ALL SELECT priority, base, effective FROM job_ended WHERE job_id = $1";
/// The first child over an open edge that passes that priority on.
const HEIR: &str = "SELECT c.job_id FROM job_edge e JOIN job c ON c.job_id = e.child_id
    WHERE e.parent_id = $1 AND e.state = 0 AND c.inherits AND c.effective = $2
    ORDER BY c.job_id LIMIT 1";
/// The first parent, ended or not, that passes it on.
const PARENT: &str = "WITH named AS (
        SELECT unnest(parents) AS id FROM (
            SELECT parents FROM job WHERE job_id = $1
            UNION ALL SELECT parents FROM job_ended WHERE job_id = $1
        ) j
    )
    SELECT p.job_id FROM (
        SELECT p.job_id FROM job p JOIN named n ON n.id = p.job_id WHERE p.base = $2
        UNION ALL
        SELECT p.job_id FROM job_ended p JOIN named n ON n.id = p.job_id WHERE p.base = $2
    ) p ORDER BY p.job_id LIMIT 1";

struct Figures {
    own: Priority,
    base: Priority,
    effective: Priority,
}

impl<M: PgManager> PgJobs<M> {
    pub(super) async fn see_reason(&self, job: JobId) -> Result<Option<Reason>, Failure> {
        let Some(figures) = self.figures(job).await? else {
            return Ok(None);
        };
        let (own, effective) = (figures.own, figures.effective);
        let reason = |from, from_parent| Reason {
            effective,
            own,
            from,
            from_parent,
        };
        if effective == own {
            return Ok(Some(reason(None, false)));
        }
        let mut source = job;
        let mut it = figures;
        while it.base < effective {
            let Some((next, its)) = self.link(HEIR, source, effective).await? else {
                break;
            };
            (source, it) = (next, its);
        }
        let from_parent = source == job;
        while it.own < effective {
            let Some((next, its)) = self.link(PARENT, source, effective).await? else {
                break;
            };
            (source, it) = (next, its);
        }
        Ok(Some(reason(Some((source, it.own)), from_parent)))
    }

    async fn link(
        &self,
        sql: &'static str,
        of: JobId,
        effective: Priority,
    ) -> Result<Option<(JobId, Figures)>, Failure> {
        let rows = self
            .read(sql, &[&of.0, &i16::from(effective.get())])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let next = JobId(get(row, "job_id")?);
        let figures = self.figures(next).await?;
        Ok(figures.map(|figures| (next, figures)))
    }

    async fn figures(&self, job: JobId) -> Result<Option<Figures>, Failure> {
        let rows = self.read(FIGURES, &[&job.0]).await?;
        rows.first().map(figures).transpose()
    }
}

fn figures(row: &Row) -> Result<Figures, Failure> {
    Ok(Figures {
        own: priority("priority", get(row, "priority")?)?,
        base: priority("base", get(row, "base")?)?,
        effective: priority("effective", get(row, "effective")?)?,
    })
}
