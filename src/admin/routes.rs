//! The one table of what the admin port knows: the router, the roles, `/openapi.json` and the test
//! of the documentation are made of it.

use axum::routing::{MethodRouter, delete, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::admin::auth::Access;
use crate::admin::{
    State, audit, detail, doctor, events, groups, health, jobs, many, openapi, operate, overview,
    payload, refusals, rules, sign_in, sources, stats, stream, verification,
};

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
        .problems(&["unauthorized", "csrf", "store"]),
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
            (
                Viewer,
                "Figures for Prometheus: as OpenMetrics where Accept names it or is missing, else in the text format 0.0.4",
            ),
            || get(health::metrics),
        )
        .gives(200, Content::Text(health::OPEN_METRICS))
        .gives(200, Content::Text(health::TEXT)),
    ]
}

fn looking() -> Vec<Route> {
    use Access::{Operator, Viewer};
    let get_ = |path, access, summary, handler: fn() -> MethodRouter<State>| {
        Route::new("GET", path, (access, summary), handler)
    };
    vec![
        get_(
            "/v1/overview",
            Viewer,
            "How it does, and what wants attention",
            || get(overview::overview),
        )
        .json::<overview::Overview>(200)
        .problems(&["store"]),
        get_(
            "/v1/doctor",
            Viewer,
            "What the gateway can say of itself",
            || get(doctor::doctor),
        )
        .json::<doctor::DoctorJson>(200)
        .problems(&["store"]),
        get_(
            "/v1/stats",
            Viewer,
            "What happened, step by step, also before the last start",
            || get(stats::stats),
        )
        .query::<stats::StatsQuery>()
        .json::<stats::StatsJson>(200)
        .problems(&["no_such_source"]),
        get_(
            "/v1/stream",
            Viewer,
            "What happens, as it happens: server-sent events",
            || get(stream::stream),
        )
        .query::<stream::StreamQuery>()
        .gives(200, Content::Text("text/event-stream"))
        .problems(&["too_many_streams"]),
        get_("/v1/events", Viewer, "Deliveries, newest first", || {
            get(events::events)
        })
        .query::<events::EventsQuery>()
        .json::<events::EventsPage>(200)
        .problems(&["store"]),
        get_(
            "/v1/groups",
            Viewer,
            "What deliveries have in common",
            || get(groups::groups),
        )
        .query::<groups::GroupsQuery>()
        .json::<groups::GroupsPage>(200)
        .problems(&["store"]),
        get_("/v1/events/{id}", Viewer, "One delivery, whole", || {
            get(detail::event)
        })
        .query::<detail::EventQuery>()
        .json::<detail::EventDetail>(200)
        .problems(&["no_such_event", "operator_only", "store"]),
        get_(
            "/v1/events/{id}/verification",
            Viewer,
            "Its signature by the rules of today, step by step",
            || get(verification::verification),
        )
        .json::<verification::Verification>(200)
        .problems(&["no_such_event", "not_applicable", "store"]),
        get_(
            "/v1/events/{id}/body",
            Operator,
            "The body byte for byte; stands in the audit",
            || get(payload::body),
        )
        .gives(200, Content::Bytes)
        .problems(&["no_such_event", "store"]),
        get_(
            "/v1/events/{id}/request",
            Operator,
            "The request as it came; stands in the audit",
            || get(payload::request),
        )
        .gives(200, Content::Bytes)
        .problems(&["no_such_event", "store"]),
        get_(
            "/v1/refusals",
            Viewer,
            "The last callbacks that were not accepted, newest first",
            || get(refusals::refusals),
        )
        .query::<refusals::RefusalsQuery>()
        .json::<refusals::RefusalsPage>(200),
        get_(
            "/v1/refusals/groups",
            Viewer,
            "The same in groups, with the likely cause",
            || get(refusals::groups),
        )
        .query::<refusals::RefusalGroupsQuery>()
        .json::<refusals::RefusalGroupsPage>(200),
        get_(
            "/v1/sources",
            Viewer,
            "Sources with their keys and destinations",
            || get(sources::sources),
        )
        .json::<sources::SourcesPage>(200)
        .problems(&["store"]),
        get_("/v1/sources/{name}", Viewer, "One source", || {
            get(sources::source)
        })
        .json::<sources::SourceJson>(200)
        .problems(&["no_such_source", "store"]),
        get_(
            "/v1/rules",
            Viewer,
            "What is in force, and from which files",
            || get(rules::rules),
        )
        .json::<rules::RulesJson>(200),
        get_(
            "/v1/audit",
            Viewer,
            "What operators did, newest first",
            || get(audit::audit),
        )
        .query::<audit::AuditQuery>()
        .json::<audit::AuditPage>(200)
        .problems(&["store"]),
        get_(
            "/v1/jobs",
            Viewer,
            "Redriving and discarding under way, and the last that ended",
            || get(many::jobs),
        )
        .json::<many::JobsPage>(200),
        get_("/v1/jobs/{id}", Viewer, "One of them", || get(many::job))
            .json::<jobs::JobJson>(200)
            .problems(&["no_such_job"]),
    ]
}

fn acting() -> Vec<Route> {
    use Access::Operator;
    let post_ = |path, summary, handler: fn() -> MethodRouter<State>| {
        Route::new("POST", path, (Operator, summary), handler)
    };
    vec![
        post_("/v1/events/{id}/redrive", "Deliver it again", || {
            post(operate::redrive)
        })
        .json::<operate::Done>(202)
        .problems(&["no_such_event", "not_applicable", "store"]),
        post_("/v1/events/{id}/discard", "Deliver it no more", || {
            post(operate::discard)
        })
        .body::<operate::Reason>()
        .json::<operate::Done>(200)
        .problems(&["no_such_event", "not_applicable", "store"]),
        post_(
            "/v1/sources/{name}/pause",
            "Accept, and send nothing until it is resumed",
            || post(operate::pause),
        )
        .query::<operate::LaneQuery>()
        .json::<operate::Paused>(200)
        .problems(&["no_such_source", "store"]),
        post_("/v1/sources/{name}/resume", "Send again", || {
            post(operate::resume)
        })
        .query::<operate::LaneQuery>()
        .json::<operate::Paused>(200)
        .problems(&["no_such_source", "store"]),
        post_("/v1/redrive", "Redrive all that fit, or plan it", || {
            post(many::redrive)
        })
        .body::<many::Many>()
        .json::<many::Planned>(200)
        .json::<many::Begun>(202)
        .problems(&["count_differs", "too_many", "store"]),
        post_("/v1/discard", "Discard all that fit, or plan it", || {
            post(many::discard)
        })
        .body::<many::Many>()
        .json::<many::Planned>(200)
        .json::<many::Begun>(202)
        .problems(&["count_differs", "too_many", "store"]),
        post_(
            "/v1/jobs/{id}/stop",
            "Stop it; what it did stays done",
            || post(many::stop),
        )
        .json::<jobs::JobJson>(202)
        .problems(&["no_such_job"]),
        post_(
            "/v1/reload",
            "Read rules, keys and certificate anew, all or nothing",
            || post(rules::reload),
        )
        .json::<rules::ReloadedJson>(200)
        .problems(&["reload_failed", "store"]),
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
