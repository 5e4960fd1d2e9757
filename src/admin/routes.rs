//! The one table of what the admin port knows: the router, the roles, `/openapi.json` and the test
//! of the documentation are made of it.

use axum::routing::{MethodRouter, delete, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::admin::auth::Access;
use crate::admin::{State, api, health, jobs, openapi, operate, sign_in};

/// Describes one type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What is in an answer.
#[derive(Clone, Copy)]
pub enum Content {
    Json(SchemaOf),
    /// Of this media type.
    Text(&'static str),
    Bytes,
    Nothing,
}

/// One path with one method.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub access: Access,
    pub summary: &'static str,
    pub query: Option<SchemaOf>,
    pub body: Option<SchemaOf>,
    /// With their statuses.
    pub answers: Vec<(u16, Content)>,
    /// Codes of problems besides those that every path of its kind may give.
    pub problems: Vec<&'static str>,
    handler: fn() -> MethodRouter<State>,
}

impl Route {
    fn new(
        method: &'static str,
        path: &'static str,
        (access, summary): (Access, &'static str),
        handler: fn() -> MethodRouter<State>,
    ) -> Self {
        Route {
            method,
            path,
            access,
            summary,
            query: None,
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
            handler,
        }
    }

    /// What serves it.
    pub fn handler(&self) -> MethodRouter<State> {
        (self.handler)()
    }

    fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| T::json_schema(generator));
        self
    }

    fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    fn json<T: JsonSchema>(self, status: u16) -> Self {
        self.gives(
            status,
            Content::Json(|generator| generator.subschema_for::<T>()),
        )
    }

    fn gives(mut self, status: u16, content: Content) -> Self {
        self.answers.push((status, content));
        self
    }

    fn problems(mut self, codes: &[&'static str]) -> Self {
        self.problems.extend(codes);
        self
    }
}

/// Pages that handlers put together; here only for their description.
mod page {
    #![allow(dead_code)]

    use super::{JsonSchema, api, jobs, operate};

    #[derive(JsonSchema)]
    pub struct SourcesPage {
        sources: Vec<api::SourceJson>,
        /// SHA-256 of all rules in force, hexadecimal.
        rules_digest: String,
    }

    #[derive(JsonSchema)]
    pub struct RefusalsPage {
        refusals: Vec<api::RefusalJson>,
        /// Give this as `cursor` for the next page; null at the end.
        next: Option<u64>,
    }

    #[derive(JsonSchema)]
    pub struct AuditPage {
        audit: Vec<operate::DeedJson>,
        /// Give this as `cursor` for the next page; null at the end.
        next: Option<u64>,
    }

    #[derive(JsonSchema)]
    pub struct JobsPage {
        jobs: Vec<jobs::JobJson>,
    }

    #[derive(JsonSchema)]
    pub struct Begun {
        job: u64,
    }

    /// What a plan says.
    #[derive(JsonSchema)]
    pub struct Planned {
        /// Deliveries that fit now.
        count: u64,
    }
}

/// All of them.
pub fn routes() -> Vec<Route> {
    let mut routes = open();
    routes.extend(looking());
    routes.extend(acting());
    routes
}

fn open() -> Vec<Route> {
    use Access::{Health, Open, Viewer};
    vec![
        Route::new(
            "GET",
            "/healthz",
            (Health, "Is the process alive, and can its store go on"),
            || get(health::healthz),
        )
        .gives(200, Content::Text("text/plain; charset=utf-8"))
        .gives(500, Content::Text("text/plain; charset=utf-8")),
        Route::new(
            "GET",
            "/readyz",
            (Health, "Can callbacks be accepted now"),
            || get(health::readyz),
        )
        .gives(200, Content::Text("text/plain; charset=utf-8"))
        .gives(503, Content::Text("text/plain; charset=utf-8")),
        Route::new(
            "POST",
            "/session",
            (Open, "Sign in: a token for a session's cookie"),
            || post(sign_in::open),
        )
        .body::<sign_in::SignIn>()
        .json::<sign_in::SessionJson>(200)
        .problems(&["unauthorized", "csrf"]),
        Route::new(
            "GET",
            "/session",
            (Viewer, "The session, and its word for changes"),
            || get(sign_in::show),
        )
        .json::<sign_in::SessionJson>(200),
        Route::new(
            "DELETE",
            "/session",
            (Viewer, "Sign out: the session ends"),
            || delete(sign_in::close),
        )
        .gives(204, Content::Nothing),
        Route::new("GET", "/openapi.json", (Viewer, "This description"), || {
            get(openapi::serve)
        })
        .gives(
            200,
            Content::Json(|_| schemars::json_schema!({"type": "object"})),
        ),
        Route::new(
            "GET",
            "/metrics",
            (Viewer, "Figures for Prometheus, as OpenMetrics"),
            || get(health::metrics),
        )
        .gives(
            200,
            Content::Text("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ),
    ]
}

fn looking() -> Vec<Route> {
    use Access::{Operator, Viewer};
    vec![
        Route::new(
            "GET",
            "/v1/events",
            (Viewer, "Deliveries, newest first"),
            || get(api::events),
        )
        .query::<api::EventsQuery>()
        .json::<api::EventsPage>(200)
        .problems(&["store"]),
        Route::new(
            "GET",
            "/v1/events/{id}",
            (Viewer, "One delivery with its attempts"),
            || get(api::event),
        )
        .json::<api::EventDetail>(200)
        .problems(&["no_such_event", "store"]),
        Route::new(
            "GET",
            "/v1/events/{id}/body",
            (Operator, "The body byte for byte; stands in the audit"),
            || get(api::body),
        )
        .gives(200, Content::Bytes)
        .problems(&["no_such_event", "store"]),
        Route::new(
            "GET",
            "/v1/sources",
            (Viewer, "Sources with their destinations"),
            || get(api::sources),
        )
        .json::<page::SourcesPage>(200)
        .problems(&["store"]),
        Route::new(
            "GET",
            "/v1/refusals",
            (
                Viewer,
                "The last callbacks that were not accepted, newest first",
            ),
            || get(api::refusals),
        )
        .query::<api::RefusalsQuery>()
        .json::<page::RefusalsPage>(200),
        Route::new(
            "GET",
            "/v1/audit",
            (Viewer, "What operators did, newest first"),
            || get(operate::audit),
        )
        .query::<operate::AuditQuery>()
        .json::<page::AuditPage>(200)
        .problems(&["store"]),
        Route::new(
            "GET",
            "/v1/jobs",
            (
                Viewer,
                "Redriving and discarding under way, and the last that ended",
            ),
            || get(operate::jobs),
        )
        .json::<page::JobsPage>(200),
    ]
}

fn acting() -> Vec<Route> {
    use Access::Operator;
    vec![
        Route::new(
            "POST",
            "/v1/events/{id}/redrive",
            (Operator, "Deliver it again"),
            || post(api::redrive),
        )
        .json::<api::Redriven>(202)
        .problems(&["no_such_event", "not_applicable", "store"]),
        Route::new(
            "POST",
            "/v1/sources/{name}/pause",
            (Operator, "Accept, and send nothing until it is resumed"),
            || post(operate::pause),
        )
        .query::<operate::LaneQuery>()
        .json::<operate::Paused>(200)
        .problems(&["no_such_source", "store"]),
        Route::new(
            "POST",
            "/v1/sources/{name}/resume",
            (Operator, "Send again"),
            || post(operate::resume),
        )
        .query::<operate::LaneQuery>()
        .json::<operate::Paused>(200)
        .problems(&["no_such_source", "store"]),
        Route::new(
            "POST",
            "/v1/redrive",
            (Operator, "Redrive all that fit, or plan it"),
            || post(operate::redrive),
        )
        .body::<operate::Many>()
        .json::<page::Planned>(200)
        .json::<page::Begun>(202)
        .problems(&["count_differs", "too_many", "store"]),
        Route::new(
            "POST",
            "/v1/discard",
            (Operator, "Discard all that fit, or plan it"),
            || post(operate::discard),
        )
        .body::<operate::Many>()
        .json::<page::Planned>(200)
        .json::<page::Begun>(202)
        .problems(&["count_differs", "too_many", "store"]),
        Route::new(
            "POST",
            "/v1/jobs/{id}/stop",
            (Operator, "Stop it; what it did stays done"),
            || post(operate::stop),
        )
        .gives(202, Content::Nothing)
        .problems(&["no_such_job"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::problem::CODES;

    /// Who may only look changes nothing but their own session, and what is open is known here.
    #[test]
    fn the_table_gives_nothing_away() {
        let mut seen = std::collections::BTreeSet::new();
        for route in routes() {
            let Route { method, path, .. } = route;
            assert!(
                seen.insert((method, path)),
                "{method} {path} is there twice"
            );
            let own_session = path == "/session";
            match route.access {
                Access::Health => assert!(["/healthz", "/readyz"].contains(&path)),
                Access::Open => assert!(method == "GET" || own_session, "{method} {path}"),
                Access::Viewer => assert!(method == "GET" || own_session, "{method} {path}"),
                Access::Operator => {}
            }
            assert!(!route.answers.is_empty(), "{path} answers nothing");
            for code in &route.problems {
                assert!(CODES.iter().any(|(known, _)| known == code), "{code}");
            }
        }
    }
}
