//! What is shown of a payment.

use serde::Serialize;

use crate::admin::payload::field;
use crate::inbox::store::PaymentFacts;

/// A payment as the API shows it; what the event does not say is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PaymentJson {
    /// The merchant's own order number.
    pub order: Option<String>,
    /// The provider's number.
    pub transaction: Option<String>,
    /// In units of the currency; see `unit`.
    pub amount: Option<String>,
    /// `major`: 12.50. `minor`: the smallest unit of a currency whose digits are not known here.
    pub unit: Option<&'static str>,
    pub currency: Option<String>,
    /// `pending`, `confirming`, `paid`, `failed`, `refunded` or `disputed`.
    pub status: Option<String>,
}

impl PaymentJson {
    /// Without `whole`, with masks: a shop may make an order number of what it knows of a customer.
    pub fn of(facts: PaymentFacts, whole: bool) -> Self {
        let digits = facts.currency.as_deref().and_then(digits);
        let (amount, unit) = match (facts.amount, facts.minor) {
            (None, _) => (None, None),
            (Some(amount), false) => (Some(amount), Some("major")),
            (Some(amount), true) => match digits.and_then(|digits| major(&amount, digits)) {
                Some(major) => (Some(major), Some("major")),
                None => (Some(amount), Some("minor")),
            },
        };
        let shown = |name: &str, text: Option<String>| text.map(|text| field(name, &text, whole));
        PaymentJson {
            order: shown("order", facts.order),
            transaction: shown("transaction", facts.transaction),
            amount: shown("amount", amount),
            unit,
            currency: shown("currency", facts.currency),
            status: shown("status", facts.status),
        }
    }
}

/// Decimals of a currency (ISO 4217), where all providers count its smallest unit alike. Some count
/// a hundredth of a currency that has none (ISK, UGX, TWD, HUF …): those are left as they are
/// written.
fn digits(currency: &str) -> Option<usize> {
    const NONE: [&str; 13] = [
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "VND", "VUV", "XAF", "XOF",
    ];
    const TWO: [&str; 42] = [
        "AED", "ARS", "AUD", "BDT", "BGN", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EGP", "EUR",
        "GBP", "GEL", "GHS", "HKD", "ILS", "INR", "KES", "KZT", "LKR", "MAD", "MXN", "MYR", "NGN",
        "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "SAR", "SEK", "SGD", "THB", "TRY",
        "UAH", "USD", "ZAR",
    ];
    const THREE: [&str; 6] = ["BHD", "IQD", "JOD", "KWD", "OMR", "TND"];
    let currency = currency.to_ascii_uppercase();
    let of = |list: &[&str]| list.contains(&currency.as_str());
    match (of(&NONE), of(&TWO), of(&THREE)) {
        (true, ..) => Some(0),
        (_, true, _) => Some(2),
        (.., true) => Some(3),
        (false, false, false) => None,
    }
}

/// `1250` with two digits is `12.50`. None for what is no whole number.
fn major(minor: &str, digits: usize) -> Option<String> {
    let (sign, number) = match minor.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", minor),
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if digits == 0 {
        return Some(minor.to_owned());
    }
    let padded = format!("{number:0>width$}", width = digits + 1);
    let (whole, part) = padded.split_at_checked(padded.len() - digits)?;
    Some(format!("{sign}{whole}.{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_unit_becomes_a_major_one_where_that_is_certain() {
        let shown = |amount: &str, currency: Option<&str>| {
            let facts = PaymentFacts {
                amount: Some(amount.into()),
                minor: true,
                currency: currency.map(str::to_owned),
                ..PaymentFacts::default()
            };
            let json = PaymentJson::of(facts, false);
            (json.amount.unwrap(), json.unit.unwrap())
        };
        assert_eq!(shown("1250", Some("usd")), ("12.50".into(), "major"));
        assert_eq!(shown("5", Some("EUR")), ("0.05".into(), "major"));
        assert_eq!(shown("-1", Some("EUR")), ("-0.01".into(), "major"));
        assert_eq!(shown("1250", Some("JPY")), ("1250".into(), "major"));
        assert_eq!(shown("1250", Some("KWD")), ("1.250".into(), "major"));
        for (amount, currency) in [("1250", Some("ISK")), ("1250", None), ("1.5", Some("USD"))] {
            assert_eq!(shown(amount, currency), (amount.into(), "minor"));
        }
    }
}
