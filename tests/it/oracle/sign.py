# As sign.cjs, with packages of PyPI: python -c <this> <unix seconds>.
import base64
import importlib.metadata
import json
import secrets
import sys

at = sys.argv[1]
entries = []
try:
    from slack_sdk.signature import SignatureVerifier

    secret = secrets.token_hex(16)
    verifier = SignatureVerifier(signing_secret=secret)

    def call(body):
        raw = body.encode()
        signature = verifier.generate_signature(timestamp=at, body=raw)
        headers = {"Content-Type": "application/json", "X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature}
        flip = raw.index(b"A0ORACLE") + 1
        return {"target": "/slack", "headers": headers, "body": base64.b64encode(raw).decode(), "flip": flip, "reason": "signature_mismatch"}

    calls = [
        call('{"team_id":"T1","api_app_id":"A0ORACLE","event":{"type":"app_mention","text":"caf\\u00e9 é"},"type":"event_callback","event_id":"EvOracle%d"}' % n)
        for n in range(2)
    ]
    entries.append({
        "name": "slack", "provider": "slack", "package": "slack_sdk " + importlib.metadata.version("slack_sdk"),
        "keys": [{"text": secret}], "config": {}, "secrets": {}, "tolerance": True, "hosts": [], "calls": calls,
        "checks": [], "accepted": [200, ""], "rejected": [401, ""],
    })
except ModuleNotFoundError as missing:
    print("not installed:", missing.name, file=sys.stderr)
print(json.dumps(entries))
