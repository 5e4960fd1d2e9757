//! What a payment's callback says, in one language for all providers. Read after everything was
//! verified; what is missing is left out, and nothing is made up.

use crate::rule::Template;
use crate::rule::provider::{Provider, Status, Unit};
use crate::verify::evaluate;
use crate::verify::identity::printable;
use crate::verify::rejection::Rejection;
use crate::verify::scope::Scope;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payment {
    /// The merchant's own order number.
    pub order: Option<String>,
    /// The provider's number.
    pub transaction: Option<String>,
    /// As it is written; `unit` says what one is.
    pub amount: Option<String>,
    pub unit: Option<&'static str>,
    pub currency: Option<String>,
    /// None: the provider's word is not in the file's table.
    pub status: Option<Status>,
    /// The provider's own word.
    pub status_text: Option<String>,
    pub confirmations: Option<String>,
}

/// None when the provider's file says nothing of payments, or the event holds nothing of one.
pub fn payment(provider: &Provider, scope: &Scope<'_, '_>) -> Result<Option<Payment>, Rejection> {
    let Some(rule) = &provider.payment else {
        return Ok(None);
    };
    // Several items are several payments, and none of them is the payment.
    if provider.split.is_some() && scope.items()?.len() > 1 {
        return Ok(None);
    }
    let read = |templates: &[Template]| -> Result<Option<String>, Rejection> {
        for template in templates {
            let text = match evaluate::text(template, scope) {
                Ok(text) => text
                    .map(|text| printable(&text))
                    .filter(|text| !text.is_empty()),
                // Another shape than that of a payment: an object where a text is expected, a form
                // where JSON is.
                Err(Rejection::FieldMalformed { .. } | Rejection::BodyMalformed { .. }) => None,
                Err(other) => return Err(other),
            };
            if text.is_some() {
                return Ok(text);
            }
        }
        Ok(None)
    };
    let status_text = read(&rule.status)?;
    let amount = read(&rule.amount)?;
    let payment = Payment {
        order: read(&rule.order)?,
        transaction: read(&rule.transaction)?,
        unit: amount.as_ref().map(|_| match rule.unit {
            Unit::Major => "major",
            Unit::Minor => "minor",
        }),
        amount,
        currency: read(&rule.currency)?,
        status: status_text
            .as_ref()
            .and_then(|text| rule.map.get(text).copied()),
        status_text,
        confirmations: read(&rule.confirmations)?,
    };
    // A currency alone may be a word of the file, and is no payment.
    let any = [
        &payment.order,
        &payment.transaction,
        &payment.amount,
        &payment.status_text,
    ];
    Ok(any.iter().any(|field| field.is_some()).then_some(payment))
}

impl Payment {
    /// By name, for people and examples.
    pub fn get(&self, name: &str) -> Option<String> {
        match name {
            "order" => self.order.clone(),
            "transaction" => self.transaction.clone(),
            "amount" => self.amount.clone(),
            "unit" => self.unit.map(str::to_owned),
            "currency" => self.currency.clone(),
            "status" => self.status.map(|status| status.name().to_owned()),
            "confirmations" => self.confirmations.clone(),
            _ => None,
        }
    }

    pub const NAMES: [&'static str; 7] = [
        "order",
        "transaction",
        "amount",
        "unit",
        "currency",
        "status",
        "confirmations",
    ];
}
