//! Chains that are made here, good ones and every bad one.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PKCS_RSA_SHA512, RsaKeySize, SignatureAlgorithm, date_time_ymd,
};

use super::*;
use crate::rule::provider::{Algorithm, Curve};
use crate::verify::public_key::{PublicForm, load};

/// 2026-11-22T00:00:00Z; the certificates below are good from 2026 to 2030.
const NOW: Timestamp = Timestamp::from_secs(1_795_305_600);

/// The marks of Apple's chains.
const LEAF_OID: &[u64] = &[1, 2, 840, 113635, 100, 6, 11, 1];
const INTERMEDIATE_OID: &[u64] = &[1, 2, 840, 113635, 100, 6, 2, 1];

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn marked(mut params: CertificateParams, oid: &[u64]) -> CertificateParams {
    // The content is an ASN.1 NULL, as Apple's is.
    let extension = CustomExtension::from_oid_content(oid, vec![5, 0]);
    params.custom_extensions.push(extension);
    params
}

fn root_of(params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> Authority {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Authority {
        params,
        key,
        certificate,
    }
}

fn root() -> Authority {
    root_of(authority_params("Root"), &PKCS_ECDSA_P384_SHA384)
}

impl Authority {
    fn issue(&self, params: CertificateParams) -> Authority {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Authority {
            params,
            key,
            certificate,
        }
    }

    fn der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    fn trust(&self) -> Trust {
        Trust::Anchors(vec![self.der()])
    }
}

/// Root, intermediate and leaf with Apple's marks.
fn apple() -> (Authority, Authority, Authority) {
    let root = root();
    let between = root.issue(marked(authority_params("Between"), INTERMEDIATE_OID));
    let leaf = between.issue(marked(params("notify.pay.example"), LEAF_OID));
    (root, between, leaf)
}

fn dotted(oid: &[u64]) -> Option<String> {
    let parts: Vec<String> = oid.iter().map(u64::to_string).collect();
    Some(parts.join("."))
}

fn apple_policy() -> Policy {
    Policy {
        length: Some(3),
        leaf_oid: dotted(LEAF_OID),
        intermediate_oid: dotted(INTERMEDIATE_OID),
        name: Some(NameRule::Suffix(".pay.example".into())),
    }
}

fn fault(certs: &[Vec<u8>], trust: &Trust, policy: &Policy) -> CertificateFault {
    chain(certs, trust, NOW, policy).unwrap_err()
}

#[test]
fn a_good_chain_gives_the_key_of_its_leaf() {
    let (root, between, leaf) = apple();
    let certs = [leaf.der(), between.der(), root.der()];
    let key = chain(&certs, &root.trust(), NOW, &apple_policy()).unwrap();
    assert_eq!(key.common_name.as_deref(), Some("notify.pay.example"));
    assert_eq!(key.not_after, Timestamp::from_secs(1_893_456_000));
    let p256 = Algorithm::Ecdsa(Curve::P256);
    assert!(load(p256, PublicForm::Der, &key.spki).is_ok());
    let loaded = load(p256, PublicForm::Der, &leaf.der()).unwrap();
    assert_eq!(loaded.serial, Some(key.serial));
    // The root need not come along.
    let lax = Policy::default();
    assert!(chain(&certs[..2], &root.trust(), NOW, &lax).is_ok());
    // Nor is it what makes the chain good.
    let other = self::root();
    assert_eq!(
        fault(&certs, &other.trust(), &lax),
        CertificateFault::IssuerUnknown { index: 2 }
    );
    assert_eq!(
        fault(&certs, &Trust::Anchors(vec![]), &lax),
        CertificateFault::IssuerUnknown { index: 2 }
    );
    // Of two roots with one name the right one is found.
    let both = Trust::Anchors(vec![other.der(), root.der()]);
    assert!(chain(&certs, &both, NOW, &apple_policy()).is_ok());
    // A trusted intermediate is enough.
    assert!(chain(&certs, &between.trust(), NOW, &lax).is_ok());
}

#[test]
fn rsa_chains_too() {
    for (algorithm, size) in [
        (&PKCS_RSA_SHA256, RsaKeySize::_2048),
        (&PKCS_RSA_SHA512, RsaKeySize::_3072),
    ] {
        let key = KeyPair::generate_rsa_for(algorithm, size).unwrap();
        let params = authority_params("Root");
        let certificate = params.self_signed(&key).unwrap();
        let root = Authority {
            params,
            key,
            certificate,
        };
        let leaf = root.issue(self::params("x"));
        assert!(chain(&[leaf.der()], &root.trust(), NOW, &Policy::default()).is_ok());
    }
}

#[test]
fn every_certificate_has_its_time() {
    let (root, between, leaf) = apple();
    let certs = [leaf.der(), between.der()];
    let lax = Policy::default();
    let at = |seconds| chain(&certs, &root.trust(), Timestamp::from_secs(seconds), &lax);
    // 2026-01-01 and 2030-01-01.
    assert!(at(1_767_225_600).is_ok());
    assert!(at(1_893_456_000).is_ok());
    let early = at(1_767_225_599).unwrap_err();
    assert_eq!(early, CertificateFault::NotYetValid { index: 0 });
    let late = at(1_893_456_001).unwrap_err();
    assert_eq!(late, CertificateFault::Expired { index: 0 });
    assert!(chain(&certs, &root.trust(), Timestamp::MAX, &lax).is_err());

    let mut old = authority_params("Old");
    old.not_after = date_time_ymd(2026, 6, 1);
    let between = root.issue(old.clone());
    let leaf = between.issue(params("x"));
    let expired = fault(&[leaf.der(), between.der()], &root.trust(), &lax);
    assert_eq!(expired, CertificateFault::Expired { index: 1 });
    let root = root_of(old, &PKCS_ECDSA_P256_SHA256);
    let leaf = root.issue(params("x"));
    let expired = fault(&[leaf.der()], &root.trust(), &lax);
    assert_eq!(expired, CertificateFault::Expired { index: 1 });
}

#[test]
fn the_order_counts() {
    let (root, between, leaf) = apple();
    let lax = Policy::default();
    let fault = |certs: &[&Authority]| {
        let certs: Vec<_> = certs.iter().map(|c| c.der()).collect();
        fault(&certs, &root.trust(), &lax)
    };
    assert_eq!(fault(&[]), CertificateFault::Empty);
    assert_eq!(
        fault(&[&leaf]),
        CertificateFault::IssuerUnknown { index: 0 }
    );
    assert_eq!(
        fault(&[&leaf, &root, &between]),
        CertificateFault::IssuerUnknown { index: 0 }
    );
    assert_eq!(
        fault(&[&between, &leaf, &root]),
        CertificateFault::LeafIsAuthority
    );
    assert_eq!(fault(&[&root]), CertificateFault::LeafIsAuthority);
    let many = [&leaf; LONGEST + 1];
    assert_eq!(fault(&many), CertificateFault::Length { found: 9 });
    let certs = [leaf.der(), between.der()];
    assert_eq!(
        self::fault(&certs, &root.trust(), &apple_policy()),
        CertificateFault::Length { found: 2 }
    );
}

#[test]
fn a_leaf_issues_nothing() {
    let (root, between, leaf) = apple();
    let forged = leaf.issue(params("notify.pay.example"));
    let certs = [forged.der(), leaf.der(), between.der()];
    let lax = Policy::default();
    let found = fault(&certs, &root.trust(), &lax);
    assert_eq!(found, CertificateFault::NotAnAuthority { index: 1 });
    // Nor when it is trusted by itself.
    let found = fault(&[forged.der()], &leaf.trust(), &lax);
    assert_eq!(found, CertificateFault::NotAnAuthority { index: 1 });
    // Nor does an authority that may sign other things only.
    let mut narrow = authority_params("Narrow");
    narrow.key_usages = vec![KeyUsagePurpose::CrlSign];
    let narrow = root.issue(narrow);
    let leaf = narrow.issue(params("x"));
    let found = fault(&[leaf.der(), narrow.der()], &root.trust(), &lax);
    assert_eq!(found, CertificateFault::NotAnAuthority { index: 1 });
    // A leaf whose key is for encryption alone signs nothing.
    let mut other = params("x");
    other.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let leaf = root.issue(other);
    let found = fault(&[leaf.der()], &root.trust(), &lax);
    assert_eq!(found, CertificateFault::LeafUsage);
}

#[test]
fn an_authority_may_limit_what_is_below_it() {
    let root = root();
    let mut limited = authority_params("Limited");
    limited.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let limited = root.issue(limited);
    let lax = Policy::default();
    let leaf = limited.issue(params("x"));
    assert!(chain(&[leaf.der(), limited.der()], &root.trust(), NOW, &lax).is_ok());
    let below = limited.issue(authority_params("Below"));
    let leaf = below.issue(params("x"));
    let certs = [leaf.der(), below.der(), limited.der()];
    let found = fault(&certs, &root.trust(), &lax);
    assert_eq!(found, CertificateFault::TooDeep { index: 2 });
    let found = fault(&certs, &limited.trust(), &lax);
    assert_eq!(found, CertificateFault::TooDeep { index: 2 });
}

#[test]
fn somebody_elses_signature_is_noticed() {
    let (root, between, leaf) = apple();
    let lax = Policy::default();
    // The same names, other keys.
    let (_, other_between, _) = apple();
    let found = fault(&[leaf.der(), other_between.der()], &root.trust(), &lax);
    assert_eq!(found, CertificateFault::BadSignature { index: 0 });
    let certs = [leaf.der(), between.der()];
    for index in 0..2 {
        for at in 0..certs[index].len() {
            let mut spoiled = certs.clone();
            spoiled[index][at] ^= 1;
            let found = chain(&spoiled, &root.trust(), NOW, &lax);
            assert!(found.is_err(), "byte {at} of certificate {index}");
            let cut = certs[index][..at].to_vec();
            spoiled[index] = cut;
            assert_eq!(
                fault(&spoiled, &root.trust(), &lax),
                CertificateFault::Malformed { index }
            );
        }
        let mut longer = certs.clone();
        longer[index].push(0);
        let found = fault(&longer, &root.trust(), &lax);
        assert_eq!(found, CertificateFault::Malformed { index });
    }
}

#[test]
fn marks_and_names_are_demanded() {
    let (root, between, leaf) = apple();
    let certs = [leaf.der(), between.der(), root.der()];
    let with = |change: fn(&mut Policy)| {
        let mut policy = apple_policy();
        change(&mut policy);
        chain(&certs, &root.trust(), NOW, &policy).map(|_| ())
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(
        with(|p| p.leaf_oid = dotted(INTERMEDIATE_OID)),
        Err(CertificateFault::OidMissing { index: 0 })
    );
    assert_eq!(
        with(|p| p.intermediate_oid = dotted(LEAF_OID)),
        Err(CertificateFault::OidMissing { index: 1 })
    );
    let wrong = Err(CertificateFault::WrongName);
    for (rule, verdict) in [
        (NameRule::Suffix(".PAY.example".into()), Ok(())),
        (NameRule::Suffix(".example.com".into()), wrong),
        (NameRule::Suffix(String::new()), wrong),
        (NameRule::Contains("pay".into()), Ok(())),
        (NameRule::Contains("Pay".into()), wrong),
        (NameRule::Contains(String::new()), wrong),
    ] {
        let policy = Policy {
            name: Some(rule.clone()),
            ..apple_policy()
        };
        let found = chain(&certs, &root.trust(), NOW, &policy).map(|_| ());
        assert_eq!(found, verdict, "{rule:?}");
    }
    // A mark on the leaf of a root that issues leaves itself.
    let leaf = root.issue(marked(params("x"), LEAF_OID));
    let policy = Policy {
        intermediate_oid: dotted(INTERMEDIATE_OID),
        ..Policy::default()
    };
    let found = fault(&[leaf.der()], &root.trust(), &policy);
    assert_eq!(found, CertificateFault::OidMissing { index: 1 });
    // A DNS name stands for the common name.
    let mut other = params("Somebody");
    other.subject_alt_names = CertificateParams::new(vec!["a.pay.example".to_owned()])
        .unwrap()
        .subject_alt_names;
    let leaf = root.issue(other);
    let policy = |rule| Policy {
        name: Some(rule),
        ..Policy::default()
    };
    let suffix = policy(NameRule::Suffix(".pay.example".into()));
    assert!(chain(&[leaf.der()], &root.trust(), NOW, &suffix).is_ok());
    let contains = policy(NameRule::Contains("pay".into()));
    let found = fault(&[leaf.der()], &root.trust(), &contains);
    assert_eq!(found, CertificateFault::WrongName);
}

#[test]
fn what_is_critical_must_be_known() {
    let root = root();
    let critical = |oid: &[u64]| {
        let mut params = marked(params("x"), oid);
        params.custom_extensions[0].set_criticality(true);
        root.issue(params)
    };
    let policy = Policy {
        leaf_oid: dotted(LEAF_OID),
        ..Policy::default()
    };
    let leaf = critical(LEAF_OID);
    assert!(chain(&[leaf.der()], &root.trust(), NOW, &policy).is_ok());
    for (leaf, policy) in [
        (leaf.der(), Policy::default()),
        (critical(INTERMEDIATE_OID).der(), policy),
    ] {
        let found = fault(&[leaf], &root.trust(), &policy);
        assert_eq!(found, CertificateFault::UnknownCritical { index: 0 });
    }
    let mut narrow = authority_params("Narrow");
    narrow.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example".into())],
        excluded_subtrees: vec![],
    });
    let narrow = root.issue(narrow);
    let leaf = narrow.issue(params("x"));
    let found = fault(
        &[leaf.der(), narrow.der()],
        &root.trust(),
        &Policy::default(),
    );
    assert_eq!(found, CertificateFault::UnknownCritical { index: 1 });
}

#[test]
fn chains_are_read_in_every_form() {
    let (root, between, leaf) = apple();
    let ders = vec![leaf.der(), between.der(), root.der()];
    let pem = [&leaf, &between, &root].map(|c| c.certificate.pem());
    let section = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    for text in [
        pem.concat(),
        format!("\n{}{section}{}{}", pem[0], pem[1], pem[2]),
    ] {
        assert_eq!(pem_or_der_chain(text.as_bytes()), ders);
    }
    assert_eq!(pem_or_der_chain(&ders.concat()), ders);
    assert_eq!(
        pem_or_der_chain(BASE64.encode(&ders.concat()).as_bytes()),
        ders
    );
    let cut = &ders[0][..ders[0].len() - 1];
    for nothing in [&b""[..], b"x", b"-----BEGIN", section.as_bytes(), cut] {
        assert!(pem_or_der_chain(nothing).is_empty());
    }
}

#[test]
fn a_certificate_that_vouches_for_itself_is_refused() {
    let certs = pem_or_der_chain(include_bytes!("../testdata/rsa2048.crt.pem"));
    let trust = Trust::Anchors(certs.clone());
    let found = fault(&certs, &trust, &Policy::default());
    assert_eq!(found, CertificateFault::NotAnAuthority { index: 1 });
    // The roots of this machine know nothing of it.
    let (_, _, leaf) = apple();
    let found = fault(&[leaf.der()], &Trust::Web, &Policy::default());
    assert_eq!(found, CertificateFault::IssuerUnknown { index: 0 });
}

/// Leaf and root, made with OpenSSL 3.0: a leaf signed with SHA-1, one by a root with a key of
/// 1024 bits, and for comparison one that has neither fault.
#[test]
fn weak_signatures_are_refused() {
    let later = Timestamp::from_secs(1_893_456_000);
    let verdict = |pem: &[u8]| {
        let certs = pem_or_der_chain(pem);
        let trust = Trust::Anchors(certs[1..].to_vec());
        chain(&certs, &trust, later, &Policy::default()).map(|_| ())
    };
    assert_eq!(
        verdict(include_bytes!("../testdata/plain.chain.pem")),
        Ok(())
    );
    let weak = Err(CertificateFault::Weak { index: 0 });
    assert_eq!(verdict(include_bytes!("../testdata/sha1.chain.pem")), weak);
    assert_eq!(
        verdict(include_bytes!("../testdata/rsa1024.chain.pem")),
        weak
    );
}

/// The roots of this machine are certificates as authorities write them; there may be none.
#[test]
fn real_roots_are_understood() {
    for der in native_roots() {
        let root = parse(&der).unwrap();
        let name = root.subject().to_string();
        match check(&root, 0, NOW, None) {
            Ok(_) | Err(CertificateFault::Expired { .. }) => {}
            Err(fault) => panic!("{name}: {fault}"),
        }
        if root.version() == X509Version::V3 {
            // People put certificates of servers among them, too.
            let verdict = is_authority(&root, 0, 0);
            let server = CertificateFault::NotAnAuthority { index: 0 };
            assert!(
                verdict == Ok(()) || verdict == Err(server),
                "{name}: {verdict:?}"
            );
        }
        let own = root.subject().as_raw() == root.issuer().as_raw();
        let verdict = signed(&root, &root, 0);
        // Old roots signed themselves with SHA-1, which is not looked at; some use P-521.
        let fine = matches!(verdict, Ok(()) | Err(CertificateFault::Weak { .. }));
        assert!(fine || !own, "{name}: {verdict:?}");
    }
}
