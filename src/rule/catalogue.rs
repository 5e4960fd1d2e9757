//! The provider files that ship inside the binary.

#[cfg(test)]
mod tests;

/// Name and text of every built-in provider, by name.
pub const PROVIDERS: &[(&str, &str)] = &[
    ("adyen", include_str!("../../rules/providers/adyen.toml")),
    (
        "adyen-platform",
        include_str!("../../rules/providers/adyen-platform.toml"),
    ),
    (
        "airwallex",
        include_str!("../../rules/providers/airwallex.toml"),
    ),
    (
        "alchemy",
        include_str!("../../rules/providers/alchemy.toml"),
    ),
    ("alipay", include_str!("../../rules/providers/alipay.toml")),
    (
        "alipay-plus",
        include_str!("../../rules/providers/alipay-plus.toml"),
    ),
    (
        "apple-app-store-v2",
        include_str!("../../rules/providers/apple-app-store-v2.toml"),
    ),
    (
        "apple-pay-merchant-token",
        include_str!("../../rules/providers/apple-pay-merchant-token.toml"),
    ),
    ("asana", include_str!("../../rules/providers/asana.toml")),
    ("auth0", include_str!("../../rules/providers/auth0.toml")),
    (
        "authorize-net",
        include_str!("../../rules/providers/authorize-net.toml"),
    ),
    (
        "aws-sns",
        include_str!("../../rules/providers/aws-sns.toml"),
    ),
    (
        "azure-event-grid",
        include_str!("../../rules/providers/azure-event-grid.toml"),
    ),
    (
        "bigcommerce",
        include_str!("../../rules/providers/bigcommerce.toml"),
    ),
    (
        "binance-pay",
        include_str!("../../rules/providers/binance-pay.toml"),
    ),
    ("bitpay", include_str!("../../rules/providers/bitpay.toml")),
    (
        "bluesnap",
        include_str!("../../rules/providers/bluesnap.toml"),
    ),
    (
        "braintree",
        include_str!("../../rules/providers/braintree.toml"),
    ),
    ("brevo", include_str!("../../rules/providers/brevo.toml")),
    ("btcpay", include_str!("../../rules/providers/btcpay.toml")),
    (
        "calendly",
        include_str!("../../rules/providers/calendly.toml"),
    ),
    (
        "cashfree",
        include_str!("../../rules/providers/cashfree.toml"),
    ),
    (
        "checkout",
        include_str!("../../rules/providers/checkout.toml"),
    ),
    ("circle", include_str!("../../rules/providers/circle.toml")),
    (
        "circle-cpn",
        include_str!("../../rules/providers/circle-cpn.toml"),
    ),
    ("clerk", include_str!("../../rules/providers/clerk.toml")),
    (
        "cloudevents",
        include_str!("../../rules/providers/cloudevents.toml"),
    ),
    (
        "cloudflare-notifications",
        include_str!("../../rules/providers/cloudflare-notifications.toml"),
    ),
    (
        "cloudflare-stream",
        include_str!("../../rules/providers/cloudflare-stream.toml"),
    ),
    (
        "coinbase-cdp",
        include_str!("../../rules/providers/coinbase-cdp.toml"),
    ),
    (
        "coinbase-commerce",
        include_str!("../../rules/providers/coinbase-commerce.toml"),
    ),
    (
        "coinify",
        include_str!("../../rules/providers/coinify.toml"),
    ),
    (
        "coinpayments",
        include_str!("../../rules/providers/coinpayments.toml"),
    ),
    (
        "cryptapi",
        include_str!("../../rules/providers/cryptapi.toml"),
    ),
    (
        "cryptapi-post",
        include_str!("../../rules/providers/cryptapi-post.toml"),
    ),
    (
        "cryptomus",
        include_str!("../../rules/providers/cryptomus.toml"),
    ),
    (
        "cryptopay",
        include_str!("../../rules/providers/cryptopay.toml"),
    ),
    (
        "cybersource",
        include_str!("../../rules/providers/cybersource.toml"),
    ),
    (
        "cybersource-payload",
        include_str!("../../rules/providers/cybersource-payload.toml"),
    ),
    (
        "discord",
        include_str!("../../rules/providers/discord.toml"),
    ),
    ("dlocal", include_str!("../../rules/providers/dlocal.toml")),
    (
        "docusign",
        include_str!("../../rules/providers/docusign.toml"),
    ),
    ("douyin", include_str!("../../rules/providers/douyin.toml")),
    (
        "dropbox",
        include_str!("../../rules/providers/dropbox.toml"),
    ),
    ("epusdt", include_str!("../../rules/providers/epusdt.toml")),
    ("figma", include_str!("../../rules/providers/figma.toml")),
    (
        "flutterwave",
        include_str!("../../rules/providers/flutterwave.toml"),
    ),
    (
        "flutterwave-v4",
        include_str!("../../rules/providers/flutterwave-v4.toml"),
    ),
    (
        "generic-hmac",
        include_str!("../../rules/providers/generic-hmac.toml"),
    ),
    ("github", include_str!("../../rules/providers/github.toml")),
    ("gitlab", include_str!("../../rules/providers/gitlab.toml")),
    (
        "gitlab-signed",
        include_str!("../../rules/providers/gitlab-signed.toml"),
    ),
    (
        "gocardless",
        include_str!("../../rules/providers/gocardless.toml"),
    ),
    (
        "google-pay",
        include_str!("../../rules/providers/google-pay.toml"),
    ),
    (
        "google-pubsub",
        include_str!("../../rules/providers/google-pubsub.toml"),
    ),
    (
        "http-signature",
        include_str!("../../rules/providers/http-signature.toml"),
    ),
    (
        "http-signature-hmac",
        include_str!("../../rules/providers/http-signature-hmac.toml"),
    ),
    (
        "hubspot-v1",
        include_str!("../../rules/providers/hubspot-v1.toml"),
    ),
    (
        "hubspot-v2",
        include_str!("../../rules/providers/hubspot-v2.toml"),
    ),
    (
        "hubspot-v3",
        include_str!("../../rules/providers/hubspot-v3.toml"),
    ),
    (
        "imtoken",
        include_str!("../../rules/providers/imtoken.toml"),
    ),
    (
        "intercom",
        include_str!("../../rules/providers/intercom.toml"),
    ),
    ("klarna", include_str!("../../rules/providers/klarna.toml")),
    (
        "klaviyo",
        include_str!("../../rules/providers/klaviyo.toml"),
    ),
    (
        "lemon-squeezy",
        include_str!("../../rules/providers/lemon-squeezy.toml"),
    ),
    (
        "lianlian",
        include_str!("../../rules/providers/lianlian.toml"),
    ),
    ("line", include_str!("../../rules/providers/line.toml")),
    ("linear", include_str!("../../rules/providers/linear.toml")),
    (
        "mailgun",
        include_str!("../../rules/providers/mailgun.toml"),
    ),
    (
        "mandrill",
        include_str!("../../rules/providers/mandrill.toml"),
    ),
    (
        "mercado-pago",
        include_str!("../../rules/providers/mercado-pago.toml"),
    ),
    ("meta", include_str!("../../rules/providers/meta.toml")),
    (
        "microsoft-graph",
        include_str!("../../rules/providers/microsoft-graph.toml"),
    ),
    (
        "midtrans",
        include_str!("../../rules/providers/midtrans.toml"),
    ),
    ("mollie", include_str!("../../rules/providers/mollie.toml")),
    (
        "mollie-webhooks",
        include_str!("../../rules/providers/mollie-webhooks.toml"),
    ),
    (
        "moralis",
        include_str!("../../rules/providers/moralis.toml"),
    ),
    ("notion", include_str!("../../rules/providers/notion.toml")),
    (
        "nowpayments",
        include_str!("../../rules/providers/nowpayments.toml"),
    ),
    ("okta", include_str!("../../rules/providers/okta.toml")),
    ("openai", include_str!("../../rules/providers/openai.toml")),
    ("oxapay", include_str!("../../rules/providers/oxapay.toml")),
    ("paddle", include_str!("../../rules/providers/paddle.toml")),
    (
        "payfast",
        include_str!("../../rules/providers/payfast.toml"),
    ),
    ("paypal", include_str!("../../rules/providers/paypal.toml")),
    (
        "paypal-ipn",
        include_str!("../../rules/providers/paypal-ipn.toml"),
    ),
    (
        "paystack",
        include_str!("../../rules/providers/paystack.toml"),
    ),
    ("payu", include_str!("../../rules/providers/payu.toml")),
    (
        "payu-india",
        include_str!("../../rules/providers/payu-india.toml"),
    ),
    (
        "payu-latam",
        include_str!("../../rules/providers/payu-latam.toml"),
    ),
    (
        "phonepe",
        include_str!("../../rules/providers/phonepe.toml"),
    ),
    ("plaid", include_str!("../../rules/providers/plaid.toml")),
    (
        "postmark",
        include_str!("../../rules/providers/postmark.toml"),
    ),
    (
        "quicknode",
        include_str!("../../rules/providers/quicknode.toml"),
    ),
    (
        "quicknode-alerts",
        include_str!("../../rules/providers/quicknode-alerts.toml"),
    ),
    (
        "quickpay",
        include_str!("../../rules/providers/quickpay.toml"),
    ),
    (
        "razorpay",
        include_str!("../../rules/providers/razorpay.toml"),
    ),
    ("resend", include_str!("../../rules/providers/resend.toml")),
    (
        "revolut",
        include_str!("../../rules/providers/revolut.toml"),
    ),
    (
        "sendgrid",
        include_str!("../../rules/providers/sendgrid.toml"),
    ),
    (
        "shopify",
        include_str!("../../rules/providers/shopify.toml"),
    ),
    ("slack", include_str!("../../rules/providers/slack.toml")),
    (
        "slack-commands",
        include_str!("../../rules/providers/slack-commands.toml"),
    ),
    ("square", include_str!("../../rules/providers/square.toml")),
    (
        "standard-webhooks",
        include_str!("../../rules/providers/standard-webhooks.toml"),
    ),
    (
        "standard-webhooks-ed25519",
        include_str!("../../rules/providers/standard-webhooks-ed25519.toml"),
    ),
    ("stripe", include_str!("../../rules/providers/stripe.toml")),
    ("svix", include_str!("../../rules/providers/svix.toml")),
    ("tatum", include_str!("../../rules/providers/tatum.toml")),
    (
        "tokenim",
        include_str!("../../rules/providers/tokenim.toml"),
    ),
    (
        "tokenpay",
        include_str!("../../rules/providers/tokenpay.toml"),
    ),
    (
        "tokenpocket",
        include_str!("../../rules/providers/tokenpocket.toml"),
    ),
    ("trello", include_str!("../../rules/providers/trello.toml")),
    ("twilio", include_str!("../../rules/providers/twilio.toml")),
    (
        "typeform",
        include_str!("../../rules/providers/typeform.toml"),
    ),
    (
        "unionpay",
        include_str!("../../rules/providers/unionpay.toml"),
    ),
    (
        "unionpay-qra",
        include_str!("../../rules/providers/unionpay-qra.toml"),
    ),
    ("vonage", include_str!("../../rules/providers/vonage.toml")),
    (
        "wechatpay-v2",
        include_str!("../../rules/providers/wechatpay-v2.toml"),
    ),
    (
        "wechatpay-v3",
        include_str!("../../rules/providers/wechatpay-v3.toml"),
    ),
    ("wise", include_str!("../../rules/providers/wise.toml")),
    (
        "woocommerce",
        include_str!("../../rules/providers/woocommerce.toml"),
    ),
    (
        "worldline",
        include_str!("../../rules/providers/worldline.toml"),
    ),
    (
        "worldpay",
        include_str!("../../rules/providers/worldpay.toml"),
    ),
    ("x", include_str!("../../rules/providers/x.toml")),
    ("xendit", include_str!("../../rules/providers/xendit.toml")),
    ("xero", include_str!("../../rules/providers/xero.toml")),
    ("zoom", include_str!("../../rules/providers/zoom.toml")),
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
