//! The second step of `check`: whether the hosts can be reached that verifying may have to ask. A
//! host that is down today is a warning: the provider tries again, and so do we.

use std::sync::Arc;

use crate::clock::SystemClock;
use crate::remote::{HttpsAsk, Outbound};
use crate::service::Prepared;
use crate::settings::Settings;
use crate::telemetry::Metrics;

/// A host that could not be connected to.
pub struct Unreachable {
    pub source: String,
    pub detail: String,
}

/// Of each host that cannot be reached, what follows from it.
pub fn warnings(settings: &Settings, prepared: &Prepared) -> Vec<String> {
    let found = unreachable(settings, prepared).into_iter();
    found
        .map(|Unreachable { source, detail }| {
            format!("source {source}: {detail}; its callbacks are answered with 503 until it can")
        })
        .collect()
}

/// Connects to every host, all at once; sends nothing.
pub fn unreachable(settings: &Settings, prepared: &Prepared) -> Vec<Unreachable> {
    let verifiers = prepared.loaded.verifiers.values();
    let mut places: Vec<(String, Outbound)> = verifiers
        .flat_map(|verifier| {
            let name = verifier.rule().name.to_string();
            verifier
                .places()
                .into_iter()
                .map(move |place| (name.clone(), place))
        })
        .collect();
    if places.is_empty() {
        return Vec::new();
    }
    places.sort_by(|(a, _), (b, _)| a.cmp(b));
    let all = |detail: String| {
        vec![Unreachable {
            source: "(all)".to_owned(),
            detail,
        }]
    };
    let ask = match HttpsAsk::new(&settings.outbound, Arc::new(SystemClock), Metrics::new()) {
        Ok(ask) => Arc::new(ask),
        Err(error) => return all(format!("outbound.roots: {error}")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return all("the hosts that are asked could not be tried".to_owned());
    };
    runtime.block_on(async {
        let tries: Vec<_> = places
            .into_iter()
            .map(|(source, place)| {
                let ask = Arc::clone(&ask);
                tokio::spawn(async move {
                    let outcome = ask.reach(&place).await;
                    (source, place, outcome)
                })
            })
            .collect();
        let mut found = Vec::new();
        for task in tries {
            if let Ok((source, place, Err(fault))) = task.await {
                let detail = format!("{}:{} cannot be reached ({fault})", place.host, place.port);
                found.push(Unreachable { source, detail });
            }
        }
        found
    })
}
