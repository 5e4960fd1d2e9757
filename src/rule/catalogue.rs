//! The provider files that ship inside the binary.

/// Name and text of every built-in provider, by name.
pub const PROVIDERS: &[(&str, &str)] = &[
    ("alipay", include_str!("../../rules/providers/alipay.toml")),
    (
        "generic-hmac",
        include_str!("../../rules/providers/generic-hmac.toml"),
    ),
    ("github", include_str!("../../rules/providers/github.toml")),
    (
        "shopify",
        include_str!("../../rules/providers/shopify.toml"),
    ),
    ("slack", include_str!("../../rules/providers/slack.toml")),
    (
        "standard-webhooks",
        include_str!("../../rules/providers/standard-webhooks.toml"),
    ),
    ("stripe", include_str!("../../rules/providers/stripe.toml")),
    (
        "wechatpay-v3",
        include_str!("../../rules/providers/wechatpay-v3.toml"),
    ),
];

/// The text of a built-in provider file.
pub fn text(name: &str) -> Option<&'static str> {
    PROVIDERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

pub fn names() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_on_disk_is_in_the_binary() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/providers");
        let mut on_disk: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "toml"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        on_disk.sort();
        assert_eq!(names().collect::<Vec<_>>(), on_disk);
    }
}
