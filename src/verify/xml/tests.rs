//! XML: flat and nested documents, and what is refused.

use super::*;

/// The example of WeChat Pay v2's page on payment notices, shortened.
const WECHAT: &str = "<xml>\n  <appid><![CDATA[wx2421b1c4370ec43b]]></appid>\n  \
    <attach><![CDATA[\u{652f}\u{4ed8} <&> ]]></attach>\n  \
    <total_fee>1</total_fee>\n  <coupon_fee_0></coupon_fee_0>\n  <sub/>\n</xml>";

/// The shape of Braintree's webhooks.
const BRAINTREE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
    <notification>
      <kind>dispute_won</kind>
      <timestamp type="datetime">2026-11-22T10:00:00Z</timestamp>
      <subject>
        <dispute><id>d1</id><amount nil="true"/><transaction><id>t1</id></transaction></dispute>
      </subject>
    </notification>
"#;

fn path(names: &str) -> Vec<String> {
    names.split('/').map(str::to_owned).collect()
}

fn only<'x>(xml: &'x Xml<'_>, names: &str) -> Result<Option<&'x str>, XmlMiss> {
    let found = xml.only(&path(names))?;
    Ok(found.map(|text| std::str::from_utf8(text).unwrap()))
}

#[test]
fn a_flat_document() {
    let xml = Xml::parse(WECHAT.as_bytes()).unwrap();
    let found: Vec<(&str, &[u8])> = xml.iter_flat().collect();
    assert_eq!(
        found,
        [
            ("appid", &b"wx2421b1c4370ec43b"[..]),
            ("attach", "\u{652f}\u{4ed8} <&> ".as_bytes()),
            ("total_fee", b"1"),
            ("coupon_fee_0", b""),
            ("sub", b""),
        ]
    );
    assert!(!xml.has_nested());
    assert_eq!(only(&xml, "total_fee"), Ok(Some("1")));
    assert_eq!(only(&xml, "sub"), Ok(Some("")));
    assert_eq!(only(&xml, "xml"), Ok(None));
    assert_eq!(only(&xml, "total_fee/x"), Ok(None));
    assert_eq!(xml.only(&[]), Err(XmlMiss::Composite));
}

#[test]
fn a_nested_document() {
    let xml = Xml::parse(BRAINTREE.as_bytes()).unwrap();
    assert!(xml.has_nested());
    assert_eq!(xml.iter_flat().count(), 2);
    assert_eq!(only(&xml, "kind"), Ok(Some("dispute_won")));
    assert_eq!(only(&xml, "timestamp"), Ok(Some("2026-11-22T10:00:00Z")));
    assert_eq!(only(&xml, "subject/dispute/id"), Ok(Some("d1")));
    assert_eq!(only(&xml, "subject/dispute/transaction/id"), Ok(Some("t1")));
    assert_eq!(only(&xml, "subject/dispute"), Err(XmlMiss::Composite));
    assert_eq!(only(&xml, "subject/none/id"), Ok(None));
}

#[test]
fn what_stands_twice_has_no_one_value() {
    let xml = Xml::parse(b"<a><b>1</b><c><d>1</d></c><b>2</b><c/></a>").unwrap();
    assert_eq!(only(&xml, "b"), Err(XmlMiss::Repeated));
    assert_eq!(only(&xml, "c/d"), Err(XmlMiss::Repeated));
    assert_eq!(xml.iter_flat().filter(|(name, _)| *name == "b").count(), 2);
}

#[test]
fn references_and_line_ends() {
    let text = "<a><b>&lt;&gt;&amp;&apos;&quot;&#65;&#x4E2D;\r\nx\ry<![CDATA[&lt;\r\n]]></b></a>";
    let xml = Xml::parse(text.as_bytes()).unwrap();
    assert_eq!(only(&xml, "b"), Ok(Some("<>&'\"A\u{4e2d}\nx\ny&lt;\n")));
}

#[test]
fn everything_else_is_refused() {
    let deep = |levels: usize| "<a>".repeat(levels) + &"</a>".repeat(levels);
    let wide = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count));
    assert!(Xml::parse(deep(DEEPEST).as_bytes()).is_ok());
    assert!(Xml::parse(wide(MOST_ELEMENTS - 1).as_bytes()).is_ok());
    let mut accepted = Vec::new();
    for bad in [
        deep(DEEPEST + 1).as_str(),
        &wide(MOST_ELEMENTS),
        &format!("<a {}/>", "x='' ".repeat(300)),
        "",
        " ",
        "x",
        "<a>",
        "<a><b></a></b>",
        "<a></b>",
        "</a>",
        "<a/></a>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a/><![CDATA[x]]>",
        "<![CDATA[]]><a/>",
        "&#32;<a/>",
        "<a/>&lt;",
        "<a>x<b/></a>",
        "<a><b/>x</a>",
        "<a><b/><![CDATA[x]]></a>",
        "<a>x<!-- -->y</a>",
        "<!-- --><a/>",
        "<a/><!-- -->",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
        "<a>&e;</a>",
        "<a>&nbsp;</a>",
        "<a>&LT;</a>",
        "<a>&</a>",
        "<a>& </a>",
        "<a>&lt</a>",
        "<a>&#0;</a>",
        "<a>&#8;</a>",
        "<a>&#xD800;</a>",
        "<a>&#x110000;</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&# 65;</a>",
        "<a>&#+65;</a>",
        "<a>\u{8}</a>",
        "<a>\u{fffe}</a>",
        "<a>\0</a>",
        "\u{feff}<a/>",
        "<a>]]></a>",
        "<a><?php ?></a>",
        "<?x?><a/>",
        " <?xml version='1.0'?><a/>",
        "<a><?xml version='1.0'?></a>",
        "<?xml version='1.0'?><?xml version='1.0'?><a/>",
        "<?xml version='1.1'?><a/>",
        "<?xml version='1.0' encoding='GBK'?><a/>",
        "<?xml encoding='UTF-8'?><a/>",
        "<?xml version='1.0'?>",
        "<1/>",
        "< a/>",
        "<a b/>",
        "<a b=c/>",
        "<a b='1' b='2'/>",
        "<a b='<'/>",
        "<a b='&e;'/>",
        "<a b='1/>",
        "<a <b/>",
        "<a<b/>",
        "<\u{e9}/>",
        "<>x</>",
        "<a/ >",
        "<a><![CDATA[x]]</a>",
        "<a><![cdata[x]]></a>",
        "<a",
        "<a><",
        "<a></a",
    ] {
        if Xml::parse(bad.as_bytes()).is_ok() {
            accepted.push(bad.to_owned());
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
    assert_eq!(Xml::parse(b"<a>\xff</a>").unwrap_err().at, 3);
    let fault = Xml::parse(b"<a>abc<!--x--></a>").unwrap_err();
    assert_eq!((fault.at, fault.what), (6, "a comment"));
}

#[test]
fn no_bytes_break_it() {
    for document in [WECHAT, BRAINTREE] {
        let bytes = document.as_bytes();
        for at in 0..bytes.len() {
            // A document that is cut off anywhere but after its root says so.
            let whole = document
                .get(..at)
                .is_some_and(|t| t.trim_end().ends_with("</notification>"));
            assert_eq!(Xml::parse(&bytes[..at]).is_ok(), whole, "{at}");
            for byte in [0, b'<', b'>', b'&', b'/', b'"', 0xff] {
                let mut other = bytes.to_vec();
                other[at] = byte;
                let _ = Xml::parse(&other);
            }
        }
    }
}
