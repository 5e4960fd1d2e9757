//! What a name says of the value under it. Names are split into words (`firstName`, `first_name`
//! and `first-name` are the same), and compared whatever their case.

/// What becomes of a value with this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of a person, a card or a bank account: hidden.
    Personal,
    /// An order, an id, a moment, an amount: a number here is a card only if it begins like one.
    Exempt,
    Plain,
}

/// Hidden wherever one of these is a word of the name.
const ALWAYS: [&str; 49] = [
    "email",
    "phone",
    "mobile",
    "tel",
    "telephone",
    "cellphone",
    "fax",
    "iban",
    "bic",
    "swift",
    "holder",
    "cardholder",
    "surname",
    "firstname",
    "lastname",
    "fullname",
    "nickname",
    "realname",
    "openid",
    "unionid",
    "address",
    "addr",
    "street",
    "postcode",
    "postal",
    "zip",
    "zipcode",
    "line1",
    "line2",
    "passport",
    "ssn",
    "birth",
    "birthday",
    "birthdate",
    "dob",
    "cvv",
    "cvc",
    "pan",
    "logon",
    "cpf",
    "cnpj",
    "msisdn",
    "whatsapp",
    "wechat",
    "routing",
    "sortcode",
    // Of India and Brazil: who pays, and from where.
    "vpa",
    "upi",
    "pixkey",
];

/// Hidden where this is the whole name.
const ALONE: [&str; 29] = [
    "name",
    "card",
    "account",
    "bank",
    "mail",
    "user",
    "username",
    "cardnumber",
    "cardno",
    "accountnumber",
    "accountno",
    "bankaccount",
    "bankcard",
    "acctnumber",
    "idcard",
    "idnumber",
    "phonenumber",
    "mobilephone",
    "emailaddress",
    "payername",
    "buyername",
    "customername",
    "identification",
    "document",
    "dni",
    "cuit",
    // What some providers prove themselves by, in each body.
    "passcode",
    "password",
    "clientstate",
];

/// Before `name`, these make it that of a person or a bank.
const PERSON: [&str; 41] = [
    "first",
    "last",
    "full",
    "given",
    "family",
    "middle",
    "nick",
    "real",
    "true",
    "legal",
    "customer",
    "payer",
    "buyer",
    "client",
    "contact",
    "billing",
    "shipping",
    "ship",
    "bill",
    "to",
    "card",
    "account",
    "acct",
    "bank",
    "owner",
    "user",
    "recipient",
    "beneficiary",
    "receiver",
    "sender",
    "payee",
    "party",
    "debtor",
    "creditor",
    "person",
    "guest",
    "member",
    "cust",
    "donor",
    "student",
    "patient",
];

/// Before `number` and its like, these make it that of a card, an account or a person.
const NUMBERED: [&str; 11] = [
    "card", "account", "acct", "bank", "tax", "vat", "identity", "license", "national", "social",
    "debit",
];

/// As the last word, these say that it is something else.
const OTHER: [&str; 27] = [
    "type",
    "brand",
    "country",
    "currency",
    "status",
    "verified",
    "check",
    "verification",
    "result",
    "count",
    "version",
    "format",
    "network",
    "funding",
    "object",
    "scheme",
    "category",
    "kind",
    "last4",
    "region",
    "state",
    "method",
    "mode",
    "reason",
    "required",
    "enabled",
    "validity",
];

/// As the last word, these name a number that is no card's.
const EXEMPT: [&str; 46] = [
    "id",
    "ids",
    "no",
    "num",
    "number",
    "order",
    "reference",
    "ref",
    "created",
    "updated",
    "at",
    "time",
    "timestamp",
    "ts",
    "date",
    "expires",
    "expiry",
    "amount",
    "total",
    "fee",
    "fees",
    "price",
    "quantity",
    "qty",
    "count",
    "seq",
    "sequence",
    "nonce",
    "version",
    "signature",
    "sign",
    "digest",
    "hash",
    "fingerprint",
    "trade",
    "transaction",
    "invoice",
    "key",
    "serial",
    "cursor",
    "etag",
    "end",
    "start",
    "begin",
    "paid",
    "stamp",
];

/// The same, written together.
const EXEMPT_ALONE: [&str; 12] = [
    "outtradeno",
    "tradeno",
    "orderno",
    "orderid",
    "ordernumber",
    "transactionid",
    "paymentid",
    "outrefundno",
    "refundid",
    "eventid",
    "requestid",
    "appid",
];

/// More words than this no name has that means something here.
const WORDS: usize = 12;

/// What becomes of the value under this name; of `a[b][c]` and `a.b.c` every part counts.
pub fn class(name: &str) -> Class {
    let words = words(name);
    let whole: String = words.concat();
    let Some((last, before)) = words.split_last() else {
        return Class::Plain;
    };
    let is = |list: &[&str], word: &str| list.contains(&word);
    let any = |list: &[&str]| before.iter().any(|word| is(list, word));
    if is(&ALONE, &whole) {
        return Class::Personal;
    }
    if last == "id" && any(&["buyer", "payer", "open", "union", "logon", "openid"]) {
        return Class::Personal;
    }
    let exempt = is(&EXEMPT, last) || is(&EXEMPT_ALONE, &whole);
    if is(&["number", "no", "num", "code"], last) && any(&NUMBERED) {
        return Class::Personal;
    }
    if is(&OTHER, last) {
        return if exempt { Class::Exempt } else { Class::Plain };
    }
    let bank = |word: &str| is(&["bank", "account", "card"], word);
    let person = |word: &String| is(&PERSON, word);
    let personal = is(&ALWAYS, last)
        || (any(&ALWAYS) && !is(&["id", "at", "time", "created"], last))
        || ((last == "name" || bank(last)) && before.iter().all(person));
    match (personal, exempt) {
        (true, _) => Class::Personal,
        (false, true) => Class::Exempt,
        (false, false) => Class::Plain,
    }
}

/// True when the name itself says that its value tells nothing of a person.
pub fn harmless(name: &str) -> bool {
    let words = words(name);
    let last = words.last().map(String::as_str).unwrap_or_default();
    OTHER.contains(&last) || ["id", "created", "updated"].contains(&last)
}

fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut lower) = (String::new(), false);
    for c in name.chars().take(256) {
        if !c.is_alphanumeric() || (lower && c.is_uppercase()) {
            words.extend(Some(std::mem::take(&mut word)).filter(|w| !w.is_empty()));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        lower = c.is_lowercase() || c.is_numeric();
    }
    words.extend(Some(word).filter(|w| !w.is_empty()));
    words.truncate(WORDS);
    words
}
