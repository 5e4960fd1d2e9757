//! Every transform of the template language: on a usual value, on an empty one, on one that it
//! cannot be done on, and in a row. The answers are those of RFCs and of Python's library.

use std::collections::BTreeSet;

use super::stand::Stand;
use crate::rule::Template;
use crate::verify::Rejection;

enum Gives {
    Text(&'static str),
    Bytes(&'static [u8]),
    /// As if nothing stood there.
    Missing,
    Malformed,
}

use Gives::{Bytes, Malformed, Missing, Text};

const ABC_384: &str = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
const NONE_384: &str = "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b";
const ABC_512: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
const NONE_512: &str = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
const ABC_SHA3: &str = "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0";
const NONE_SHA3: &str = "a69f73cca23a9ac5c8b567dc185a756e97c982164fe25859e0d1dcc1475c80a615b2123af1f5f94c11e3e9402c3ac558f500199d95b6d3e301758586281dcd26";
/// RFC 2202 §3 and RFC 4231 §4.3, test case 2 of both.
const JEFE: &[u8] = b"what do ya want for nothing?";
const JEFE_512: &str = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";

/// Transforms, what goes in, what comes out.
const TABLE: &[(&str, &[u8], Gives)] = &[
    // RFC 4648 §10 and, for bytes that the two alphabets write differently, Python's base64.
    ("hex", b"\x00\xffaZ", Text("00ff615a")),
    ("hex", b"", Text("")),
    ("hex_upper", b"\x00\xffaZ", Text("00FF615A")),
    ("hex_upper", b"", Text("")),
    ("base64", b"f", Text("Zg==")),
    ("base64", b"foob", Text("Zm9vYg==")),
    ("base64", b"\xfb\xff\xfe>>?", Text("+//+Pj4/")),
    ("base64", b"", Text("")),
    ("base64url", b"f", Text("Zg")),
    ("base64url", b"\xfb\xff\xfe>>?", Text("-__-Pj4_")),
    ("base64url", b"", Text("")),
    ("from_hex", b"00fF615a", Bytes(b"\x00\xffaZ")),
    ("from_hex", b"", Text("")),
    ("from_hex", b"abc", Malformed),
    ("from_hex", b"0g", Malformed),
    ("from_hex", b" 00", Malformed),
    ("from_hex", b"0x00", Malformed),
    ("from_base64", b"Zm9vYg==", Text("foob")),
    ("from_base64", b"Zm9vYg", Text("foob")),
    ("from_base64", b"Zm9v\r\n YmFy\t", Text("foobar")),
    ("from_base64", b"+//+Pj4/", Bytes(b"\xfb\xff\xfe>>?")),
    ("from_base64", b"", Text("")),
    ("from_base64", b"-__-Pj4_", Malformed),
    ("from_base64", b"Z", Malformed),
    // Bits that no encoder leaves over: a second spelling of the same bytes.
    ("from_base64", b"Zh==", Malformed),
    ("from_base64", b"Zg==Zg==", Malformed),
    ("from_base64url", b"-__-Pj4_", Bytes(b"\xfb\xff\xfe>>?")),
    ("from_base64url", b"Zg==", Text("f")),
    ("from_base64url", b"Zg", Text("f")),
    ("from_base64url", b"", Text("")),
    ("from_base64url", b"+//+Pj4/", Malformed),
    ("from_base64url", b"Zm9v YmFy", Malformed),
    ("from_base64url", b"Zh", Malformed),
    // Python's urllib.parse.quote(…, safe='').
    (
        "percent_encode",
        b"a b+c&d=e/~*-._\xff",
        Text("a%20b%2Bc%26d%3De%2F~%2A-._%FF"),
    ),
    ("percent_encode", b"", Text("")),
    ("percent_decode", b"a%20b+c%2B%fF", Bytes(b"a b+c+\xff")),
    ("percent_decode", b"%2541", Text("%41")),
    ("percent_decode", b"", Text("")),
    ("percent_decode", b"%2", Malformed),
    ("percent_decode", b"%zz", Malformed),
    ("percent_decode", b"%+1", Malformed),
    // The URL standard, §1.3: the form set leaves `*-._` as they are.
    (
        "form_encode",
        b"a b+c&d=e/~*-._\xff",
        Text("a+b%2Bc%26d%3De%2F%7E*-._%FF"),
    ),
    ("form_encode", b"", Text("")),
    ("form_decode", b"a+b%2Bc%20", Text("a b+c ")),
    ("form_decode", b"", Text("")),
    ("form_decode", b"%", Malformed),
    ("lower", "AbÄ-1".as_bytes(), Text("abÄ-1")),
    ("lower", b"", Text("")),
    ("upper", "aBä-1".as_bytes(), Text("ABä-1")),
    ("upper", b"", Text("")),
    ("trim", b" \t\r\na b\x0c\n", Text("a b")),
    ("trim", "\u{a0}a".as_bytes(), Text("\u{a0}a")),
    ("trim", b" \n", Text("")),
    ("trim", b"", Text("")),
    ("reverse", b"abc", Text("cba")),
    ("reverse", b"", Text("")),
    ("default:x", b"a", Text("a")),
    ("default:x", b"", Text("")),
    ("strip_prefix:sha256=", b"sha256=ab", Text("ab")),
    ("strip_prefix:sha256=", b"sha256=sha256=", Text("sha256=")),
    ("strip_prefix:sha256=", b"sha256=", Text("")),
    ("strip_prefix:sha256=", b"SHA256=ab", Missing),
    ("strip_prefix:sha256=", b"", Missing),
    ("strip_suffix:###1", b"ab###1", Text("ab")),
    ("strip_suffix:###1", b"###1", Text("")),
    ("strip_suffix:###1", b"ab###2", Missing),
    ("strip_suffix:###1", b"", Missing),
    ("before::", b"a:b:c", Text("a")),
    ("before::", b":b", Text("")),
    ("before::", b"ab", Missing),
    ("before:--", b"a-b--c", Text("a-b")),
    ("before::", b"", Missing),
    ("after::", b"a:b:c", Text("b:c")),
    ("after::", b"a:", Text("")),
    ("after::", b"ab", Missing),
    ("after:--", b"a-b--c", Text("c")),
    ("after::", b"", Missing),
    ("unquote", b"\"a\"", Text("a")),
    ("unquote", b"\"\"a\"\"", Text("\"a\"")),
    ("unquote", b"\"\"", Text("")),
    ("unquote", b"\"", Text("\"")),
    ("unquote", b"\"a", Text("\"a")),
    ("unquote", b"'a'", Text("'a'")),
    ("unquote", b"", Text("")),
    // Python's json.dumps(…, ensure_ascii=False).
    (
        "json_text",
        "a\"b\\/\n\u{1}é☃".as_bytes(),
        Text("a\\\"b\\\\/\\n\\u0001é☃"),
    ),
    ("json_text", b"", Text("")),
    // FIPS 180-4, FIPS 202, RFC 1321, and the digests of Ethereum, for "abc" and for nothing.
    ("md5|hex", b"abc", Text("900150983cd24fb0d6963f7d28e17f72")),
    ("md5|hex", b"", Text("d41d8cd98f00b204e9800998ecf8427e")),
    (
        "sha1|hex",
        b"abc",
        Text("a9993e364706816aba3e25717850c26c9cd0d89d"),
    ),
    (
        "sha1|hex",
        b"",
        Text("da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ),
    (
        "sha256|hex",
        b"abc",
        Text("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ),
    (
        "sha256|hex",
        b"",
        Text("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ),
    ("sha384|hex", b"abc", Text(ABC_384)),
    ("sha384|hex", b"", Text(NONE_384)),
    ("sha512|hex", b"abc", Text(ABC_512)),
    ("sha512|hex", b"", Text(NONE_512)),
    ("sha3_512|hex", b"abc", Text(ABC_SHA3)),
    ("sha3_512|hex", b"", Text(NONE_SHA3)),
    (
        "keccak256|hex",
        b"abc",
        Text("4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ),
    (
        "keccak256|hex",
        b"",
        Text("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
    ),
    // The check value of CRC-32, and Python's zlib.crc32.
    ("crc32", b"123456789", Text("3421780262")),
    ("crc32", b"", Text("0")),
    ("len32le", b"abc", Bytes(b"\x03\x00\x00\x00abc")),
    ("len32le", b"", Bytes(b"\x00\x00\x00\x00")),
    (
        "hmac_sha1|hex",
        JEFE,
        Text("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    ),
    (
        "hmac_sha1|hex",
        b"",
        Text("09d9e59d72239e62a8155c583d52743de9b7231a"),
    ),
    (
        "hmac_sha256|hex",
        JEFE,
        Text("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ),
    (
        "hmac_sha256|hex",
        b"",
        Text("923598ca6d64af2a5dba79dcd021a8a0fe5c5f557519adaaf0ad532d4506dd30"),
    ),
    ("hmac_sha512|hex", JEFE, Text(JEFE_512)),
    (
        "json_without:/sign",
        b"{\"a\":1, \"sign\" : \"x\" ,\"b\":[ 2]}",
        Text("{\"a\":1 ,\"b\":[ 2]}"),
    ),
    (
        "json_without:/sign",
        b"{\"sign\":\"x\", \"a\":1}",
        Text("{\"a\":1}"),
    ),
    ("json_without:/sign", b"{\"sign\":\"x\"}", Text("{}")),
    (
        "json_without:/sign",
        b"{\"a\":{\"sign\":1}}",
        Text("{\"a\":{\"sign\":1}}"),
    ),
    // An escaped spelling of the name is the same name.
    (
        "json_without:/sign",
        b"{\"a\":1,\"si\\u0067n\":2}",
        Text("{\"a\":1}"),
    ),
    ("json_without:/sign", b"[1]", Malformed),
    ("json_without:/sign", b"", Malformed),
    ("json_without:/sign", b"{\"a\":1,\"a\":2}", Malformed),
    (
        "json_sorted",
        b" {\"b\" : 1.50, \"a\" : {\"d\":null,\"c\":[ \"x y\" , true]}} ",
        Text("{\"a\":{\"c\":[\"x y\",true],\"d\":null},\"b\":1.50}"),
    ),
    ("json_sorted", b"{}", Text("{}")),
    ("json_sorted", b"{\"a\":1", Malformed),
    ("json_sorted", b"", Malformed),
    (
        "json_escape_slashes",
        b"{\"u\":\"https://a/b\\/c\"}",
        Text("{\"u\":\"https:\\/\\/a\\/b\\/c\"}"),
    ),
    ("json_escape_slashes", b"", Text("")),
    ("first:2", b"abc", Text("ab")),
    ("first:9", b"abc", Text("abc")),
    ("first:0", b"abc", Text("")),
    ("first:2", b"", Text("")),
    ("skip:2", b"abc", Text("c")),
    ("skip:3", b"abc", Text("")),
    ("skip:4", b"abc", Missing),
    ("skip:1", b"", Missing),
    ("float_trim", b"12.50", Text("12.5")),
    ("float_trim", b"42.0", Text("42")),
    ("float_trim", b"-7.100", Text("-7.1")),
    ("float_trim", b"100", Text("100")),
    ("float_trim", b"1.50e3", Text("1.50e3")),
    // A version, a date and a range are no decimal numbers.
    ("float_trim", b"1.2.30", Text("1.2.30")),
    ("float_trim", b"2026-11-01.0", Text("2026-11-01.0")),
    ("float_trim", b".0", Text(".0")),
    ("float_trim", b"", Text("")),
    // In a row, from left to right.
    (
        "lower|sha256|base64",
        b"ABC",
        Text("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
    ),
    (
        "md5|hex|upper|base64",
        b"ABC",
        Text("OTAyRkJERDJCMURGMEM0RjcwQjRBNUQyMzUyNUU5MzI="),
    ),
    ("from_hex|reverse|hex", b"0a0b0c", Text("0c0b0a")),
    ("strip_prefix:v1,|from_base64", b"v1,Zm9v", Text("foo")),
    ("strip_prefix:v1,|from_base64", b"v2,Zm9v", Missing),
    ("strip_prefix:v1,|from_base64", b"v1,*", Malformed),
    // What is missing stays so whatever follows, until something stands in for it.
    ("after:=|upper|default:none|hex", b"abc", Text("6e6f6e65")),
    ("after:=|upper|default:none|hex", b"a=bc", Text("4243")),
    (
        "before:,|trim|unquote|percent_decode",
        b" \"a%2Cb\" , c",
        Text("a,b"),
    ),
    ("skip:9|sha256|hex", b"abc", Missing),
    (
        "first:4|from_hex|len32le|hex",
        b"0a0b0c",
        Text("020000000a0b"),
    ),
];

fn stand() -> Stand {
    Stand::with_token("", |_| {})
}

#[test]
fn every_transform_does_what_its_line_in_the_reference_says() {
    let stand = stand();
    let mut wrong = Vec::new();
    for (transforms, input, gives) in TABLE {
        let request = stand.post(*input);
        let found = stand.find(&format!("{{body|{transforms}}}"), &request, Some(b"Jefe"));
        let wanted = match gives {
            Text(text) => Ok(Some(text.as_bytes().to_vec())),
            Bytes(bytes) => Ok(Some(bytes.to_vec())),
            Missing => Ok(None),
            Malformed => Err(Rejection::FieldMalformed {
                field: "body".to_owned(),
            }),
        };
        if found != wanted {
            let input = input.escape_ascii();
            wrong.push(format!("{transforms} of {input}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The compiler itself lists the transforms that there are.
#[test]
fn no_transform_is_left_out_above() {
    let error = Template::parse("{body|0123456789abcdef}").unwrap_err();
    let hint = error.hint.unwrap();
    let known = hint.strip_prefix("there are: ").unwrap().split(' ');
    let tested: BTreeSet<&str> = TABLE
        .iter()
        .flat_map(|(transforms, ..)| transforms.split('|'))
        .map(|t| t.split(':').next().unwrap())
        .collect();
    let missed: Vec<&str> = known
        .filter(|name| *name != "without" && !tested.contains(name))
        .collect();
    assert_eq!(missed, [""; 0]);
}

#[test]
fn nothing_is_made_of_what_is_missing() {
    let stand = stand();
    let request = stand.post("");
    for (transforms, ..) in TABLE {
        let found = stand.find(&format!("{{header:x-none|{transforms}}}"), &request, None);
        match transforms.contains("default:") {
            true => assert!(matches!(found, Ok(Some(_))), "{transforms}"),
            false => assert_eq!(found, Ok(None), "{transforms}"),
        }
    }
    assert_eq!(
        stand.find("{header:x-none|default:}", &request, None),
        Ok(Some(Vec::new()))
    );
    // Without a shared secret there is nothing to seal with.
    assert_eq!(stand.find("{body|hmac_sha256}", &request, None), Ok(None));
}

#[test]
fn an_optional_segment_goes_whole_and_only_for_what_is_missing() {
    let stand = stand();
    for (template, body, found) in [
        ("a{(.{body|after:=}!)}b", "x=1", Ok(Some("a.1!b"))),
        ("a{(.{body|after:=}!)}b", "x", Ok(Some("ab"))),
        // There and empty.
        ("a{(.{body|after:=}!)}b", "x=", Ok(Some("a.!b"))),
        ("a.{body|after:=}b", "x", Ok(None)),
        ("a{({body|from_hex})}b", "zz", Err(())),
        ("{{{body}}}{(:{header:x-none}{body})}", "x", Ok(Some("{x}"))),
    ] {
        let got = stand.find(template, &stand.post(body), None);
        let got = got
            .map(|got| got.map(|bytes| String::from_utf8(bytes).unwrap()))
            .map_err(|_| ());
        assert_eq!(
            got,
            found.map(|f: Option<&str>| f.map(str::to_owned)),
            "{template} {body}"
        );
    }
}
