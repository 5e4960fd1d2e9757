//! `[admin]`: where the admin port listens, under which names, and whose tokens it knows.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::rule::reader::{Field, Table};
use crate::rule::value::{self, Complaint};
use crate::secret::SecretRef;
use crate::settings::{Reader, set, socket};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Loopback, a Unix socket, or with TLS and tokens any address.
    pub address: AdminAddress,
    pub tls: Option<AdminTls>,
    /// Names by which the port may be asked besides loopback's and the bound address: in lower
    /// case, with or without a port. Without one, any port is meant.
    pub hosts: Vec<String>,
    /// Tokens that may do everything. Empty (and no viewer): one is made on the first start.
    pub operator: Vec<TokenRef>,
    /// Tokens that may only look.
    pub viewer: Vec<TokenRef>,
}

/// Where the admin port listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl AdminAddress {
    /// The address and port, where it is one.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            AdminAddress::Tcp(address) => Some(*address),
            AdminAddress::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for AdminAddress {
    fn from(address: SocketAddr) -> Self {
        AdminAddress::Tcp(address)
    }
}

/// As the settings write it.
impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => fmt::Display::fmt(address, f),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Certificate and key of the admin port, and whose certificates its clients need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Only who has a certificate of one of these authorities gets past the health paths; a token
    /// is needed all the same.
    pub client_ca: Option<PathBuf>,
    /// Lists of certificates that these authorities have revoked. With them a certificate whose
    /// authority has no list there is refused as well.
    pub client_crl: Option<PathBuf>,
}

/// Where a token lies, and what the audit calls its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRef {
    pub from: SecretRef,
    /// Without it the holder is called after the token's place, e.g. `operator[0]`.
    pub name: Option<String>,
}

/// Longest path of a Unix socket: `sun_path` has 108 bytes on Linux, with a zero at the end, and
/// the socket is made under a name that is four bytes longer (unix(7)).
const SOCKET_PATH_MAX: usize = 103;

/// Longest name of a token's holder, in bytes.
const NAME_MAX: usize = 64;

impl Reader<'_> {
    pub(super) fn admin(&self, table: Table<'_>, admin: &mut Admin) {
        let address = table.get("address");
        if let Some(field) = &address {
            let read = field.parsed(|text| self.admin_address(text));
            set(&mut admin.address, read);
        }
        let tls = table.get("tls");
        if let Some(files) = tls.as_ref().and_then(Field::table) {
            admin.tls = self.admin_tls(files);
        }
        if let Some(field) = table.get("hosts") {
            let list = field.list();
            admin.hosts = list.iter().filter_map(|f| f.parsed(host)).collect();
        }
        let (operator, viewer) = (table.get("operator"), table.get("viewer"));
        let tokens = operator.is_some() || viewer.is_some();
        admin.operator = self.tokens(operator);
        admin.viewer = self.tokens(viewer);
        match (&admin.address, address, tls) {
            (AdminAddress::Tcp(at), Some(field), tls) if !at.ip().to_canonical().is_loopback() => {
                refuse_bare(&field, tls.is_some(), tokens);
            }
            (AdminAddress::Unix(_), _, Some(tls)) => tls.problems.error_with(
                tls.key,
                "admin_tls",
                "nobody but this machine reaches a Unix socket: it speaks no TLS",
                "leave `tls` out; the mode of the socket (0660) and the token say who may ask",
            ),
            (AdminAddress::Tcp(_) | AdminAddress::Unix(_), _, _) => {}
        }
        table.finish();
    }

    fn admin_address(&self, text: &str) -> Result<AdminAddress, Complaint> {
        let Some(path) = text.strip_prefix("unix:") else {
            let complaint = |_| {
                Complaint::new(format!(
                    "`{text}` is neither an address with a port nor a socket"
                ))
                .hint("e.g. `127.0.0.1:8444`, `unix:/run/callseal/admin.sock`")
            };
            return socket(text).map(AdminAddress::Tcp).map_err(complaint);
        };
        if path.is_empty() {
            return Err(Complaint::new("`unix:` needs a path"));
        }
        let path = self.folder.join(path);
        match path.as_os_str().len() {
            0..=SOCKET_PATH_MAX => Ok(AdminAddress::Unix(path)),
            long => Err(Complaint::new(format!(
                "a socket's path has at most {SOCKET_PATH_MAX} bytes, this has {long}"
            ))
            .hint("e.g. `unix:/run/callseal/admin.sock`")),
        }
    }

    fn admin_tls(&self, files: Table<'_>) -> Option<AdminTls> {
        let example = "`tls = { cert = \"certs/admin.pem\", key = \"certs/admin.key\" }`";
        let cert = self.path(files.need("cert", example));
        let key = self.path(files.need("key", example));
        let client_ca = self.path(files.get("client_ca"));
        let revoked = files.get("client_crl");
        if let (Some(field), None) = (&revoked, &client_ca) {
            field.problems.error_with(
                field.key.clone(),
                "admin_tls",
                "`client_crl` says which certificates of `client_ca` are not taken any more, and there is none",
                "`client_ca = \"certs/clients.pem\"` beside it",
            );
        }
        let client_crl = self.path(revoked);
        files.finish();
        Some(AdminTls {
            cert: cert?,
            key: key?,
            client_ca,
            client_crl,
        })
    }

    fn tokens(&self, field: Option<Field<'_>>) -> Vec<TokenRef> {
        let list = field.map(|field| field.list()).unwrap_or_default();
        list.iter().filter_map(|f| self.token(f)).collect()
    }

    fn token(&self, field: &Field<'_>) -> Option<TokenRef> {
        // What stands here may be the token itself: it is never shown.
        let secret = |f: &Field<'_>| {
            f.problems.hide(f.span.clone());
            f.parsed(|text| value::secret_ref(text, self.folder))
        };
        if !field.is_table() {
            let from = secret(field)?;
            return Some(TokenRef { from, name: None });
        }
        let table = field.table()?;
        let from = table.need(
            "from",
            "`{ from = \"file:alice.token\", name = \"alice\" }`",
        );
        let from = from.and_then(|f| secret(&f));
        let name = table.get("name").map(|f| f.parsed(holder));
        table.finish();
        let name = match name {
            None => None,
            Some(name) => Some(name?),
        };
        Some(TokenRef { from: from?, name })
    }
}

/// Whoever can reach the port could read tokens on the wire, or be the first to ask.
fn refuse_bare(field: &Field<'_>, tls: bool, tokens: bool) {
    let refuse = |message: &str, hint: &str| {
        let (span, hint) = (field.span.clone(), hint.to_owned());
        field
            .problems
            .error_with(span, "admin_public", message, hint);
    };
    if !tls {
        refuse(
            "without TLS the admin port stays on loopback or a Unix socket",
            "`tls = { cert = \"certs/admin.pem\", key = \"certs/admin.key\" }`, or `127.0.0.1:8444` and an SSH tunnel",
        );
    }
    if !tokens {
        refuse(
            "an admin port that others can reach needs tokens that you have named",
            "`operator = [{ from = \"file:alice.token\", name = \"alice\" }]`",
        );
    }
}

/// What a Host header may say: `admin.example.com`, with or without a port.
fn host(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:[]".contains(c);
    let authority: Option<http::uri::Authority> = text.parse().ok();
    match authority {
        Some(_) if text.chars().all(plain) => Ok(text.to_owned()),
        Some(_) | None => Err(Complaint::new(format!(
            "`{text}` is not the name of a host in lower case"
        ))
        .hint("e.g. `admin.example.com`, `admin.example.com:8444`")),
    }
}

/// A name for the audit. No brackets: nobody can be called `operator[0]` who is not.
fn holder(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    match !text.is_empty() && text.len() <= NAME_MAX && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(Complaint::new(format!(
            "a name has 1 to {NAME_MAX} letters, digits and `. _ @ + -`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Settings;

    fn parse(text: &str) -> Result<Admin, Vec<String>> {
        let text = format!("[admin]\n{text}");
        let read = Settings::parse(Path::new("etc/callseal.toml"), &text);
        let told = |d: &crate::rule::diagnostic::Diagnostic| {
            let hint = d.hint.clone().unwrap_or_default();
            format!("{}:{} {hint}", d.position().0, d.code)
        };
        read.map(|settings| settings.admin)
            .map_err(|d| d.iter().map(told).collect())
    }

    const TLS: &str = "tls = { cert = \"c\", key = \"k\" }\n";

    /// Threat 25: nothing but loopback without TLS, nor without a token of one's own.
    #[test]
    fn threat_25_a_public_address_needs_tls_and_tokens() {
        let token = "operator = [\"file:t\"]\n";
        for public in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:10.0.0.1]:1"] {
            let address = format!("address = \"{public}\"\n");
            assert_eq!(parse(&address).unwrap_err().len(), 2, "{public}");
            let faults = parse(&(address.clone() + token)).unwrap_err();
            assert!(
                faults[0].starts_with("2:admin_public `tls = "),
                "{faults:?}"
            );
            let faults = parse(&(address.clone() + TLS)).unwrap_err();
            assert!(
                faults[0].starts_with("2:admin_public `operator"),
                "{faults:?}"
            );
            let admin = parse(&(address + TLS + token)).unwrap();
            assert!(admin.tls.is_some() && admin.operator.len() == 1);
        }
        for ours in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(parse(&format!("address = \"{ours}\"")).is_ok(), "{ours}");
        }
    }

    #[test]
    fn a_socket_has_a_path_that_fits_and_no_tls() {
        let admin = parse("address = \"unix:run/admin.sock\"").unwrap();
        assert_eq!(
            admin.address,
            AdminAddress::Unix("etc/run/admin.sock".into())
        );
        assert_eq!(admin.address.to_string(), "unix:etc/run/admin.sock");
        assert_eq!(admin.address.socket(), None);
        let bad = |text: &str| parse(text).unwrap_err().remove(0);
        assert!(bad("address = \"unix:\"").starts_with("2:bad_value"));
        assert!(
            bad(&format!("address = \"unix:/{}\"", "a".repeat(103))).starts_with("2:bad_value")
        );
        assert!(bad(&format!("address = \"unix:/a\"\n{TLS}")).starts_with("3:admin_tls"));
        assert!(bad("address = \"localhost\"").contains("unix:/run"));
    }

    #[test]
    fn tokens_may_have_a_name_and_hosts_are_names() {
        let admin = parse(
            "operator = [\"env:A\", { from = \"file:b\", name = \"alice@ops\" }]\nviewer = \"file:v\"\nhosts = [\"admin.example.com\", \"10.0.0.1:8444\"]",
        )
        .unwrap();
        let names: Vec<Option<&str>> = admin.operator.iter().map(|t| t.name.as_deref()).collect();
        assert_eq!(names, [None, Some("alice@ops")]);
        assert_eq!(admin.viewer[0].from, SecretRef::File("etc/v".into()));
        assert_eq!(admin.hosts, ["admin.example.com", "10.0.0.1:8444"]);
        for bad in [
            "hosts = [\"https://a\"]",
            "hosts = [\"A.example\"]",
            "hosts = [\"\"]",
            "hosts = [\"u@a.example\"]",
            "operator = [{ name = \"alice\" }]",
            "operator = [{ from = \"file:b\", name = \"operator[0]\" }]",
            "operator = [{ from = \"file:b\", name = \"\" }]",
            "tls = { cert = \"c\" }",
            "tls = { cert = \"c\", key = \"k\", client_crl = \"crl\" }",
        ] {
            assert_eq!(parse(bad).unwrap_err().len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_token_in_the_file_is_never_shown() {
        for text in [
            "operator = [\"canary-0001\"]",
            "viewer = [{ from = \"canary-0001\" }]",
        ] {
            let text = format!("[admin]\n{text}\nx = 1");
            let found = Settings::parse(Path::new("c"), &text).unwrap_err();
            let look = crate::rule::diagnostic::Look::Plain;
            let shown = crate::rule::diagnostic::render(&found, look);
            assert!(found.len() == 2 && !shown.contains("canary"), "{shown}");
        }
    }
}
