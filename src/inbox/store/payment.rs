//! What an event says of a payment, as far as it is kept beside it: for the list, and for finding it
//! by the merchant's own order number.

use super::record::Reader;

/// Of each text so many bytes are kept.
pub const TEXT_MAX: usize = 200;

/// What was read of a payment. What the event does not say is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaymentFacts<T = String> {
    /// The merchant's own order number.
    pub order: Option<T>,
    /// The provider's number.
    pub transaction: Option<T>,
    /// As it is written.
    pub amount: Option<T>,
    /// The amount counts the smallest unit of its currency.
    pub minor: bool,
    pub currency: Option<T>,
    /// In our words (`paid`, `refunded`, …).
    pub status: Option<T>,
}

/// Bit of the first byte that says `minor`; the texts have the bits below it.
const MINOR: u8 = 1 << 5;

impl PaymentFacts {
    /// Each text cut to [`TEXT_MAX`]; none when nothing is said.
    pub fn kept(mut self) -> Option<Self> {
        for text in [
            &mut self.order,
            &mut self.transaction,
            &mut self.amount,
            &mut self.currency,
            &mut self.status,
        ]
        .into_iter()
        .flatten()
        {
            text.truncate(cut(text).len());
        }
        let any = self.texts().iter().any(Option::is_some);
        self.minor &= self.amount.is_some();
        any.then_some(self)
    }

    pub fn borrowed(&self) -> PaymentFacts<&str> {
        fn text(text: &Option<String>) -> Option<&str> {
            text.as_deref()
        }
        PaymentFacts {
            order: text(&self.order),
            transaction: text(&self.transaction),
            amount: text(&self.amount),
            minor: self.minor,
            currency: text(&self.currency),
            status: text(&self.status),
        }
    }
}

/// The beginning that is kept of a text.
pub fn cut(text: &str) -> &str {
    let end = (0..=TEXT_MAX.min(text.len())).rev();
    let end = end.into_iter().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

impl<T: AsRef<str>> PaymentFacts<T> {
    fn texts(&self) -> [Option<&str>; 5] {
        [
            &self.order,
            &self.transaction,
            &self.amount,
            &self.currency,
            &self.status,
        ]
        .map(|text| text.as_ref().map(AsRef::as_ref))
    }

    /// Bytes that `put` writes of it at most.
    pub fn span(&self) -> usize {
        1 + self
            .texts()
            .iter()
            .flatten()
            .map(|text| 1 + text.len())
            .sum::<usize>()
    }
}

/// One byte when there is none.
pub fn put<T: AsRef<str>>(out: &mut Vec<u8>, facts: Option<&PaymentFacts<T>>) {
    let at = out.len();
    out.push(0);
    let Some(facts) = facts else { return };
    let mut there = if facts.minor { MINOR } else { 0 };
    for (bit, text) in facts.texts().into_iter().enumerate() {
        let Some(text) = text else { continue };
        there |= 1 << bit;
        let text = cut(text);
        out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(text.as_bytes());
    }
    if let Some(first) = out.get_mut(at) {
        *first = there;
    }
}

/// The outer option: the bytes make sense.
pub fn take<'a, T: From<&'a str>>(r: &mut Reader<'a>) -> Option<Option<PaymentFacts<T>>> {
    let there = r.u8()?;
    if there == 0 {
        return Some(None);
    }
    if there >= MINOR << 1 {
        return None;
    }
    let mut text = |bit: u8| -> Option<Option<T>> {
        if there & (1 << bit) == 0 {
            return Some(None);
        }
        let length = r.u8()?;
        let text = std::str::from_utf8(r.take(usize::from(length))?).ok()?;
        Some(Some(text.into()))
    };
    Some(Some(PaymentFacts {
        order: text(0)?,
        transaction: text(1)?,
        amount: text(2)?,
        currency: text(3)?,
        status: text(4)?,
        minor: there & MINOR != 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn facts_come_back_and_none_costs_one_byte() {
        let all = PaymentFacts {
            order: some("A-1"),
            transaction: some("ch_1"),
            amount: some("1250"),
            minor: true,
            currency: some("USD"),
            status: some("paid"),
        };
        let few = PaymentFacts {
            transaction: some("ch_2"),
            ..PaymentFacts::default()
        };
        for facts in [Some(all), Some(few), None] {
            let mut out = Vec::new();
            put(&mut out, facts.as_ref());
            assert_eq!(out.len(), facts.as_ref().map_or(1, PaymentFacts::span));
            assert_eq!(take(&mut Reader(&out)), Some(facts));
            for end in 0..out.len() {
                assert_eq!(take::<String>(&mut Reader(&out[..end])), None);
            }
        }
        assert_eq!(take::<String>(&mut Reader(&[0x40])), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = PaymentFacts {
            order: some(&"ä".repeat(150)),
            minor: true,
            ..PaymentFacts::default()
        };
        let kept = long.kept().unwrap();
        assert_eq!(kept.order.as_ref().map(String::len), Some(TEXT_MAX));
        assert!(!kept.minor, "no amount");
        let mut out = Vec::new();
        put(&mut out, Some(&kept));
        assert_eq!(take(&mut Reader(&out)), Some(Some(kept)));
        assert_eq!(PaymentFacts::default().kept(), None);
    }
}
