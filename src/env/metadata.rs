//! The instance metadata service of EC2 (IMDSv2), asked for a name.

use crate::error::{Error, Kind, Result};
use aws_config::imds::Client;
use std::time::Duration;

/// How long the service may take to answer, in all: a start waits for it.
const LIMIT: Duration = Duration::from_secs(2);

/// `REGION-INSTANCEID`, as in `us-west-2-i-ae23fega`.
pub fn ec2_suffix() -> Result<String> {
    let failed = |cause: String| Error::stop("ask", "the instance metadata", Kind::Unreachable, cause);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed(e.to_string()))?;
    let ask = async {
        let client = Client::builder().connect_timeout(LIMIT / 4).read_timeout(LIMIT / 4).max_attempts(2).build();
        let region = client.get("/latest/meta-data/placement/region").await;
        let instance = client.get("/latest/meta-data/instance-id").await;
        match (region, instance) {
            (Ok(region), Ok(instance)) => Ok(format!("{}-{}", region.as_ref(), instance.as_ref())),
            (Err(e), _) | (_, Err(e)) => Err(failed(last_cause(&e))),
        }
    };
    runtime
        .block_on(async { tokio::time::timeout(LIMIT, ask).await.unwrap_or_else(|_| Err(failed("no answer".into()))) })
}

/// The last cause of a chain says most.
fn last_cause(e: &dyn std::error::Error) -> String {
    let mut last = e;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
