//! `/v1/stats`: what happened, step by step, also before the last start.

use axum::Json;
use axum::extract::State as Extract;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::history::{Point, WINDOWS};
use crate::admin::parameter::{self, Asked};
use crate::admin::problem::{Problem, Wrong};
use crate::admin::sources::gauges;
use crate::message::SourceName;
use crate::telemetry::figures::Count;

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatsQuery {
    /// `1h`, `24h` or `7d`.
    window: Option<String>,
    source: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct StatsJson {
    window: &'static str,
    step_seconds: u64,
    from: String,
    to: String,
    source: Option<String>,
    series: SeriesJson,
}

/// One value a step, the oldest first. Null: the gateway did not run then, or there was nothing to
/// measure. What is owed and dead is that at the end of the step.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SeriesJson {
    accepted: Vec<Option<u32>>,
    duplicate: Vec<Option<u32>>,
    rejected: Vec<Option<u32>>,
    refused: Vec<Option<u32>>,
    delivered: Vec<Option<u32>>,
    failed: Vec<Option<u32>>,
    owed: Vec<Option<u32>>,
    dead: Vec<Option<u32>>,
    acknowledge_p50_ms: Vec<Option<f32>>,
    acknowledge_p99_ms: Vec<Option<f32>>,
    delivery_p50_ms: Vec<Option<f32>>,
    delivery_p99_ms: Vec<Option<f32>>,
}

impl SeriesJson {
    fn of(points: &[Option<Point>]) -> Self {
        let count = |what: Count| {
            let each = points.iter();
            each.map(|point| point.map(|point| point.of(what)))
                .collect()
        };
        let gauge = |of: fn(Point) -> u32| points.iter().map(|point| point.map(of)).collect();
        let latency = |of: fn(Point) -> Option<f32>| {
            let each = points.iter();
            each.map(|point| point.and_then(of)).collect()
        };
        SeriesJson {
            accepted: count(Count::Accepted),
            duplicate: count(Count::Duplicate),
            rejected: count(Count::Rejected),
            refused: count(Count::Refused),
            delivered: count(Count::Delivered),
            failed: count(Count::Failed),
            owed: gauge(|point| point.owed),
            dead: gauge(|point| point.dead),
            acknowledge_p50_ms: latency(|point| point.acknowledge()[0]),
            acknowledge_p99_ms: latency(|point| point.acknowledge()[1]),
            delivery_p50_ms: latency(|point| point.delivery()[0]),
            delivery_p99_ms: latency(|point| point.delivery()[1]),
        }
    }
}

pub async fn stats(
    Extract(state): Extract<State>,
    asked: Asked<StatsQuery>,
) -> Result<Json<StatsJson>, Problem> {
    let query = parameter::query(asked)?;
    let name = query.window.as_deref().unwrap_or("1h");
    let window = WINDOWS.into_iter().find(|window| window.name == name);
    let window = window
        .ok_or_else(|| Problem::bad_parameter("window", Wrong::OneOf("1h, 24h, 7d".into())))?;
    let source = query.source.as_deref().map(SourceName::new);
    let shown = state.history.show(
        window,
        source.as_ref(),
        state.shared.clock.now(),
        &state.shared.metrics.figures,
        gauges(&state, source.as_ref()),
    );
    let shown = shown.ok_or_else(|| Problem::no_such_source("there is no such source"))?;
    Ok(Json(StatsJson {
        window: shown.window.name,
        step_seconds: shown.window.step,
        from: shown.from.to_string(),
        to: shown.to.to_string(),
        source: query.source,
        series: SeriesJson::of(&shown.points),
    }))
}
