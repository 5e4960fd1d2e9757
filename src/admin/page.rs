//! The admin page: its files lie in the binary, and are served as they are. No secret is among them,
//! so that they want no token; what they show, they ask of the API.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// What the page may do: run and load its own files, and ask its own gateway. Strings never become
/// markup or code (trusted types, of which there are none).
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

/// One file of the page.
#[derive(Debug)]
pub struct File {
    /// Where it is served.
    pub path: &'static str,
    pub kind: &'static str,
    pub bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! file {
    ($path:literal, $kind:expr) => {
        file!($path, $kind, concat!("page", $path))
    };
    ($path:literal, $kind:expr, $file:expr) => {
        File {
            path: $path,
            kind: $kind,
            bytes: include_bytes!($file),
        }
    };
}

/// All files of the page. A test compares with the folder.
pub const FILES: [File; 34] = [
    file!("/", HTML, "page/index.html"),
    file!("/icon.svg", PICTURE),
    file!("/style.css", STYLE),
    file!("/parts.css", STYLE),
    file!("/early.js", SCRIPT),
    file!("/api.js", SCRIPT),
    file!("/app.js", SCRIPT),
    file!("/ask.js", SCRIPT),
    file!("/bodies.js", SCRIPT),
    file!("/charts.js", SCRIPT),
    file!("/dom.js", SCRIPT),
    file!("/en.js", SCRIPT),
    file!("/filters.js", SCRIPT),
    file!("/findings.js", SCRIPT),
    file!("/format.js", SCRIPT),
    file!("/i18n.js", SCRIPT),
    file!("/jobs.js", SCRIPT),
    file!("/keys.js", SCRIPT),
    file!("/live.js", SCRIPT),
    file!("/reasons.js", SCRIPT),
    file!("/rows.js", SCRIPT),
    file!("/trace.js", SCRIPT),
    file!("/whys.js", SCRIPT),
    file!("/widgets.js", SCRIPT),
    file!("/zh.js", SCRIPT),
    file!("/views/audit.js", SCRIPT),
    file!("/views/dead.js", SCRIPT),
    file!("/views/event.js", SCRIPT),
    file!("/views/events.js", SCRIPT),
    file!("/views/overview.js", SCRIPT),
    file!("/views/refusals.js", SCRIPT),
    file!("/views/rules.js", SCRIPT),
    file!("/views/signin.js", SCRIPT),
    file!("/views/sources.js", SCRIPT),
];

/// The ETag of each file, in the order of [`FILES`]: the beginning of its SHA-256.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| FILES.iter().map(tag).collect());

fn tag(file: &File) -> HeaderValue {
    let digest = HEXLOWER.encode(&Sha256::digest(file.bytes));
    let short: String = digest.chars().take(32).collect();
    // Digits between quotes are always a header value; without one a browser only asks again.
    HeaderValue::try_from(format!("\"{short}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The routes of the page: one for each file.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .iter()
        .zip(TAGS.iter())
        .fold(Router::new(), |router, (file, tag)| {
            router.route(
                file.path,
                get(move |headers: HeaderMap| async move { answer(file, tag, &headers) }),
            )
        })
}

/// The file, or 304 where the browser has it. `no-cache`: it asks each time, so that a new binary
/// brings a new page.
fn answer(file: &File, tag: &HeaderValue, asked: &HeaderMap) -> Response {
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let mut response = match has(asked, tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, file.kind)], file.bytes).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.clone());
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// If-None-Match names this tag (RFC 9110, 13.1.2; compared weakly, as it says).
fn has(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else {
        return false;
    };
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == "*" || one == tag)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use tower_service::Service;

    use super::*;

    fn text(file: &File) -> &'static str {
        std::str::from_utf8(file.bytes).unwrap()
    }

    fn named(path: &str) -> &'static str {
        text(FILES.iter().find(|file| file.path == path).unwrap())
    }

    async fn ask(path: &str, tag: Option<&str>) -> Response {
        let mut request = http::Request::get(path);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        routes::<()>().call(request).await.unwrap()
    }

    #[test]
    fn the_table_names_every_file_of_the_folder() {
        fn walk(folder: &Path, base: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true => walk(&path, base, found),
                    false => {
                        let name = path.strip_prefix(base).unwrap().to_str().unwrap();
                        found.push(format!("/{name}"));
                    }
                }
            }
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
        let mut found = Vec::new();
        walk(&folder, &folder, &mut found);
        found.sort();
        let mut served: Vec<String> = FILES
            .iter()
            .map(|file| match file.path {
                "/" => "/index.html".to_owned(),
                path => path.to_owned(),
            })
            .collect();
        served.sort();
        assert_eq!(found, served);
    }

    #[test]
    fn nothing_that_makes_markup_or_code_of_a_string() {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "createContextualFragment",
            "DOMParser",
            "setHTML",
            "parseHTML",
            "srcdoc",
            "eval(",
            "Function(",
            "javascript:",
            "setAttributeNS",
            "trustedTypes",
            "postMessage",
            "importScripts",
            "WebAssembly",
        ];
        for file in &FILES {
            for word in forbidden {
                assert!(!text(file).contains(word), "{} has {word}", file.path);
            }
        }
    }

    #[test]
    fn attributes_have_fixed_names() {
        // `put` and `s` check the name before; all others name it in the source.
        for file in FILES.iter().filter(|file| file.kind == SCRIPT) {
            for (number, line) in text(file).lines().enumerate() {
                let computed = line.contains("setAttribute(name");
                assert!(
                    !computed || file.path == "/dom.js",
                    "{}:{}",
                    file.path,
                    number + 1
                );
            }
        }
    }

    #[test]
    fn the_page_names_no_other_host() {
        for file in &FILES {
            let own = text(file).replace("http://www.w3.org/2000/svg", "");
            for scheme in ["http://", "https://", "ws://", "wss://", "url(", "@import"] {
                assert!(!own.contains(scheme), "{} has {scheme}", file.path);
            }
        }
    }

    #[test]
    fn no_script_or_style_stands_in_the_document() {
        let page = named("/");
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(
            page.matches("<script ").count(),
            page.matches("src=\"/").count()
        );
        assert!(
            !page.contains("<style") && !page.contains(" style="),
            "{page}"
        );
        for path in page.split(['"']).filter(|part| part.starts_with('/')) {
            named(path);
        }
    }

    /// Every module that is imported is served.
    #[test]
    fn imports_lead_to_files() {
        for file in FILES.iter().filter(|file| file.kind == SCRIPT) {
            for line in text(file)
                .lines()
                .filter(|line| line.starts_with("import "))
            {
                let path = line.split('"').nth(1).unwrap();
                named(path);
            }
        }
    }

    fn table(path: &str) -> BTreeMap<String, String> {
        let entries = named(path)
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(','))
            .map(|line| format!("{{{line}}}"));
        let mut all = BTreeMap::new();
        for entry in entries {
            let one: BTreeMap<String, String> = serde_json::from_str(&entry).unwrap();
            for (key, value) in one {
                assert!(all.insert(key.clone(), value).is_none(), "{key} twice");
            }
        }
        assert!(all.len() > 300, "{}", all.len());
        all
    }

    fn holes(text: &str) -> Vec<&str> {
        let mut found: Vec<&str> = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn both_languages_have_the_same_texts_with_the_same_holes() {
        let english = table("/en.js");
        let chinese = table("/zh.js");
        let keys = |table: &BTreeMap<String, String>| table.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&english), keys(&chinese));
        for (key, text) in &english {
            assert_eq!(holes(text), holes(&chinese[key]), "{key}");
            assert!(!chinese[key].trim().is_empty(), "{key}");
        }
    }

    /// A text that no code names is left over; a name without a text would be shown as it is.
    #[test]
    fn texts_that_the_code_names_are_there() {
        let english = table("/en.js");
        let calls = ["t(\"", "parts(\""];
        for file in FILES.iter().filter(|file| file.kind == SCRIPT) {
            for call in calls {
                for (before, rest) in text(file).match_indices(call).map(|(at, _)| {
                    let (before, rest) = text(file).split_at(at);
                    (before, &rest[call.len()..])
                }) {
                    if before.ends_with(|c: char| c.is_alphanumeric() || c == '.') {
                        continue;
                    }
                    let key = rest.split('"').next().unwrap();
                    assert!(english.contains_key(key), "{}: {key}", file.path);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_file_comes_with_its_headers_and_once() {
        for file in &FILES {
            let response = ask(file.path, None).await;
            assert_eq!(response.status(), 200);
            let headers = response.headers();
            assert_eq!(headers["content-type"], file.kind);
            assert_eq!(headers["content-security-policy"], POLICY);
            assert_eq!(headers["x-content-type-options"], "nosniff");
            let tag = headers["etag"].to_str().unwrap().to_owned();
            let again = ask(file.path, Some(&format!("\"other\", W/{tag}"))).await;
            assert_eq!(again.status(), 304);
            assert_eq!(again.headers()["etag"], tag.as_str());
            assert_eq!(ask(file.path, Some("\"other\"")).await.status(), 200);
        }
        assert_eq!(ask("/index.php", None).await.status(), 404);
    }
}
