//! The rules of the house, read from the sources.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join("src"), &mut found);
    found
}

/// The modules of lib.rs in their order.
fn order() -> Vec<String> {
    let lib = read(&root().join("src/lib.rs"));
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// A module names only modules that are declared above it.
#[test]
fn the_order_of_the_path_is_kept() {
    let order = order();
    assert!(order.len() > 10, "{order:?}");
    let mut wrong = Vec::new();
    for file in all_sources() {
        let relative = file.strip_prefix(root().join("src")).unwrap();
        let first = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = first.trim_end_matches(".rs");
        let Some(own) = order.iter().position(|m| m == module) else {
            continue;
        };
        for (number, line) in read(&file).lines().enumerate() {
            for rest in line.split("crate::").skip(1) {
                // Another crate whose name ends in `crate`, or a word in a comment.
                let named: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if order
                    .iter()
                    .position(|m| *m == named)
                    .is_some_and(|at| at > own)
                {
                    wrong.push(format!(
                        "{}:{}: {module} names {named}",
                        relative.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in all_sources() {
        assert!(read(&file).starts_with("//! "), "{}", file.display());
    }
}

/// Stable reason codes are documented, and what is documented exists.
#[test]
fn reason_codes_are_documented() {
    let documented: Vec<String> = read(&root().join("docs/reasons.md"))
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()))
        .collect();
    let files = [
        "src/listener/screen.rs",
        "src/listener/strict.rs",
        "src/guard/mod.rs",
        "src/verify/rejection.rs",
        "src/verify/keys/fault.rs",
        "src/inbox/store/event.rs",
        "src/inbox/store/fault.rs",
        "src/relay/error.rs",
        "src/remote/fault.rs",
    ];
    let mut codes = Vec::new();
    for file in files {
        let text = read(&root().join(file));
        let function = text
            .split("fn code(")
            .skip(1)
            .map(|rest| rest.split("\n    }\n").next().unwrap());
        for part in function.flat_map(|body| body.split("=> \"").skip(1)) {
            codes.push(part.split('"').next().unwrap().to_owned());
        }
        assert!(!codes.is_empty(), "{file}");
    }
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| !documented.contains(code))
        .collect();
    let invented: Vec<&String> = documented
        .iter()
        .filter(|code| !codes.contains(code))
        .collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing: {missing:?}, invented: {invented:?}"
    );
}

#[test]
fn documented_paths_and_metrics_exist() {
    let docs = [
        "README.md",
        "docs/architecture.md",
        "docs/settings.md",
        "docs/rules.md",
        "docs/metrics.md",
        "docs/operations.md",
    ]
    .map(|f| read(&root().join(f)))
    .join("\n");
    for route in callseal::admin::routes::routes() {
        let (method, path) = (route.method, route.path);
        assert!(
            docs.contains(&format!("`{path}`")),
            "{method} {path} is documented nowhere"
        );
    }
    let metrics = callseal::telemetry::Metrics::described();
    for word in docs
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|w| w.starts_with("callseal_"))
    {
        let known = metrics.iter().any(|metric| metric.name == word);
        assert!(known, "{word} is no metric of ours");
    }
}

/// Every key of `callseal.toml` and of a source stands in the documentation.
#[test]
fn documented_settings_are_all_there_are() {
    let page = read(&root().join("docs/settings.md"));
    let rooms = ["read.rs", "admin.rs", "watching.rs"];
    let files = rooms.map(|f| read(&root().join("src/settings").join(f)));
    let code: Vec<&str> = files
        .iter()
        .map(|code| code.split("#[cfg(test)]").next().unwrap())
        .collect();
    let code = code.join("\n");
    let mut keys: Vec<&str> = Vec::new();
    for call in ["get(\"", "need(\"", "count(\"", "bytes(\"", "time(\""] {
        keys.extend(
            code.split(call)
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap()),
        );
    }
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        assert!(
            page.contains(&format!("`{key}`"))
                || page.contains(&format!("{key} "))
                || page.contains(&format!("[{key}]")),
            "{key} is not in docs/settings.md"
        );
    }
}

#[test]
fn no_private_key_is_kept_here() {
    let mut files = Vec::new();
    for folder in ["certs", "rules", "tests", "docs"] {
        every_file(&root().join(folder), &mut files);
    }
    let marker = ["PRIVATE", " KEY-----\n"].concat();
    for file in files {
        let text = std::fs::read(&file).unwrap();
        let found = String::from_utf8_lossy(&text).contains(&marker);
        assert!(!found, "{}", file.display());
    }
}

fn every_file(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path().is_dir() {
            true => every_file(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}
