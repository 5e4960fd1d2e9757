//! README.zh-CN.md stands beside README.md, in step: headings, commands, names, and the parts that are
//! written from the code. `CALLSEAL_UPDATE=1` writes those anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// From a marker to its end.
fn part<'t>(text: &'t str, marker: &str) -> &'t str {
    let end = format!("<!-- /{marker} -->");
    let from = text.find(&format!("<!-- {marker}:")).unwrap();
    &text[from..text.find(&end).unwrap() + end.len()]
}

/// The lines of a generated part, in Chinese. What is not known here must be translated here first.
fn translated(part: &str) -> String {
    const WORDS: [(&str, &str); 11] = [
        ("payments", "支付"),
        ("crypto", "加密货币"),
        ("wallets", "钱包"),
        ("platforms", "平台"),
        ("standards", "标准"),
        ("they", "它们"),
        ("providers", "服务商"),
        (
            "fetch the certificate that a callback names",
            "获取回调所指的证书",
        ),
        ("ask whether an event is true", "询问事件是否属实"),
        (
            "fetch keys, all of them or where the source names none",
            "获取密钥：全部，或来源没有写的那些",
        ),
        (
            "visit an address to confirm a subscription",
            "访问一个地址以确认订阅",
        ),
    ];
    let word = |text: &str| {
        let found = WORDS.iter().find(|(english, _)| *english == text);
        found.unwrap_or_else(|| panic!("not translated: {text}")).1
    };
    let line = |line: &str| -> String {
        if let Some((kind, names)) = line.strip_prefix("- **").and_then(|l| l.split_once("**")) {
            return format!("- **{}**{names}", word(kind));
        }
        if line.starts_with("| ") {
            let cells = line.trim_matches(['|', ' ']).split(" | ");
            let cells = cells.map(|c| if c.starts_with('`') { c } else { word(c) });
            return format!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        let numbers: Vec<&str> = line
            .split(|c: char| !c.is_ascii_digit())
            .filter(|n| !n.is_empty())
            .collect();
        match numbers.as_slice() {
            [all] => format!("程序内置 {all} 家服务商："),
            [answers, packages, documents, code, nobody] => format!(
                "其中 {answers} 家能重新算出已公布的标准答案，{packages} 家依据官方 SDK 或签名库写成，{documents} 家依据官方文档，{code} 家仅依据他人的代码，{nobody} 家无人证实：`callseal providers NAME` 会说明是哪一种，并列出每一个未经证实的细节。"
            ),
            _ => line.to_owned(),
        }
    };
    let keep = |l: &str| l.is_empty() || l.starts_with("<!--") || l.starts_with("|--");
    let lines = part
        .lines()
        .map(|l| if keep(l) { l.to_owned() } else { line(l) });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_generated_parts_are_those_of_the_readme() {
    let (ours, found) = (read("README.md"), read("README.zh-CN.md"));
    let mut wanted = found.clone();
    for marker in ["providers", "outbound"] {
        let old = part(&found, marker).to_owned();
        wanted = wanted.replace(&old, &translated(part(&ours, marker)));
    }
    if std::env::var_os("CALLSEAL_UPDATE").is_some() {
        std::fs::write(path("README.zh-CN.md"), wanted).unwrap();
        return;
    }
    let first = wanted.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        wanted == found,
        "{first:?}: CALLSEAL_UPDATE=1 cargo test --test it translation"
    );
}

/// The same headings, commands, rows and names.
#[test]
fn the_chinese_readme_is_in_step() {
    let (ours, theirs) = (
        outline(&read("README.md")),
        outline(&read("README.zh-CN.md")),
    );
    assert_eq!(theirs.levels, ours.levels, "headings, by level");
    for (n, (our, their)) in ours.code.iter().zip(&theirs.code).enumerate() {
        assert_eq!(their, our, "code block {}", n + 1);
    }
    assert_eq!(theirs.code.len(), ours.code.len());
    assert_eq!(theirs.rows, ours.rows, "rows of tables");
    assert_eq!(
        theirs.generated, ours.generated,
        "parts that are written by a test"
    );
    // Every command, file and name that the one mentions, the other mentions.
    let missing: Vec<_> = ours.words.difference(&theirs.words).collect();
    assert!(missing.is_empty(), "not in README.zh-CN.md: {missing:?}");
}

#[derive(Default)]
struct Outline {
    levels: Vec<usize>,
    code: Vec<Vec<String>>,
    rows: usize,
    generated: Vec<String>,
    words: BTreeSet<String>,
}

fn outline(text: &str) -> Outline {
    let mut found = Outline::default();
    let mut fence = None;
    for line in text.lines() {
        if let Some(block) = &mut fence {
            if line.starts_with("```") {
                found.code.push(std::mem::take(block));
                fence = None;
                continue;
            }
            let code = line.split(" #").next().unwrap_or("");
            if !line.starts_with('#') && !line.trim().is_empty() {
                block.push(code.trim_end().to_owned());
            }
            continue;
        }
        if let Some(language) = line.strip_prefix("```") {
            fence = Some(vec![language.to_owned()]);
        } else if line.starts_with('#') {
            found
                .levels
                .push(line.chars().take_while(|c| *c == '#').count());
        } else if line.starts_with('|') {
            found.rows += 1;
        } else if line.starts_with("<!-- ") {
            found.generated.push(line.to_owned());
        }
        let quoted = line.split('`').skip(1).step_by(2);
        found.words.extend(quoted.map(str::to_owned));
    }
    found
}
