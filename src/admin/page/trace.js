// The gateway's words on a verification, in Chinese. They come in English, as the command line shows
// them; a test holds the keys here against the source. `{}` stands for what changes, and comes back as
// {1}, {2}; {1w} is one of our own words, {1f} another fault, {1y} why.

import { language } from "/i18n.js";
import { REMARKS, WHYS } from "/whys.js";

const STEPS = {
  "guard": "入口检查",
  "challenge": "服务商的询问",
  "decode": "读取正文",
  "signature": "签名",
  "signature `{}`": "签名“{1}”",
  "beside the signature": "签名之外的检查",
  "freshness": "时效",
  "what must hold": "必须成立的条件",
  "decrypt": "解密",
  "query-back": "向服务商查询",
  "event": "事件",
  "answer": "应答",
};

const FACTS = {
  "scheme": "方案",
  "why": "原因",
  "method": "方法",
  "path": "路径",
  "address": "地址",
  "body": "正文",
  "reply": "答复",
  "questions": "询问",
  "as JSON": "按 JSON 读取",
  "as a form": "按表单读取",
  "as XML": "按 XML 读取",
  "part {} from {}": "部分 {1}，取自 {2}",
  "stamp from {}": "时间戳，取自 {1}",
  "now": "当时",
  "tolerance": "允许偏差",
  "read": "读作",
  "distance": "相差",
  "algorithm": "算法",
  "plain": "明文",
  "asked": "查询",
  "host": "主机",
  "answer": "应答",
  "confirmed": "确认",
  "event": "事件",
  "sealed by": "封存密钥",
  "id": "编号",
  "type": "类型",
  "idempotency key": "幂等键",
  "payment {}": "支付：{1w}",
  "the provider hears": "服务商收到",
  "when": "适用条件",
  "item": "第几项",
  "item {}": "项 {1}",
  "broke": "中断于",
  "candidate from {}": "候选签名，取自 {1}",
  "candidates": "候选签名",
  "authorization": "授权信息",
  "key id from {}": "密钥编号，取自 {1}",
  "keys": "密钥",
  "key of the source": "来源的密钥",
  "key tried": "试过的密钥",
  "message": "签名内容",
  "header": "头部",
  "payload": "载荷",
  "signature": "签名",
  "signed": "被签名的字节",
  "": "",
};

const VALUES = {
  "nothing is signed": "没有签名",
  "{} (source: {})": "{1}（来源：{2}）",
  "anyone may call": "任何地址均可",
  "a list of {} networks, {}; say --from to check it": "{1} 个网段，{2w}；可用 --from 检查",
  "{} ({})": "{1}（{2w}）",
  "{} of at most {} bytes": "{1} 字节，上限 {2}",
  "it asks this": "正是此询问",
  "not asked": "没有此询问",
  "{}, {} bytes": "{1}，{2} 字节",
  "this provider asks none": "此服务商没有询问",
  "{} bytes, sha256 {}": "{1} 字节，sha256 {2}",
  "good": "正常",
  "{} fields": "{1} 个字段",
  "{} elements": "{1} 个元素",
  "not there": "不存在",
  "does not fit": "不符",
  "looked at": "已检查",
  "{} (as {})": "{1f}（按 {2}）",
  "{} s {} this clock": "{2w}时钟 {1} 秒",
  "not looked at": "未检查",
  "{}: {}": "{2w}（{1}）",
  "nothing is encrypted, or no secret is set for it": "没有加密内容，或未设置解密密钥",
  "not for this event": "此事件无需查询",
  "not asked (--ask asks)": "未查询（--ask 可查询）",
  "status {}": "状态码 {1}",
  "no: {}": "否：{1y}",
  "none: the provider asks who is there": "无：服务商只是询问",
  "none: it was rejected": "无：已拒绝",
  "every delivery is an event of its own": "每次回调各为一个事件",
  "from the signed id {}": "取自已签名的编号 {1}",
  "the digest of what is signed; its id is not signed": "被签名内容的摘要；其编号未被签名",
  "it does not apply to this request": "不适用于此请求",
  "{} ({} bytes)": "{1}（{2} 字节）",
  "{} (not readable as {})": "{1}（无法按 {2} 读取）",
  "none": "无",
  "to be fetched from {}": "需从 {1} 获取",
  "{} bytes": "{1} 字节",
  "0 bytes": "0 字节",
  "is the body's": "与正文一致",
  "length and digest are not shown, since a secret is part of it": "其中含有密钥，故不显示长度与摘要",
  "{}, id {}": "{1}，编号 {2}",
};

const WORDS = {
  "enforced": "强制",
  "only logged": "仅记录",
  "fits": "相符",
  "does not fit": "不符",
  "holds": "成立",
  "does NOT hold": "不成立",
  "ahead of": "快于",
  "behind": "慢于",
  "order": "订单",
  "transaction": "交易号",
  "amount": "金额",
  "currency": "货币",
  "status": "状态",
  "confirmations": "确认数",
  "an RSA": "RSA",
  "a P-256": "P-256",
  "a P-384": "P-384",
  "an Ed25519": "Ed25519",
};

/** Why a request is rejected, as the gateway says it beside the code. */
const FAULTS = {
  "there is no signature": "没有签名",
  "the signature cannot be read": "签名无法识别",
  "none of {} signatures fits any of {} keys": "{1} 个签名与 {2} 个密钥均不相符",
  "{} signatures, and at most {} are tried": "{1} 个签名，最多试 {2} 个",
  "no key has the id {}": "没有编号为 {1} 的密钥",
  "every key is past its last day": "所有密钥均已过期",
  "there is no timestamp": "没有时间戳",
  "the timestamp cannot be read": "时间戳无法识别",
  "signed {} s ago": "签名于 {1} 秒之前",
  "signed in {} s": "签名时间在 {1} 秒之后",
  "the header {} is repeated": "请求头 {1} 重复",
  "{} is repeated": "{1} 重复",
  "{} is missing": "缺少 {1}",
  "{} cannot be read": "{1} 无法识别",
  "no scheme of the source fits this request": "来源的方案均不适用于此请求",
  "the key is not trusted: {}": "密钥不受信任：{1y}",
  "{} is not what this source has configured": "{1} 与此来源的设置不同",
  "{} is not what it must be": "{1} 不是应有的值",
  "the check under secrets.{} failed": "secrets.{1} 的检查未通过",
  "the provider does not confirm it: {}": "服务商未予确认：{1y}",
  "the encrypted part cannot be opened": "加密部分无法解密",
  "callbacks do not come by this method": "回调不使用此方法",
  "cannot be verified now: {}": "目前无法验证：{1y}",
  "not readable as {}: {} at byte {}": "无法按 {1} 读取：第 {3} 字节处：{2y}",
};

// Facts whose value is a quotation of the request, in whole: it stays as it came.
const QUOTED = /^(content-type|item .+|message|header|payload|signed|id|type|payment .+|sealed by|now|tolerance)$/;

const patterns = new Map();

function pattern(key) {
  if (!patterns.has(key)) {
    const escaped = key.split("{}").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    patterns.set(key, new RegExp(`^${escaped.join("([^]*?)")}$`));
  }
  return patterns.get(key);
}

// What begins with a hole fits nearly anything: last.
const holes = new Map();
function holed(table) {
  if (!holes.has(table)) {
    const rows = Object.entries(table).filter(([key]) => key.includes("{}"));
    holes.set(table, rows.sort(([a], [b]) => a.startsWith("{}") - b.startsWith("{}")));
  }
  return holes.get(table);
}

const own = (table, key) => (Object.hasOwn(table, key) ? table[key] : null);

function translated(table, text) {
  const whole = own(table, text);
  if (whole !== null) return whole;
  for (const [key, chinese] of holed(table)) {
    const found = pattern(key).exec(text);
    if (!found) continue;
    let known = true;
    const filled = chinese.replace(/\{(\d)([wfy]?)\}/g, (_, at, kind) => {
      const part = found[Number(at)];
      if (kind === "w") {
        known &&= own(WORDS, part) !== null;
        return own(WORDS, part) ?? part;
      }
      const tables = { f: [FAULTS], y: [WHYS, REMARKS] }[kind] ?? [];
      return tables.map((one) => translated(one, part)).find((said) => said !== null) ?? part;
    });
    if (known) return filled;
  }
  return null;
}

const english = () => language() === "en";

/** The name of a step, and of a fact. */
export const stepName = (name) => (english() ? name : (translated(STEPS, name) ?? name));
export const factName = (name) => (english() ? name : (translated(FACTS, name) ?? name));

export function factValue(name, text) {
  if (english() || QUOTED.test(name)) return text;
  // An assertion: what was compared stays as it is.
  const [, mark, rest] = /^(holds|does NOT hold): ([^]*)$/.exec(text) ?? [];
  if (mark) return `${WORDS[mark]}：${rest}`;
  const [, bare, cross = ""] = /^([^]*?)( {2}✗)?$/.exec(text);
  // Quotations, where they are there at all.
  if (/^(part|stamp|candidate|key id) /.test(name) && !/^(not there|[^]* \((not readable as \w+|\d+ bytes)\))$/.test(bare)) return text;
  return (translated(VALUES, bare) ?? translated(FAULTS, bare) ?? bare) + cross;
}

/** What a rejection says beside its code. */
export const fault = (text) => (english() ? text : (translated(FAULTS, text) ?? text));

/** A remark on a rule file: where, what, and a hint. */
export function remark({ file, line, column, message, hint }) {
  const said = (text) => (english() ? text : (translated(REMARKS, text) ?? text));
  const place = [file, line, column].join(":");
  if (english()) return `${place}: ${message}${hint ? ` (${hint})` : ""}`;
  return `${place}：${said(message)}${hint ? `（${said(hint)}）` : ""}`;
}
