// Callbacks signed by packages of the npm registry that this project did not write; where a package
// only verifies, the signature is made with Node's own cryptography and the package has to agree.
// Run by tests/it/oracle.rs in the folder of the packages: node -e <this> callseal <unix seconds>.
// Prints a JSON list, one entry for each source:
//   name, provider, package   keys [{ text, id }]   config, secrets, schemes, url   of the source
//   tolerance   what the source has to set for recorded entries (null: nothing in it is dated)
//   hosts [{ host, method, path, status, type, body }]   what the provider's own hosts answer
//   calls [{ target, headers, body (base64), flip, flip_header, reason }]   flip: a byte of the body
//   checks [{ method, target, headers, status, body, type }]   unsigned checks of the address
//   accepted, rejected [status, body]
const crypto = require("crypto");
const at = Number(process.argv[2]);
const entries = [];
const json = { "Content-Type": "application/json" };
const form = { "Content-Type": "application/x-www-form-urlencoded" };

// A byte whose lowest bit can be turned and that stays a letter or digit: what was a document stays one.
function flippable(body, near) {
  const bytes = Buffer.from(body);
  const start = near === undefined ? bytes.length >> 1 : bytes.indexOf(near);
  if (start < 0) throw new Error("not in the body: " + near);
  const plain = (b) => /[0-9A-Za-z]/.test(String.fromCharCode(b));
  for (let i = start; i < bytes.length; i++) if (plain(bytes[i]) && plain(bytes[i] ^ 1)) return i;
  throw new Error("nothing to flip");
}
function call(target, headers, body, near, more) {
  return { target, headers, body: Buffer.from(body).toString("base64"), flip: flippable(body, near), reason: "signature_mismatch", ...more };
}
function agree(what, yes) {
  if (yes !== true) throw new Error(what + " does not accept its own kind of signature");
}
async function entry(pack, provider, make) {
  try {
    const made = await make();
    const file = (dir) => require("path").join(process.cwd(), "node_modules", dir, "package.json");
    const version = JSON.parse(require("fs").readFileSync(file(pack))).version;
    entries.push({ name: provider, provider, package: `${pack} ${version}`, keys: [], config: {}, secrets: {}, tolerance: null, hosts: [], checks: [], accepted: [200, ""], rejected: [401, ""], ...made });
  } catch (error) {
    const missing = ["MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND"].includes(error.code);
    if (!missing) throw error;
    console.error(`not installed: ${pack}`);
  }
}

const bodies = [
  '{"id":"evt_oracle_1","object":"event","type":"payment_intent.succeeded","amount":1.0}',
  '{ "id": "evt_oracle_2",\n "type": "charge.refunded", "note": "\\u00e9 \u00e9 \ud83d\ude00" }',
  '{"id":"evt_oracle_3","type":"x","big":12345678901234567890}',
];
const random = (n) => crypto.randomBytes(n);

async function all() {
  await entry("stripe", "stripe", () => {
    const Stripe = require("stripe");
    const stripe = new Stripe("sk_test_none");
    const secret = "whsec_" + random(18).toString("hex");
    const calls = bodies.map((body) => {
      const header = stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: at });
      return call("/stripe", { ...json, "Stripe-Signature": header }, body);
    });
    return { keys: [{ text: secret }], tolerance: true, calls };
  });

  const standard = (Webhook, prefix) => {
    const secret = "whsec_" + random(24).toString("base64");
    const calls = bodies.map((body, n) => {
      const id = "msg_oracle_" + n;
      const signature = new Webhook(secret).sign(id, new Date(at * 1000), body);
      const headers = { ...json, [prefix + "-id"]: id, [prefix + "-timestamp"]: String(at), [prefix + "-signature"]: signature };
      return call(prefix === "svix" ? "/svix" : "/standard-webhooks", headers, body);
    });
    return { keys: [{ text: secret }], tolerance: true, calls };
  };
  await entry("standardwebhooks", "standard-webhooks", () => standard(require("standardwebhooks").Webhook, "webhook"));
  await entry("svix", "svix", () => standard(require("svix").Webhook, "svix"));

  await entry("@adyen/api-library", "adyen", () => {
    const { hmacValidator } = require("@adyen/api-library");
    const key = random(32).toString("hex").toUpperCase();
    const item = (psp, success, value) => {
      const item = {
        additionalData: {}, pspReference: psp, originalReference: "", merchantAccountCode: "CallsealECOM",
        merchantReference: "A-10017 caf\u00e9", amount: { value, currency: "EUR" }, eventCode: "AUTHORISATION", success,
        eventDate: "2026-11-01T01:00:00+01:00", paymentMethod: "visa", reason: "",
      };
      item.additionalData.hmacSignature = new hmacValidator().calculateHmac(item, key);
      return { NotificationRequestItem: item };
    };
    const body = (item) => JSON.stringify({ live: "false", notificationItems: [item] });
    const calls = [
      call("/adyen", json, body(item("ORACLE0000000001", "true", 2599)), "2599"),
    ];
    return { keys: [{ text: key }], config: { merchant_account: "CallsealECOM" }, accepted: [200, "[accepted]"], calls };
  });

  await entry("braintree", "braintree", () => {
    const braintree = require("braintree");
    const privateKey = random(16).toString("hex");
    const gateway = new braintree.BraintreeGateway({ environment: braintree.Environment.Sandbox, merchantId: "callseal", publicKey: "integration_public_key", privateKey });
    const kinds = ["transaction_settled", "subscription_charged_successfully", "dispute_opened", "disbursement"];
    const calls = kinds.map((kind) => {
      const sample = gateway.webhookTesting.sampleNotification(kind, "oracle_" + kind);
      const body = new URLSearchParams({ bt_signature: sample.bt_signature, bt_payload: sample.bt_payload }).toString();
      // The bit that makes another id of what stands in the payload, which stays well-formed.
      const id = /<id>([a-z_]+)<\/id>/;
      const other = (i) => {
        const bytes = Buffer.from(body);
        bytes[i] ^= 1;
        const payload = new URLSearchParams(bytes.toString()).get("bt_payload");
        return Buffer.from(payload, "base64").toString("latin1").match(id)?.[1];
      };
      const places = [...body].map((_, i) => i).filter((i) => /[0-9A-Za-z]/.test(body[i]) && i > body.indexOf("bt_payload") + 20);
      const flip = places.find((i) => other(i)?.length === 7 + kind.length && other(i) !== "oracle_" + kind);
      if (flip === undefined) throw new Error("nothing to flip");
      return { ...call("/braintree", form, body), flip };
    });
    const challenge = random(10).toString("hex");
    const checks = [{ method: "GET", target: "/braintree?bt_challenge=" + challenge, headers: {}, status: 200, body: gateway.webhookNotification.verify(challenge), type: "text/plain" }];
    return { keys: [{ text: privateKey }], config: { public_key: "integration_public_key" }, tolerance: true, calls, checks };
  });

  await entry("@octokit/webhooks-methods", "github", async () => {
    const { sign } = await import("@octokit/webhooks-methods");
    const secret = random(20).toString("hex");
    const calls = [];
    for (const [n, body] of bodies.entries()) {
      const headers = { ...json, "X-GitHub-Event": "push", "X-GitHub-Delivery": "oracle-" + n, "X-Hub-Signature-256": await sign(secret, body) };
      calls.push(call("/github", headers, body));
    }
    return { keys: [{ text: secret }], calls };
  });

  await entry("twilio", "twilio", () => {
    const { getExpectedTwilioSignature } = require("twilio");
    const token = random(16).toString("hex");
    const url = "https://pay.example.com/twilio?shop=berlin";
    const head = (signature, n) => ({ "X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": "oracle-" + n });
    const fields = { ToCountry: "DE", MessageSid: "SMoracle1", MessageStatus: "received", Body: "Best\u00e4tigung A-10017 & 'danke'* +1", To: "+4930000001", Empty: "" };
    const one = new URLSearchParams(fields).toString();
    const many = { MessageSid: "SMoracle2", MessageStatus: "delivered", Prefix: ["b", "a", "b"] };
    const two = "MessageSid=SMoracle2&Prefix=b&MessageStatus=delivered&Prefix=a&Prefix=b";
    const body = '{"EventType":"onMessageAdded","ConversationSid":"CHoracle","Body":"Zo\u00eb"}';
    const sha = "bodySHA256=" + crypto.createHash("sha256").update(body).digest("hex");
    const calls = [
      call("/twilio?shop=berlin", { ...form, ...head(getExpectedTwilioSignature(token, url, fields), 1) }, one, "SMoracle1"),
      call("/twilio?shop=berlin", { ...form, ...head(getExpectedTwilioSignature(token, url, many), 2) }, two, "SMoracle2"),
      call("/twilio?shop=berlin&" + sha, { ...json, ...head(getExpectedTwilioSignature(token, `${url}&${sha}`, {}), 3) }, body, "CHoracle"),
    ];
    return { keys: [{ text: token }], url, accepted: [204, ""], calls };
  });

  await entry("wechatpay-axios-plugin", "wechatpay-v3", () => {
    const { Rsa, Formatter, Aes } = require("wechatpay-axios-plugin");
    const { publicKey, privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
    const apiv3 = random(16).toString("hex");
    const id = "PUB_KEY_ID_0110000000002026110100000001";
    const signed = (event) => {
      const plain = JSON.stringify({ mchid: "1900000109", appid: "wxcallseal", out_trade_no: "A-10017", transaction_id: "420000" + event, trade_type: "JSAPI", trade_state: "SUCCESS", amount: { total: 2599, payer_total: 2599, currency: "CNY" } });
      const [iv, aad] = [random(6).toString("hex"), "transaction"];
      const resource = { algorithm: "AEAD_AES_256_GCM", original_type: "transaction", associated_data: aad, nonce: iv, ciphertext: Aes.AesGcm.encrypt(plain, apiv3, iv, aad) };
      const body = JSON.stringify({ id: event, create_time: "2026-11-01T08:00:00+08:00", resource_type: "encrypt-resource", event_type: "TRANSACTION.SUCCESS", summary: "\u652f\u4ed8\u6210\u529f", resource });
      const nonce = random(16).toString("hex");
      const signature = Rsa.sign(Formatter.response(String(at), nonce, body), privateKey.export({ type: "pkcs8", format: "pem" }));
      const headers = { ...json, "Wechatpay-Timestamp": String(at), "Wechatpay-Nonce": nonce, "Wechatpay-Serial": id, "Wechatpay-Signature": signature };
      return call("/wechatpay-v3", headers, body, event);
    };
    const fail = '{"code":"FAIL","message":"\u5931\u8d25"}';
    return { keys: [{ text: publicKey.export({ type: "spki", format: "pem" }), id }], secrets: { apiv3 }, tolerance: true, rejected: [401, fail], calls: [signed("EV-ORACLE-1"), signed("EV-ORACLE-2")] };
  });

  await entry("wechatpay-axios-plugin", "wechatpay-v2", () => {
    const { Hash, Transformer, Formatter } = require("wechatpay-axios-plugin");
    const key = random(16).toString("hex");
    const signed = (type, id, more) => {
      const paid = { appid: "wxcallseal", mch_id: "1900000109", nonce_str: Formatter.nonce ? Formatter.nonce() : random(16).toString("hex"), result_code: "SUCCESS", return_code: "SUCCESS", out_trade_no: "A-10017", transaction_id: id, total_fee: "2599", fee_type: "CNY", trade_type: "JSAPI", time_end: "20261101080000", attach: "caf\u00e9 & <500 g>", bank_type: "", ...more };
      paid.sign = Hash.sign(type, paid, key);
      return call("/wechatpay-v2", { "Content-Type": "text/xml" }, Transformer.toXml(paid), id);
    };
    const answer = (code, rest) => `<xml><return_code><![CDATA[${code}]]></return_code>${rest}</xml>`;
    return {
      keys: [{ text: key }], config: { mch_id: "1900000109" },
      accepted: [200, answer("SUCCESS", "<return_msg><![CDATA[OK]]></return_msg>")], rejected: [401, answer("FAIL", "")],
      calls: [signed("MD5", "4200000001"), signed("HMAC-SHA256", "4200000002", { sign_type: "HMAC-SHA256" })],
    };
  });

  await entry("alipay-sdk", "alipay", () => {
    const { AlipaySdk } = require("alipay-sdk");
    const { publicKey, privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
    const alipayPublicKey = publicKey.export({ type: "spki", format: "der" }).toString("base64");
    const sdk = new AlipaySdk({ appId: "2026000000000001", privateKey: privateKey.export({ type: "pkcs8", format: "der" }).toString("base64"), keyType: "PKCS8", alipayPublicKey });
    const signed = (id) => {
      const fields = { app_id: "2026000000000001", notify_id: id, notify_type: "trade_status_sync", notify_time: "2026-11-01 08:00:00", charset: "utf-8", version: "1.0", out_trade_no: "A-10017", trade_no: "2026110122001", trade_status: "TRADE_SUCCESS", total_amount: "25.99", subject: "\u5496\u5561 & caf\u00e9 + 500 g", body: "a=b%20c", sign_type: "RSA2" };
      const text = Object.keys(fields).filter((k) => k !== "sign_type").sort().map((k) => `${k}=${fields[k]}`).join("&");
      fields.sign = crypto.createSign("RSA-SHA256").update(text, "utf8").sign(privateKey, "base64");
      agree("alipay-sdk", sdk.checkNotifySignV2(fields));
      return call("/alipay", form, new URLSearchParams(fields).toString(), id);
    };
    return { keys: [{ text: alipayPublicKey }], config: { app_id: "2026000000000001" }, accepted: [200, "success"], rejected: [401, "fail"], calls: [signed("oracle0001"), signed("oracle0002")] };
  });

  await entry("coinbase-commerce-node", "coinbase-commerce", () => {
    const { Webhook } = require("coinbase-commerce-node");
    const secret = random(18).toString("hex");
    const body = '{"attempt_number":1,"event":{"id":"oracle-1","type":"charge:confirmed","data":{"code":"A10017","pricing":{"local":{"amount":"25.990","currency":"EUR"}},"name":"Caf\\u00e9 \u00e9"}},"id":1}';
    return { keys: [{ text: secret }], calls: [call("/coinbase-commerce", { ...json, "X-CC-Webhook-Signature": Webhook.computeSignature(body, secret) }, body)] };
  });

  await entry("jose", "plaid", async () => {
    const { SignJWT, exportJWK, generateKeyPair } = require("jose");
    const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
    const kid = "bfbd5111-0000-4643-8ced-0000000000a1";
    const signed = async (n) => {
      const body = JSON.stringify({ webhook_type: "TRANSACTIONS", webhook_code: "SYNC_UPDATES_AVAILABLE", item_id: "oracle" + n }, null, 2);
      const claims = { request_body_sha256: crypto.createHash("sha256").update(body).digest("hex") };
      const token = await new SignJWT(claims).setProtectedHeader({ alg: "ES256", kid, typ: "JWT" }).setIssuedAt(at).sign(privateKey);
      return call("/plaid", { ...json, "Plaid-Verification": token }, body, "oracle" + n, { reason: "assertion_failed" });
    };
    const key = { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig", created_at: at, expired_at: null };
    const hosts = [{ host: "production.plaid.com", method: "POST", path: "/webhook_verification_key/get", status: 200, type: "application/json", body: JSON.stringify({ key, request_id: "oracle" }) }];
    return { secrets: { client_id: "oracle-client-id", secret: "oracle-plaid-secret" }, tolerance: true, hosts, calls: [await signed(1), await signed(2)] };
  });

  await entry("jose", "google-pubsub", async () => {
    const { SignJWT, exportJWK, generateKeyPair } = require("jose");
    const { publicKey, privateKey } = await generateKeyPair("RS256", { extractable: true });
    const kid = "oracle0000000000000000000000000000000001";
    const [aud, email] = ["https://pay.example.com/google-pubsub", "push@callseal-test.iam.gserviceaccount.com"];
    const token = await new SignJWT({ aud, azp: "1137", email, email_verified: true }).setProtectedHeader({ alg: "RS256", kid, typ: "JWT" }).setIssuedAt(at).setExpirationTime(at + 3600).setIssuer("https://accounts.google.com").setSubject("1137").sign(privateKey);
    const body = '{"message":{"data":"eyJvcmRlciI6IkEtMTAwMTcifQ==","messageId":"oracle-1","publishTime":"2026-11-01T00:00:00Z"},"subscription":"projects/callseal-test/subscriptions/payments"}';
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid, alg: "RS256", use: "sig" }] };
    const hosts = [{ host: "www.googleapis.com", method: "GET", path: "/oauth2/v3/certs", status: 200, type: "application/json", body: JSON.stringify(jwks) }];
    // The token does not cover the body: it is the token that is bent.
    const calls = [call("/google-pubsub", { ...json, Authorization: "Bearer " + token }, body, "oracle", { flip_header: "Authorization" })];
    return { config: { audience: aud, service_account: email }, tolerance: true, hosts, accepted: [204, ""], calls };
  });

  await entry("@line/bot-sdk", "line", () => {
    const { validateSignature } = require("@line/bot-sdk");
    const secret = random(16).toString("hex");
    const body = '{"destination":"Uoracle","events":[{"type":"message","message":{"type":"text","id":"1","text":"\u6ce8\u6587 A-10017"},"timestamp":1793491199500,"webhookEventId":"01ORACLE1","mode":"active","deliveryContext":{"isRedelivery":false}}]}';
    const signature = crypto.createHmac("sha256", secret).update(body).digest("base64");
    agree("@line/bot-sdk", validateSignature(body, secret, signature));
    return { keys: [{ text: secret }], calls: [call("/line", { ...json, "X-Line-Signature": signature }, body)] };
  });

  await entry("@paddle/paddle-node-sdk", "paddle", async () => {
    const { Paddle } = require("@paddle/paddle-node-sdk");
    const secret = "pdl_ntfset_oracle_" + random(12).toString("hex");
    const body = '{"event_id":"evt_oracle","event_type":"transaction.completed","data":{"id":"txn_1","note":"\u00e9","details":{"totals":{"grand_total":"2599"}}}}';
    // The package takes a signature for five seconds, by its own clock.
    const header = (ts) => `ts=${ts};h1=` + crypto.createHmac("sha256", secret).update(`${ts}:${body}`).digest("hex");
    const now = Math.floor(Date.now() / 1000);
    agree("paddle", await new Paddle("pdl_none").webhooks.isSignatureValid(body, secret, header(now)));
    return { keys: [{ text: secret }], tolerance: true, calls: [call("/paddle", { ...json, "Paddle-Signature": header(now) }, body)] };
  });

  await entry("square", "square", async () => {
    const { WebhooksHelper } = require("square");
    const key = random(16).toString("base64url");
    const url = "https://pay.example.com/square?a=1";
    const body = '{"merchant_id":"MLORACLE","type":"payment.updated","event_id":"oracle-1","data":{"type":"payment","id":"p1","object":{"payment":{"id":"p1","amount_money":{"amount":2599,"currency":"EUR"},"status":"COMPLETED","note":"\u00e9"}}}}';
    const signature = crypto.createHmac("sha256", key).update(url + body).digest("base64");
    agree("square", await WebhooksHelper.verifySignature({ requestBody: body, signatureHeader: signature, signatureKey: key, notificationUrl: url }));
    return { keys: [{ text: key }], url, calls: [call("/square?a=1", { ...json, "x-square-hmacsha256-signature": signature }, body)] };
  });

  console.log(JSON.stringify(entries, null, 1));
}
all().catch((error) => {
  console.error(error);
  process.exit(1);
});
