//! The second step of `check`: whether the hosts can be reached that verifying may have to ask. A
//! host that is down today is a warning: the provider tries again, and so do we.

use std::sync::Arc;

use crate::cli::output;
use crate::clock::SystemClock;
use crate::remote::{HttpsAsk, Outbound};
use crate::service::Prepared;
use crate::settings::Settings;
use crate::telemetry::Metrics;

/// Connects to every host, all at once; sends nothing. Each that fails is a warning.
pub fn warn(settings: &Settings, prepared: &Prepared) {
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
        return;
    }
    places.sort_by(|(a, _), (b, _)| a.cmp(b));
    let ask = match HttpsAsk::new(&settings.outbound, Arc::new(SystemClock), Metrics::new()) {
        Ok(ask) => Arc::new(ask),
        Err(error) => return output::remark(format_args!("warning: outbound.roots: {error}")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return output::remark("warning: the hosts that are asked could not be tried");
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
        for task in tries {
            if let Ok((source, place, Err(fault))) = task.await {
                output::remark(format_args!(
                    "warning: source {source}: {}:{} cannot be reached ({fault}); its callbacks are \
                     answered with 503 until it can",
                    place.host, place.port
                ));
            }
        }
    });
}
